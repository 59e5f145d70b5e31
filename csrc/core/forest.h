// Many trees in one object: the batch interface of the core.
//
// Every operation takes parallel arrays (tree[i], node[i], ...), checks all of them first, and
// then applies them in order. A batch that is refused leaves every tree unchanged, and so does one
// for which there is no memory (std::bad_alloc).
//
// Threads: an operation refuses to run while another thread is inside the same forest
// (Error(kConcurrentUse)); different forests are independent.
//
// Memory: each tree reserves address space for max_nodes nodes and touches only what it uses.
// Dropped trees hand their memory to a pool, from which new trees take it, already faulted in.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/node.h"
#include "core/params.h"
#include "core/tree.h"
#include "core/tree_table.h"

namespace rts {

class Forest {
 public:
  explicit Forest(const SearchParams& params);
  Forest(const Forest&) = delete;
  Forest& operator=(const Forest&) = delete;

  const SearchParams& params() const { return shared_.params; }

  // Trees get ascending ids, which are never used again.
  std::vector<TreeId> CreateTrees(std::int64_t count);
  void DropTrees(std::span<const TreeId> trees);
  std::size_t num_trees() const { return num_trees_; }

  // leaves[i] = the best open leaf of trees[i], now in flight; kNoNode where none is open. A tree
  // may be named several times: later selections see the earlier ones in flight.
  void Select(std::span<const TreeId> trees, std::span<NodeId> leaves);

  // Append counts[i] children to nodes[i]. priors, terminal and rewards are left out (spans of
  // nullptr) or hold one entry per new child. first_children[i] is the id of the first child.
  void Expand(std::span<const TreeId> trees, std::span<const NodeId> nodes,
              std::span<const std::int32_t> counts, std::span<const float> priors,
              std::span<const std::uint8_t> terminal, std::span<const float> rewards,
              std::span<NodeId> first_children);

  // Back values[i] up from nodes[i]. With `release`, nodes[i] are selected leaves, which are
  // released besides.
  void Backup(std::span<const TreeId> trees, std::span<const NodeId> nodes,
              std::span<const double> values, bool release);

  // Back up from `node` with a value of its own for each node: values[0] for `node`, then for the
  // nodes above it up to the root. For returns that are no discounted sums of rewards.
  void BackupPath(TreeId tree, NodeId node, std::span<const double> values);

  // Go down from `node` by the best score, until a leaf, or a node whose best child leads its other
  // children by no more than `margin`. Changes nothing and takes no notice of what is open: for
  // callers who take close decisions themselves. Rules uct, puct, alphazero.
  NodeId Walk(TreeId tree, NodeId node, double margin);

  // Expand, then Backup with `release`, then Select in the same trees: one step of a search, checked
  // as a whole. leaves[i] is the next leaf of trees[i].
  void Advance(std::span<const TreeId> trees, std::span<const NodeId> nodes,
               std::span<const std::int32_t> counts, std::span<const double> values,
               std::span<const float> priors, std::span<const std::uint8_t> terminal,
               std::span<const float> rewards, std::span<NodeId> first_children,
               std::span<NodeId> leaves);

  // Release selected leaves: their result has been backed up, or will never come.
  void Release(std::span<const TreeId> trees, std::span<const NodeId> nodes);

  // Set the rewards of the edges to nodes that no backup has passed: for models that tell an edge's
  // reward when they judge the node below it.
  void SetRewards(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                  std::span<const float> rewards);

  // The rule gumbel: noise of the root's children, and how the simulations are shared among them.
  void SetGumbel(TreeId tree, std::span<const float> noise, std::int64_t num_simulations,
                 std::int64_t max_considered);

  // The rule muzero_tree: break ties by chance from now on, each tree by its place here; without a
  // seed in favour of the lower id.
  void SetTies(std::span<const TreeId> trees, std::optional<std::uint64_t> seed);

  // Make `node` the root of its tree; returns the new id of each old one, or kNoNode.
  std::vector<NodeId> Reroot(TreeId tree, NodeId node);

  std::uint64_t Signature(TreeId tree);
  void CheckInvariants(TreeId tree);
  std::vector<std::byte> ToBytes(TreeId tree);
  TreeId FromBytes(std::span<const std::byte> bytes);

  std::uint32_t NumNodes(TreeId tree);
  bool HasOpenLeaf(TreeId tree);
  std::vector<NodeId> Children(TreeId tree, NodeId node);
  // Copies of all nodes, in the order of their ids, or of one.
  std::vector<Node> Nodes(TreeId tree);
  Node NodeOf(TreeId tree, NodeId node);

 private:
  Tree& At(TreeId tree) const;
  void CheckNodes(std::span<const TreeId> trees, std::span<const NodeId> nodes) const;
  void CheckChildren(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                     std::span<const std::int32_t> counts, std::span<const float> priors,
                     std::span<const std::uint8_t> terminal, std::span<const float> rewards);
  void CheckValues(std::span<const TreeId> trees, std::span<const double> values) const;
  // Take the mark of a selected leaf off each node; throws, with every mark back in its place, if
  // one of them is not selected or is named twice.
  void TakeSelected(std::span<const TreeId> trees, std::span<const NodeId> nodes);
  void CheckRoom(std::span<const TreeId> trees, std::span<const std::int32_t> counts);
  // After this, the expansions of a batch need no memory of the heap.
  void ClaimGroups(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                   std::span<const std::int32_t> counts);
  std::unique_ptr<Tree> NewTree();

  // The moves, of batches that were checked.
  void AddChildren(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                   std::span<const std::int32_t> counts, std::span<const float> priors,
                   std::span<const std::uint8_t> terminal, std::span<const float> rewards,
                   std::span<NodeId> first_children);
  void BackUpValues(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                    std::span<const double> values, bool release);
  void SelectLeaves(std::span<const TreeId> trees, std::span<NodeId> leaves);
  // SelectLeaves for rules that descend, all of the batch level by level.
  void Descend(std::span<const TreeId> trees, std::span<NodeId> leaves);

  const Shared shared_;
  TreeTable trees_;
  std::vector<TreeStorage> pool_;
  std::atomic<std::size_t> num_trees_ = 0;  // read by num_trees() from any thread
  std::atomic<bool> busy_{false};
};

}  // namespace rts
