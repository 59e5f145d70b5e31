#include "core/forest.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <new>
#include <string>
#include <unordered_set>
#include <utility>

#include "core/bytes.h"
#include "core/error.h"
#include "core/signature.h"
#include "support/exclusive.h"

namespace rts {
namespace {

// Descents side by side: enough to hide the time that memory takes, few enough for the cache.
constexpr std::size_t kWalkers = 64;

std::string Position(std::size_t i) { return " at position " + std::to_string(i); }

// Apart from the checks, so that these are short enough for the compiler to put in place.
[[noreturn, gnu::cold, gnu::noinline]] void RefuseTree(TreeId tree) {
  throw Error(Fault::kUnknownTree, "tree " + std::to_string(tree) +
                                       " is not in this forest: it was never created or was "
                                       "dropped");
}

[[noreturn, gnu::cold, gnu::noinline]] void RefuseNode(TreeId tree, NodeId node, std::size_t i,
                                                       std::uint32_t size) {
  throw Error(Fault::kUnknownNode, "node " + std::to_string(node) + Position(i) +
                                       " is not in tree " + std::to_string(tree) +
                                       ", which has " + std::to_string(size) + " nodes");
}

[[noreturn, gnu::cold, gnu::noinline]] void RefuseLength(const char* name, std::size_t have,
                                                         std::size_t want) {
  throw Error(Fault::kInvalidArgument, std::string(name) + " has " + std::to_string(have) +
                                           " entries, expected " + std::to_string(want));
}

void CheckLength(const char* name, std::size_t have, std::size_t want) {
  if (have != want) RefuseLength(name, have, want);
}

void CheckFinite(const char* name, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw Error(Fault::kInvalidArgument, std::string(name) + " " + std::to_string(values[i]) +
                                             Position(i) + ": must be finite");
  }
}

// So that adding `more` entries cannot fail. Twice as much at least: reserve() alone would copy all of
// them whenever a tree is made.
template <typename T>
void MakeRoom(std::vector<T>& entries, std::size_t more) {
  if (entries.capacity() - entries.size() >= more) return;
  entries.reserve(std::max(entries.size() + more, 2 * entries.capacity()));
}

const SearchParams& Validated(const SearchParams& params) {
  params.Validate();
  return params;
}

}  // namespace

Forest::Forest(const SearchParams& params) : shared_(Validated(params)) {}

inline Tree& Forest::At(TreeId tree) const {
  Tree* const found = trees_.Find(tree);
  if (found == nullptr) RefuseTree(tree);
  return *found;
}

void Forest::CheckNodes(std::span<const TreeId> trees, std::span<const NodeId> nodes) const {
  CheckLength("nodes", nodes.size(), trees.size());
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const Tree& tree = At(trees[i]);
    if (nodes[i] >= tree.size()) RefuseNode(trees[i], nodes[i], i, tree.size());
  }
}

void Forest::TakeSelected(std::span<const TreeId> trees, std::span<const NodeId> nodes) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    if (At(trees[i]).TakeSelected(nodes[i])) continue;
    for (std::size_t j = 0; j < i; ++j) At(trees[j]).GiveSelectedBack(nodes[j]);
    throw Error(Fault::kTreeState, "node " + std::to_string(nodes[i]) + Position(i) +
                                       " of tree " + std::to_string(trees[i]) +
                                       " is not in flight: release each selected leaf once");
  }
}

void Forest::CheckRoom(std::span<const TreeId> trees, std::span<const std::int32_t> counts) {
  const auto forget = [&](std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) At(trees[i]).claimed = 0;
  };
  for (std::size_t i = 0; i < trees.size(); ++i) {
    Tree& tree = At(trees[i]);
    tree.claimed += static_cast<std::uint64_t>(counts[i]);
    const std::uint64_t size = tree.size() + tree.claimed;
    if (size > static_cast<std::uint64_t>(params().max_nodes)) {
      forget(i + 1);
      throw Error(Fault::kArenaFull, "tree " + std::to_string(trees[i]) + " would grow to " +
                                         std::to_string(size) + " nodes, max_nodes is " +
                                         std::to_string(params().max_nodes) +
                                         ": create the forest with a larger max_nodes");
    }
  }
  forget(trees.size());
}

void Forest::ClaimGroups(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                         std::span<const std::int32_t> counts) {
  const auto take_back = [&] {
    for (std::size_t i = 0; i < trees.size(); ++i) At(trees[i]).TakeBackClaim(nodes[i]);
  };
  bool has_claims = false;
  try {
    for (std::size_t i = 0; i < trees.size(); ++i) {
      has_claims |= At(trees[i]).ClaimGroup(nodes[i], static_cast<std::uint32_t>(counts[i]));
    }
  } catch (const std::bad_alloc&) {
    take_back();
    throw;
  }
  if (has_claims) take_back();
}

std::unique_ptr<Tree> Forest::NewTree() {
  if (!pool_.empty()) {
    TreeStorage storage = std::move(pool_.back());
    pool_.pop_back();
    return std::make_unique<Tree>(std::move(storage), shared_);
  }
  try {
    return std::make_unique<Tree>(TreeStorage(params()), shared_);
  } catch (const std::bad_alloc&) {
    throw Error(Fault::kArenaFull, "no address space is left for a tree of max_nodes=" +
                                       std::to_string(params().max_nodes) +
                                       ": drop trees, or create the forest with a smaller "
                                       "max_nodes");
  }
}

std::vector<TreeId> Forest::CreateTrees(std::int64_t count) {
  const ExclusiveUse use(busy_);
  if (count < 0) {
    throw Error(Fault::kInvalidArgument,
                "count=" + std::to_string(count) + ": must not be negative");
  }
  if (count > std::numeric_limits<TreeId>::max() - static_cast<std::int64_t>(trees_.next())) {
    throw Error(Fault::kInvalidArgument, "count=" + std::to_string(count) +
                                             ": a forest has at most 2**31 - 1 trees");
  }
  std::vector<std::unique_ptr<Tree>> fresh;
  fresh.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) fresh.push_back(NewTree());
  std::vector<TreeId> ids;
  ids.reserve(fresh.size());
  trees_.Reserve(fresh.size());
  for (auto& tree : fresh) ids.push_back(trees_.Add(std::move(tree)));
  num_trees_ += ids.size();
  return ids;
}

void Forest::DropTrees(std::span<const TreeId> trees) {
  const ExclusiveUse use(busy_);
  std::unordered_set<TreeId> seen;
  for (const TreeId tree : trees) {
    At(tree);
    if (!seen.insert(tree).second) {
      throw Error(Fault::kUnknownTree, "tree " + std::to_string(tree) +
                                           " is named twice: drop each tree once");
    }
  }
  MakeRoom(pool_, trees.size());
  for (const TreeId tree : trees) pool_.push_back(trees_.Take(tree)->TakeStorage());
  num_trees_ -= trees.size();
}

void Forest::Select(std::span<const TreeId> trees, std::span<NodeId> leaves) {
  const ExclusiveUse use(busy_);
  CheckLength("leaves", leaves.size(), trees.size());
  for (const TreeId tree : trees) At(tree);
  SelectLeaves(trees, leaves);
}

void Forest::SelectLeaves(std::span<const TreeId> trees, std::span<NodeId> leaves) {
  if (params().IsGlobal()) {
    for (std::size_t i = 0; i < trees.size(); ++i) leaves[i] = At(trees[i]).Select();
    return;
  }
  for (std::size_t i = 0; i < trees.size(); i += kWalkers) {
    const std::size_t count = std::min(kWalkers, trees.size() - i);
    Descend(trees.subspan(i, count), leaves.subspan(i, count));
  }
}

void Forest::Descend(std::span<const TreeId> trees, std::span<NodeId> leaves) {
  std::array<Walker, kWalkers> walkers;
  std::size_t count = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    leaves[i] = kNoNode;
    if (!trees_.Find(trees[i])->Enter(walkers[count])) continue;
    walkers[count++].place = i;
  }
  Tree::Descend(shared_, walkers.data(), count, leaves.data());
}

void Forest::CheckChildren(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                           std::span<const std::int32_t> counts, std::span<const float> priors,
                           std::span<const std::uint8_t> terminal,
                           std::span<const float> rewards) {
  CheckNodes(trees, nodes);
  CheckLength("counts", counts.size(), trees.size());
  std::size_t total = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    if (counts[i] < 0) {
      throw Error(Fault::kInvalidArgument, "counts=" + std::to_string(counts[i]) + Position(i) +
                                               ": must not be negative");
    }
    const Tree& tree = At(trees[i]);
    if (tree.IsTerminal(nodes[i])) {
      throw Error(Fault::kTreeState, "node " + std::to_string(nodes[i]) + Position(i) +
                                         " of tree " + std::to_string(trees[i]) +
                                         " is terminal and cannot be expanded");
    }
    total += static_cast<std::size_t>(counts[i]);
  }
  CheckRoom(trees, counts);
  if (priors.data() != nullptr) CheckLength("priors", priors.size(), total);
  if (terminal.data() != nullptr) CheckLength("terminal", terminal.size(), total);
  if (rewards.data() != nullptr) CheckLength("rewards", rewards.size(), total);
  for (std::size_t i = 0; i < priors.size(); ++i) {
    if (params().IsPrior(priors[i])) continue;
    throw Error(Fault::kInvalidArgument,
                "prior " + std::to_string(priors[i]) + Position(i) + ": must be " +
                    (params().first_play == FirstPlay::kPrior ? "finite" : "in [0, 1]"));
  }
  CheckFinite("reward", rewards);
}

void Forest::AddChildren(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                         std::span<const std::int32_t> counts, std::span<const float> priors,
                         std::span<const std::uint8_t> terminal, std::span<const float> rewards,
                         std::span<NodeId> first_children) {
  ClaimGroups(trees, nodes, counts);
  std::size_t offset = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const auto count = static_cast<std::uint32_t>(counts[i]);
    first_children[i] =
        At(trees[i]).Expand(nodes[i], count, priors.empty() ? nullptr : priors.data() + offset,
                            terminal.empty() ? nullptr : terminal.data() + offset,
                            rewards.empty() ? nullptr : rewards.data() + offset);
    offset += count;
  }
}

void Forest::Expand(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                    std::span<const std::int32_t> counts, std::span<const float> priors,
                    std::span<const std::uint8_t> terminal, std::span<const float> rewards,
                    std::span<NodeId> first_children) {
  const ExclusiveUse use(busy_);
  CheckLength("first_children", first_children.size(), trees.size());
  CheckChildren(trees, nodes, counts, priors, terminal, rewards);
  AddChildren(trees, nodes, counts, priors, terminal, rewards, first_children);
}

void Forest::CheckValues(std::span<const TreeId> trees, std::span<const double> values) const {
  CheckLength("values", values.size(), trees.size());
  for (std::size_t i = 0; i < trees.size(); ++i) {
    if (!(values[i] >= params().value_min && values[i] <= params().value_max)) {
      throw Error(Fault::kInvalidArgument,
                  "value " + std::to_string(values[i]) + Position(i) + ": must be in [" +
                      std::to_string(params().value_min) + ", " +
                      std::to_string(params().value_max) +
                      "] (value_min and value_max of the forest)");
    }
    // The root has the most visits of its tree, and no batch adds more than its length.
    if (At(trees[i]).root_visits() >
        std::numeric_limits<std::int32_t>::max() - trees.size()) {
      throw Error(Fault::kTreeState, "tree " + std::to_string(trees[i]) +
                                         " has 2**31 visits and takes no more: re-root it");
    }
  }
}

void Forest::Backup(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                    std::span<const double> values, bool release) {
  const ExclusiveUse use(busy_);
  CheckNodes(trees, nodes);
  CheckValues(trees, values);
  if (release) TakeSelected(trees, nodes);
  BackUpValues(trees, nodes, values, release);
}

void Forest::BackupPath(TreeId tree_id, NodeId node, std::span<const double> values) {
  const ExclusiveUse use(busy_);
  CheckNodes({&tree_id, 1}, {&node, 1});
  Tree& tree = At(tree_id);
  CheckLength("values", values.size(), tree.DepthOf(node) + 1);
  CheckValues(std::vector<TreeId>(values.size(), tree_id), values);
  tree.BackupPath(node, values.data());
  if (params().rule == Rule::kMuZeroTree) tree.WidenRange(node);
}

NodeId Forest::Walk(TreeId tree, NodeId node, double margin) {
  const ExclusiveUse use(busy_);
  CheckNodes({&tree, 1}, {&node, 1});
  if (params().IsGlobal() || params().WeighsSiblings()) {
    throw Error(Fault::kInvalidArgument,
                "walk is for rules that descend and score each child for itself: create the forest "
                "with rule=\"uct\", \"puct\" or \"alphazero\"");
  }
  if (!(margin >= 0)) {
    throw Error(Fault::kInvalidArgument,
                "margin=" + std::to_string(margin) + ": must not be negative");
  }
  return At(tree).Walk(node, margin);
}

void Forest::BackUpValues(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                          std::span<const double> values, bool release) {
  const bool keeps_raw_values = params().rule == Rule::kGumbel;
  const bool keeps_range = params().rule == Rule::kMuZeroTree;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    Tree& tree = At(trees[i]);
    if (keeps_raw_values) tree.KeepRawValues(nodes[i], values[i]);
    release ? tree.BackupAndRelease(nodes[i], values[i]) : tree.Backup(nodes[i], values[i]);
    if (keeps_range) tree.WidenRange(nodes[i]);
  }
}

void Forest::Advance(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                     std::span<const std::int32_t> counts, std::span<const double> values,
                     std::span<const float> priors, std::span<const std::uint8_t> terminal,
                     std::span<const float> rewards, std::span<NodeId> first_children,
                     std::span<NodeId> leaves) {
  const ExclusiveUse use(busy_);
  CheckLength("first_children", first_children.size(), trees.size());
  CheckLength("leaves", leaves.size(), trees.size());
  CheckChildren(trees, nodes, counts, priors, terminal, rewards);
  CheckValues(trees, values);
  TakeSelected(trees, nodes);
  try {
    AddChildren(trees, nodes, counts, priors, terminal, rewards, first_children);
  } catch (const std::bad_alloc&) {  // before the first child was made
    for (std::size_t i = 0; i < trees.size(); ++i) At(trees[i]).GiveSelectedBack(nodes[i]);
    throw;
  }
  BackUpValues(trees, nodes, values, /*release=*/true);
  SelectLeaves(trees, leaves);
}

void Forest::Release(std::span<const TreeId> trees, std::span<const NodeId> nodes) {
  const ExclusiveUse use(busy_);
  CheckNodes(trees, nodes);
  TakeSelected(trees, nodes);
  for (std::size_t i = 0; i < trees.size(); ++i) At(trees[i]).Release(nodes[i]);
}

void Forest::SetRewards(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                        std::span<const float> rewards) {
  const ExclusiveUse use(busy_);
  CheckNodes(trees, nodes);
  CheckLength("rewards", rewards.size(), trees.size());
  CheckFinite("reward", rewards);
  for (std::size_t i = 0; i < trees.size(); ++i) {
    if (nodes[i] != kRootId && At(trees[i]).visit_count(nodes[i]) == 0) continue;
    throw Error(Fault::kTreeState,
                "node " + std::to_string(nodes[i]) + Position(i) + " of tree " +
                    std::to_string(trees[i]) +
                    (nodes[i] == kRootId ? " is the root: no edge leads to it"
                                         : " has visits, which counted its reward: set rewards "
                                           "before the first backup"));
  }
  for (std::size_t i = 0; i < trees.size(); ++i) At(trees[i]).SetReward(nodes[i], rewards[i]);
}

void Forest::SetGumbel(TreeId tree_id, std::span<const float> noise, std::int64_t num_simulations,
                       std::int64_t max_considered) {
  const ExclusiveUse use(busy_);
  Tree& tree = At(tree_id);
  if (params().rule != Rule::kGumbel) {
    throw Error(Fault::kInvalidArgument,
                "set_gumbel is for the rule gumbel: create the forest with rule=\"gumbel\"");
  }
  CheckLength("noise", noise.size(), tree.Children(kRootId).size());
  CheckFinite("noise", noise);
  const auto check = [](const char* name, std::int64_t value) {
    if (value >= 1 && value <= std::numeric_limits<std::int32_t>::max()) return;
    throw Error(Fault::kInvalidArgument, std::string(name) + "=" + std::to_string(value) +
                                             ": must be in [1, 2**31 - 1]");
  };
  check("num_simulations", num_simulations);
  check("max_considered", max_considered);
  tree.SetPlan({{noise.begin(), noise.end()},
                static_cast<std::uint64_t>(num_simulations),
                static_cast<std::uint64_t>(max_considered)});
}

void Forest::SetTies(std::span<const TreeId> trees, std::optional<std::uint64_t> seed) {
  const ExclusiveUse use(busy_);
  for (const TreeId tree : trees) At(tree);
  if (params().rule != Rule::kMuZeroTree) {
    throw Error(Fault::kInvalidArgument,
                "set_ties is for the rule muzero_tree: create the forest with "
                "rule=\"muzero_tree\"");
  }
  for (std::size_t i = 0; i < trees.size(); ++i) {
    At(trees[i]).SetTies(seed ? TiesByChance(*seed, i) : 0);
  }
}

std::vector<NodeId> Forest::Reroot(TreeId tree_id, NodeId node) {
  const ExclusiveUse use(busy_);
  CheckNodes({&tree_id, 1}, {&node, 1});
  Tree& tree = At(tree_id);
  if (tree.root_in_flight() > 0) {
    throw Error(Fault::kTreeState,
                "tree " + std::to_string(tree_id) + " has " +
                    std::to_string(tree.root_in_flight()) +
                    " leaves in flight: release them before re-rooting");
  }
  std::vector<NodeId> mapping(tree.size());
  tree.Reroot(node, mapping.data());
  return mapping;
}

std::uint64_t Forest::Signature(TreeId tree) {
  const ExclusiveUse use(busy_);
  return rts::Signature(At(tree));
}

void Forest::CheckInvariants(TreeId tree) {
  const ExclusiveUse use(busy_);
  At(tree).CheckInvariants();
}

std::vector<std::byte> Forest::ToBytes(TreeId tree) {
  const ExclusiveUse use(busy_);
  return rts::ToBytes(At(tree));
}

TreeId Forest::FromBytes(std::span<const std::byte> bytes) {
  const ExclusiveUse use(busy_);
  const Tree::Columns columns = ColumnsFromBytes(bytes);
  std::unique_ptr<Tree> tree = NewTree();
  tree->FromColumns(columns);
  trees_.Reserve(1);
  ++num_trees_;
  return trees_.Add(std::move(tree));
}

std::uint32_t Forest::NumNodes(TreeId tree) {
  const ExclusiveUse use(busy_);
  return At(tree).size();
}

bool Forest::HasOpenLeaf(TreeId tree) {
  const ExclusiveUse use(busy_);
  return At(tree).HasOpenLeaf();
}

std::vector<NodeId> Forest::Children(TreeId tree, NodeId node) {
  const ExclusiveUse use(busy_);
  CheckNodes({&tree, 1}, {&node, 1});
  return At(tree).Children(node);
}

Node Forest::NodeOf(TreeId tree, NodeId node) {
  const ExclusiveUse use(busy_);
  CheckNodes({&tree, 1}, {&node, 1});
  return At(tree).node(node);
}

std::vector<Node> Forest::Nodes(TreeId tree) {
  const ExclusiveUse use(busy_);
  const Tree& source = At(tree);
  std::vector<Node> nodes;
  nodes.reserve(source.size());
  for (NodeId id = 0; id < source.size(); ++id) nodes.push_back(source.node(id));
  return nodes;
}

}  // namespace rts
