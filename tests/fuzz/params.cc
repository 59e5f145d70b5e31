// The bytes are settings, good or bad: they are refused, or a search with the most extreme values and
// rewards has finite scores and does what the twin does.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/muzero.h"
#include "core/selection.h"
#include "support/pair.h"
#include "support/random_operations.h"

namespace {

constexpr std::int64_t kMostNodes = 400;

rts::SearchParams Params(const std::uint8_t*& data) {
  const auto read = [&](auto& field) {
    std::memcpy(&field, data, sizeof(field));
    data += sizeof(field);
  };
  std::uint8_t choices[4];
  for (std::uint8_t& choice : choices) read(choice);
  rts::SearchParams params;
  params.rule = static_cast<rts::Rule>(choices[0] % 8);
  params.backup = static_cast<rts::BackupMode>(choices[1] % 3);
  params.first_play = static_cast<rts::FirstPlay>(choices[2] % 5);
  params.revisit_terminal = choices[3] % 2 == 1;
  for (double* field : {&params.exploration, &params.first_play_value, &params.virtual_loss,
                        &params.discount, &params.value_min, &params.value_max,
                        &params.exploration_base, &params.value_scale, &params.maxvisit_init,
                        &params.least_span}) {
    read(*field);
  }
  read(params.max_nodes);
  return params;
}
constexpr std::size_t kBytesOfParams = 4 + 10 * 8 + 8;

void CheckScores(rts::Forest& forest, const rts::RootTables& roots) {
  const rts::Scorer scorer(forest.params(), roots);
  const std::vector<rts::Node> nodes = forest.Nodes(0);
  for (const rts::Node& node : nodes) {
    if (node.parent == rts::kNoNode) continue;
    const rts::Score score = scorer.Of(scorer.ForParent(nodes[node.parent]), node);
    const bool is_first = score.score == std::numeric_limits<double>::infinity() &&
                          score.visits == 0 &&
                          forest.params().first_play == rts::FirstPlay::kFirst;
    CHECK(is_first || std::isfinite(score.score));
    CHECK(std::isfinite(score.value));
  }
}

// The same for rules that weigh siblings, whatever the raw value.
void CheckWeighing(rts::Forest& forest, const rts::RootTables& roots, const rts::GumbelPlan& plan) {
  const rts::SearchParams& params = forest.params();
  const rts::Scorer scorer(params, roots);
  const std::vector<rts::Node> nodes = forest.Nodes(0);
  for (rts::NodeId id = 0; id < nodes.size(); ++id) {
    const rts::ScoreTerms terms = scorer.ForParent(nodes[id]);
    std::vector<rts::Sibling> siblings;
    for (const rts::NodeId child_id : forest.Children(0, id)) {
      const rts::Node& child = nodes[child_id];
      const auto [value, is_visited] = scorer.ValueOf(terms, child);
      siblings.push_back({child_id, true, is_visited, child.prior, value,
                          static_cast<double>(child.visit_count) + child.in_flight, 0});
    }
    if (siblings.empty()) continue;
    const rts::Range range{params.value_min, params.value_max};
    const rts::Ties ties = 1;
    for (const double raw_value : {params.value_min, params.value_max}) {
      const rts::Choice best =
          params.rule == rts::Rule::kMuZero ? rts::ChooseMuZero(siblings, terms)
          : params.rule == rts::Rule::kMuZeroTree
              ? rts::ChooseMuZeroTree(siblings, terms, raw_value, range, params.least_span, ties)
          : id == rts::kRootId ? rts::ChooseGumbelRoot(siblings, raw_value, params, plan)
                               : rts::ChooseGumbel(siblings, raw_value, params);
      CHECK(best.id != rts::kNoNode);
      for (const rts::Sibling& sibling : siblings) {
        CHECK(std::isfinite(sibling.score));
        CHECK(std::isfinite(sibling.value));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const rts::RootTables roots;
  if (size < kBytesOfParams) return -1;
  const std::uint8_t* end = data + size;
  rts::SearchParams params = Params(data);
  try {
    params.Validate();
  } catch (const rts::Error& error) {
    CHECK_EQ(error.fault(), rts::Fault::kInvalidArgument);
    return 0;
  }
  params.max_nodes = std::min(params.max_nodes, kMostNodes);
  rts::Pair pair(params);
  pair.Create(1);
  constexpr float kLargest = std::numeric_limits<float>::max();
  const rts::GumbelPlan plan{{kLargest, -kLargest}, 12, 2};
  const auto check = [&] {
    params.WeighsSiblings() ? CheckWeighing(pair.core(), roots, plan)
                            : CheckScores(pair.core(), roots);
  };
  rts::BytesAsChoices choices({data, end});
  for (int i = 0; i < 12; ++i) {
    rts::Batch batch;
    batch.trees.assign(4, 0);
    pair.Select(batch);
    check();
    batch.trees.clear();
    for (const auto& [tree, leaf] : pair.Selected()) {
      batch.trees.push_back(tree);
      batch.nodes.push_back(leaf);
      batch.counts.push_back(2);
      batch.priors.insert(batch.priors.end(), {1, 0});
      batch.values.push_back(choices.Of({params.value_max, params.value_min}));
      batch.rewards.push_back(choices.Of({0.0f, kLargest, -kLargest}));
      batch.rewards.push_back(choices.Of({0.0f, kLargest, -kLargest}));
    }
    pair.Expand(batch);
    pair.Backup(batch, /*release=*/i % 3 != 2);
    if (i == 0) pair.SetGumbel(0, plan.noise, 12, 2);
    check();
    pair.CheckAll();
  }
  return 0;
}
