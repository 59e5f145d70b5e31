// The search loop without Python: what the core costs when nothing crosses the border.
//
//   core_loop RULE CHILDREN SIMULATIONS BATCH TREES REPEATS      (rule: uct puct mcts_g best_first)
//
// One simulation selects a leaf, gives it CHILDREN children and backs the leaf's reward up, a hash
// of its id. Nodes 32 edges below the root are terminal. SIMULATIONS are per tree, BATCH of them
// in flight at once. Prints one JSON object; bench/workload.py runs the same loop from Python and
// must reach the same signature.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <vector>

#include "core/forest.h"
#include "support/mix.h"

namespace {

constexpr int kDepthLimit = 32;
constexpr double kExploration = 1.4;
constexpr double kFrontierBytes = sizeof(double) + sizeof(rts::NodeId);  // of one sibling group

struct Options {
  rts::Rule rule;
  std::int32_t children;
  std::int64_t simulations;
  std::int64_t batch;
  std::int64_t trees;
  std::int64_t repeats;
};

rts::Rule ParseRule(const char* name) {
  if (std::strcmp(name, "uct") == 0) return rts::Rule::kUct;
  if (std::strcmp(name, "puct") == 0) return rts::Rule::kPuct;
  if (std::strcmp(name, "mcts_g") == 0) return rts::Rule::kMctsG;
  if (std::strcmp(name, "best_first") == 0) return rts::Rule::kBestFirst;
  throw std::invalid_argument("the rule is one of uct, puct, mcts_g, best_first");
}

std::int64_t ParseCount(const char* text) {
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 1 || value > 1'000'000'000) {
    throw std::invalid_argument("counts are whole numbers in [1, 1e9]");
  }
  return value;
}

double Reward(rts::NodeId id) {
  return static_cast<double>(rts::Mix(rts::kMixSeed, id) >> 11) * 0x1p-53;
}

// Reused from one batch to the next, so that the loop does not allocate.
struct Scratch {
  std::vector<rts::TreeId> trees;
  std::vector<rts::NodeId> leaves;
  std::vector<rts::NodeId> first_children;
  std::vector<std::int32_t> counts;
  std::vector<double> values;
  std::vector<std::uint8_t> terminal;
  std::vector<std::vector<std::uint8_t>> depth;  // by tree, then by sibling group; 0: the root
};

// Which sibling group a node belongs to: every expansion makes exactly `children` nodes.
std::size_t GroupOf(rts::NodeId id, std::int32_t children) {
  const auto k = static_cast<std::uint32_t>(children);
  return (id + k - 1) / k;
}

void Search(rts::Forest& forest, const std::vector<rts::TreeId>& ids, const Options& options,
            Scratch& s) {
  const auto k = static_cast<std::size_t>(options.children);
  for (auto& depth : s.depth) depth.assign(1, 0);
  std::int64_t done = 0;
  while (done < options.simulations) {
    const std::int64_t batch = std::min(options.batch, options.simulations - done);
    s.trees.clear();
    for (const rts::TreeId id : ids) {
      s.trees.insert(s.trees.end(), static_cast<std::size_t>(batch), id);
    }
    s.leaves.resize(s.trees.size());
    forest.Select(s.trees, s.leaves);
    std::size_t found = 0;
    for (std::size_t i = 0; i < s.leaves.size(); ++i) {
      if (s.leaves[i] == rts::kNoNode) continue;
      s.trees[found] = s.trees[i];
      s.leaves[found++] = s.leaves[i];
    }
    if (found == 0) throw std::runtime_error("no leaf is left to select");
    s.trees.resize(found);
    s.leaves.resize(found);
    s.first_children.resize(found);
    s.counts.assign(found, options.children);
    s.values.resize(found);
    s.terminal.resize(found * k);
    for (std::size_t i = 0; i < found; ++i) {
      s.values[i] = Reward(s.leaves[i]);
      auto& depth = s.depth[static_cast<std::size_t>(s.trees[i] - ids.front())];
      const int below = depth[GroupOf(s.leaves[i], options.children)] + 1;
      depth.push_back(static_cast<std::uint8_t>(below));
      std::fill_n(s.terminal.begin() + static_cast<std::ptrdiff_t>(i * k), k,
                  below == kDepthLimit ? 1 : 0);
    }
    forest.Expand(s.trees, s.leaves, s.counts, {}, s.terminal, {}, s.first_children);
    forest.Backup(s.trees, s.leaves, s.values, /*release=*/true);
    done += static_cast<std::int64_t>(found / ids.size());
  }
}

void Run(const Options& options) {
  rts::SearchParams params;
  params.rule = options.rule;
  if (params.rule == rts::Rule::kPuct) params.first_play = rts::FirstPlay::kParent;
  params.exploration = kExploration;
  params.max_nodes = 1 + options.simulations * options.children;
  rts::Forest forest(params);
  Scratch scratch;
  scratch.depth.resize(static_cast<std::size_t>(options.trees));
  std::vector<double> times;
  std::uint32_t nodes = 0;
  std::uint64_t signature = 0;
  for (std::int64_t i = 0; i < options.repeats; ++i) {
    const std::vector<rts::TreeId> ids = forest.CreateTrees(options.trees);
    const auto start = std::chrono::steady_clock::now();
    Search(forest, ids, options, scratch);
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    times.push_back(spent.count() / static_cast<double>(options.simulations * options.trees));
    nodes = forest.NumNodes(ids.front());
    signature = forest.Signature(ids.front());
    for (const rts::TreeId id : ids) {
      if (forest.Signature(id) != signature) throw std::runtime_error("equal trees differ");
    }
    forest.DropTrees(ids);
  }
  std::sort(times.begin(), times.end());
  double bytes = rts::kNodeBytes;
  if (params.IsGlobal()) {
    bytes += kFrontierBytes * static_cast<double>(options.simulations) / nodes;
  }
  std::printf(
      "{\"ns_per_simulation\": {\"median\": %.1f, \"min\": %.1f}, \"bytes_per_node\": %.2f, "
      "\"nodes\": %" PRIu32 ", \"signature\": \"%016" PRIx64 "\"}\n",
      times[times.size() / 2], times.front(), bytes, nodes, signature);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: core_loop RULE CHILDREN SIMULATIONS BATCH TREES REPEATS\n");
    return 2;
  }
  try {
    Run({ParseRule(argv[1]), static_cast<std::int32_t>(ParseCount(argv[2])), ParseCount(argv[3]),
         ParseCount(argv[4]), ParseCount(argv[5]), ParseCount(argv[6])});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "core_loop: %s\n", error.what());
    return 1;
  }
  return 0;
}
