// One tree: its nodes and the four moves of a search (select, expand, backup, release).
//
// A tree trusts its caller: ids, counts and values were checked by the forest (forest.h), and its
// moves do not fail. Only one thread may use it at a time; the forest sees to that.
//
// Open and closed. A leaf is open unless it is in flight, or terminal (and terminal nodes are not
// to be revisited). An inner node is available while any leaf below it is open; one flag a node
// remembers that, so that a descent never runs into a dead end and a batch never gets a leaf twice.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "core/frontier.h"
#include "core/node.h"
#include "core/params.h"
#include "core/selection.h"
#include "support/arena.h"

namespace rts {

// The memory of one tree, handed back to a pool when the tree is dropped.
struct TreeStorage {
  Arena<Node> nodes;
  Frontier frontier;

  TreeStorage(std::size_t max_nodes, bool with_frontier)
      : nodes(max_nodes), frontier(with_frontier ? Frontier(max_nodes) : Frontier()) {}
};

class Tree {
 public:
  // A tree of one node, the root: a leaf without visits.
  Tree(TreeStorage storage, const SearchParams& params, const RootTables& tables);

  // --- the four moves --------------------------------------------------------

  // Take the best open leaf, count it in flight on its path, and return it; kNoNode if none is open.
  NodeId Select();

  // Append `count` children to `id`, in order; returns the first one's id (the next free id if
  // count is 0). Null pointers stand for equal priors, no terminal child, no rewards.
  NodeId Expand(NodeId id, std::uint32_t count, const float* priors, const std::uint8_t* terminal,
                const float* rewards);

  // Count one finished simulation with `value` at `id` and on its path to the root.
  void Backup(NodeId id, double value);

  // Take the mark of a selected leaf off `id`; false if it has none. Release() must follow.
  bool TakeSelected(NodeId id) {
    const bool selected = nodes_[id].Has(Node::kSelected);
    nodes_[id].Clear(Node::kSelected);
    return selected;
  }
  void GiveSelectedBack(NodeId id) { nodes_[id].Set(Node::kSelected); }

  // Take back the in-flight counts of a node whose mark was taken, and open it again if it is
  // still a leaf.
  void Release(NodeId id);

  // --- views -----------------------------------------------------------------

  std::uint32_t size() const { return size_; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  bool HasOpenLeaf() const { return !nodes_[kRootId].Has(Node::kUnavailable); }
  std::vector<NodeId> Children(NodeId id) const;
  const SearchParams& params() const { return *params_; }

  // --- whole-tree operations (tree_rebuild.cc) ---------------------------------

  // Make `id` the root and drop everything that is not below it. mapping[old id] becomes the new
  // id or kNoNode. Needs a tree at rest (nothing in flight).
  void Reroot(NodeId id, NodeId* mapping);

  // What a tree is made of, column by column; arrays of size() entries.
  struct Columns {
    std::vector<NodeId> parent;
    std::vector<std::uint32_t> visit_count;
    std::vector<double> value_sum;
    std::vector<float> prior;
    std::vector<float> edge_reward;
    std::vector<std::uint8_t> flags;  // Node::kTerminal | Node::kExpanded
  };
  Columns ToColumns() const;
  // Replace the tree by the one in `columns`, at rest. Throws Error(kCorruptData) on any
  // contradiction, before anything is changed.
  void FromColumns(const Columns& columns);

  // Throws Error(kInvariant) if the tree contradicts itself. O(nodes).
  void CheckInvariants() const;

  // Nodes that the batch under inspection asks for (scratch of Forest::CheckRoom).
  std::uint64_t claimed = 0;

  TreeStorage TakeStorage() { return std::move(storage_); }

 private:
  struct ChildGroup {
    NodeId first;
    std::uint32_t count;
  };

  template <typename F>
  void ForEachChild(NodeId id, const F& f) const;
  bool IsOpenLeaf(const Node& node) const;
  // Recompute whether `id` is available, and so on upwards as long as something changes.
  void UpdateAvailability(NodeId id);
  bool ComputeAvailable(NodeId id) const;
  void RefreshGroup(NodeId parent, NodeId excluded = kNoNode);
  void AttachChildren(NodeId id, NodeId first, std::uint32_t count);
  void InitRoot();
  // Derive availability and the frontier of all nodes from scratch.
  void RebuildDerived();

  TreeStorage storage_;
  Node* nodes_;
  std::uint32_t size_ = 0;
  const SearchParams* params_;
  Scorer scorer_;
  // Groups of children beyond the first, for the few nodes that were expanded again.
  std::unordered_map<NodeId, std::vector<ChildGroup>> more_children_;
};

template <typename F>
void Tree::ForEachChild(NodeId id, const F& f) const {
  const Node& node = nodes_[id];
  if (node.IsLeaf()) return;
  const std::uint32_t count = node.inline_children();
  for (std::uint32_t i = 0; i < count; ++i) f(node.link + i);
  if (!node.Has(Node::kMoreChildren)) return;
  for (const ChildGroup& group : more_children_.at(id)) {
    for (std::uint32_t i = 0; i < group.count; ++i) f(group.first + i);
  }
}

}  // namespace rts
