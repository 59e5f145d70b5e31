// Every instruction set that the machine has against Scorer, which knows one node at a time.
#include "simd/select.h"

#include <cstdint>
#include <random>
#include <vector>

#include "check.h"
#include "core/muzero.h"
#include "core/node_store.h"
#include "core/selection.h"

namespace rts {
namespace {

constexpr NodeId kNodes = 64;
constexpr std::uint32_t kMostVisits = 0x7FFFFFFF;

// Counts of all sizes: tables hold the small ones only.
std::uint32_t DrawVisits(std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      return 0;
    case 1:
      return static_cast<std::uint32_t>(random() % 4);
    case 2:
      return static_cast<std::uint32_t>(RootTables::kSize - 4 + random() % 8);
    default:
      return kMostVisits - static_cast<std::uint32_t>(random() % 4);
  }
}

void Fill(NodeStore& nodes, bool with_rewards, std::mt19937_64& random) {
  const auto share = [&] { return static_cast<double>(random() % 5) / 4; };
  for (NodeId id = 0; id < kNodes; ++id) {
    const std::uint32_t visits = DrawVisits(random);
    const auto in_flight = static_cast<std::uint16_t>(random() % 3 == 0 ? random() : 0);
    constexpr std::uint16_t kBits[] = {0, 0, 0, Node::kUnavailable, Node::kExpanded};
    const std::uint16_t bits = kBits[random() % 5];
    nodes.Put(id, Node{share() * visits, visits, in_flight, bits, kRootId, kNoNode, 0,
                       static_cast<float>(share()),
                       with_rewards ? static_cast<float>(share()) : 0.0f});
  }
}

Choice ByTheScorer(const Scorer& scorer, const ScoreTerms& terms, bool is_global,
                   const NodeStore& nodes, NodeId first, std::uint32_t count) {
  NodeId best = kNoNode;
  Score best_score{};
  for (NodeId id = first; id < first + count; ++id) {
    const Node node = nodes.Get(id);
    if (node.Has(Node::kUnavailable) || (is_global && !node.IsLeaf())) continue;
    const Score score = scorer.Of(terms, node);
    if (best != kNoNode && !Better(score, id, best_score, best)) continue;
    best = id;
    best_score = score;
  }
  if (best == kNoNode) return {};
  return {best, best_score.score, best_score.value, static_cast<double>(best_score.visits)};
}

Choice ByMuZero(const Scorer& scorer, const ScoreTerms& terms, const NodeStore& nodes,
                NodeId first, std::uint32_t count) {
  std::vector<Sibling> siblings;
  for (NodeId id = first; id < first + count; ++id) {
    const Node node = nodes.Get(id);
    const auto [value, is_visited] = scorer.ValueOf(terms, node);
    siblings.push_back({id, !node.Has(Node::kUnavailable), is_visited, node.prior, value,
                        static_cast<double>(node.visit_count) + node.in_flight, 0});
  }
  return ChooseMuZero(siblings, terms);
}

void CheckChoice(const SearchParams& params, Isa isa, const NodeStore& nodes,
                 const RootTables& roots, std::mt19937_64& random) {
  const Scorer scorer(params, roots);
  const NodeId first = 1 + static_cast<NodeId>(random() % 8);
  const auto count = static_cast<std::uint32_t>(1 + random() % (kNodes - first));
  const ScoreTerms terms = scorer.ForParent(nodes.Get(kRootId));
  const Choice wanted =
      params.rule == Rule::kMuZero
          ? ByMuZero(scorer, terms, nodes, first, count)
          : ByTheScorer(scorer, terms, params.IsGlobal(), nodes, first, count);
  Choice choice;
  SelectionFor(params, isa).choose({nodes.tiles(), nodes.rewards(), first, count}, terms, choice);
  CHECK_EQ(choice.id, wanted.id);
  CHECK_EQ(choice.score, wanted.score);
  CHECK_EQ(choice.value, wanted.value);
  CHECK_EQ(choice.visits, wanted.visits);
}

void TestTableOfRootsEndsWhereItEnds() {
  const RootTables roots;
  for (std::uint64_t n = 0; n < RootTables::kSize + 4; ++n) {
    CHECK_EQ(roots.SqrtLog(n), SqrtLogOf(n));
  }
}

void TestChoicesAreThoseOfTheScorer() {
  std::mt19937_64 random(11);
  const RootTables roots;
  NodeStore plain(kNodes);
  NodeStore rewarded(kNodes);
  SearchParams params;
  for (int round = 0; round < 20'000; ++round) {
    NodeStore& nodes = round % 2 ? rewarded : plain;
    if (round % 50 < 2) Fill(nodes, round % 2 == 1, random);
    params.rule = static_cast<Rule>(random() % 6);
    if (params.rule == Rule::kGumbel) params.rule = Rule::kAlphaZero;  // it has one way alone
    params.backup = static_cast<BackupMode>(random() % 3);
    params.first_play = static_cast<FirstPlay>(random() % 4);
    if (params.WeighsSiblings()) params.first_play = FirstPlay::kFirst;
    if (params.TakesPriors() && params.first_play == FirstPlay::kPrior) continue;
    if (params.IsGlobal() && params.first_play == FirstPlay::kReward) {
      params.first_play = FirstPlay::kParent;
    }
    params.virtual_loss = static_cast<double>(random() % 3);
    params.discount = random() % 2 ? 1.0 : 0.9;
    for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (!IsSupported(isa)) continue;
      std::mt19937_64 same = random;
      CheckChoice(params, isa, nodes, roots, same);
    }
    random.discard(2);
  }
}

}  // namespace
}  // namespace rts

int main() {
  return check::RunAll("select_test",
                       {
                           {"table of roots", &rts::TestTableOfRootsEndsWhereItEnds},
                           {"choices", &rts::TestChoicesAreThoseOfTheScorer},
                       });
}
