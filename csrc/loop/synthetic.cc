#include "loop/synthetic.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>

#include "core/error.h"
#include "core/forest.h"
#include "support/mix.h"

namespace rts {
namespace {

constexpr double kFrontierBytes = sizeof(double) + sizeof(NodeId);  // of one sibling group
constexpr std::int64_t kMostCount = 1'000'000'000;

double Reward(NodeId id) { return static_cast<double>(Mix(kMixSeed, id) >> 11) * 0x1p-53; }

// Reused from one batch to the next, so that the loop does not allocate.
struct Scratch {
  std::vector<TreeId> trees;
  std::vector<NodeId> leaves;
  std::vector<NodeId> first_children;
  std::vector<std::int32_t> counts;
  std::vector<double> values;
  std::vector<std::uint8_t> terminal;
  std::vector<std::vector<std::uint8_t>> depth;  // by tree, then by sibling group; 0: the root
};

// Which sibling group a node belongs to: every expansion makes exactly `children` nodes.
std::size_t GroupOf(NodeId id, std::int32_t children) {
  const auto k = static_cast<std::uint32_t>(children);
  return (id + k - 1) / k;
}

void SearchAll(Forest& forest, const std::vector<TreeId>& ids, const Synthetic& search,
               Scratch& s) {
  const auto k = static_cast<std::size_t>(search.children);
  for (auto& depth : s.depth) depth.assign(1, 0);
  std::int64_t done = 0;
  while (done < search.simulations) {
    const std::int64_t batch = std::min(search.batch, search.simulations - done);
    s.trees.clear();
    for (const TreeId id : ids) {
      s.trees.insert(s.trees.end(), static_cast<std::size_t>(batch), id);
    }
    s.leaves.resize(s.trees.size());
    forest.Select(s.trees, s.leaves);
    std::size_t found = 0;
    for (std::size_t i = 0; i < s.leaves.size(); ++i) {
      if (s.leaves[i] == kNoNode) continue;
      s.trees[found] = s.trees[i];
      s.leaves[found++] = s.leaves[i];
    }
    if (found == 0) {
      throw Error(Fault::kTreeState,
                  "no leaf is left after " + std::to_string(done) +
                      " simulations: the tree is 32 edges deep, so ask for fewer of them");
    }
    s.trees.resize(found);
    s.leaves.resize(found);
    s.first_children.resize(found);
    s.counts.assign(found, search.children);
    s.values.resize(found);
    s.terminal.resize(found * k);
    for (std::size_t i = 0; i < found; ++i) {
      s.values[i] = Reward(s.leaves[i]);
      auto& depth = s.depth[static_cast<std::size_t>(s.trees[i] - ids.front())];
      const int below = depth[GroupOf(s.leaves[i], search.children)] + 1;
      depth.push_back(static_cast<std::uint8_t>(below));
      std::fill_n(s.terminal.begin() + static_cast<std::ptrdiff_t>(i * k), k,
                  below == kSyntheticDepth ? 1 : 0);
    }
    forest.Expand(s.trees, s.leaves, s.counts, {}, s.terminal, {}, s.first_children);
    forest.Backup(s.trees, s.leaves, s.values, /*release=*/true);
    done += static_cast<std::int64_t>(found / ids.size());
  }
}

void RequireCount(const char* name, std::int64_t count) {
  if (count >= 1 && count <= kMostCount) return;
  throw Error(Fault::kInvalidArgument,
              std::string(name) + "=" + std::to_string(count) + ": must be in [1, 1e9]");
}

}  // namespace

void Synthetic::Validate() const {
  RequireCount("children", children);
  RequireCount("simulations", simulations);
  RequireCount("batch", batch);
  RequireCount("trees", trees);
  RequireCount("repeats", repeats);
}

SyntheticResult Run(const Synthetic& search) {
  search.Validate();
  SearchParams params;
  params.rule = search.rule;
  if (params.rule == Rule::kPuct) params.first_play = FirstPlay::kParent;
  params.exploration = kSyntheticExploration;
  params.max_nodes = 1 + search.simulations * search.children;
  Forest forest(params);
  Scratch scratch;
  scratch.depth.resize(static_cast<std::size_t>(search.trees));
  SyntheticResult result{};
  for (std::int64_t i = 0; i < search.repeats; ++i) {
    const std::vector<TreeId> ids = forest.CreateTrees(search.trees);
    const auto start = std::chrono::steady_clock::now();
    SearchAll(forest, ids, search, scratch);
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
    result.ns.push_back(spent.count() / static_cast<double>(search.simulations * search.trees));
    if (i + 1 == search.repeats) {
      result.signature = forest.Signature(ids.front());
      for (const TreeId id : ids) {
        if (forest.Signature(id) != result.signature) {
          throw Error(Fault::kInvariant, "equal searches grew trees that differ: a bug, please report");
        }
      }
      for (const Node& node : forest.Nodes(ids.front())) {
        result.terminal.push_back(node.Has(Node::kTerminal) ? 1 : 0);
      }
    }
    forest.DropTrees(ids);
  }
  result.bytes_per_node = kNodeBytes;
  if (params.IsGlobal()) {
    result.bytes_per_node += kFrontierBytes * static_cast<double>(search.simulations) /
                             static_cast<double>(result.terminal.size());
  }
  return result;
}

}  // namespace rts
