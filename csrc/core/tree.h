// One tree: its nodes and the four moves of a search (select, expand, backup, release).
//
// A tree trusts its caller: ids, counts and values were checked by the forest (forest.h), and its
// moves do not fail. Only one thread may use it at a time; the forest sees to that.
//
// Open and closed. A leaf is open unless it is in flight, or terminal (and terminal nodes are not
// to be revisited). Where rules descend, each node counts the open leaves at or below it, so that
// a descent never runs into a dead end and a batch never gets a leaf twice. Where rules look at
// all leaves, the frontier knows the open ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/frontier.h"
#include "core/muzero.h"
#include "core/node_store.h"
#include "core/params.h"
#include "core/selection.h"
#include "simd/select.h"

namespace rts {

// The memory of one tree, handed back to a pool when the tree is dropped.
struct TreeStorage {
  NodeStore nodes;
  Frontier frontier;
  Arena<double> raw_values;  // of visited nodes; where the rule is gumbel

  explicit TreeStorage(const SearchParams& params)
      : TreeStorage(static_cast<std::size_t>(params.max_nodes), params) {}

 private:
  TreeStorage(std::size_t max_nodes, const SearchParams& params)
      : nodes(max_nodes),
        frontier(params.IsGlobal() ? Frontier(max_nodes) : Frontier()),
        raw_values(params.rule == Rule::kGumbel ? Arena<double>(max_nodes) : Arena<double>()) {}
};

// What the trees of one forest share.
struct Shared {
  SearchParams params;
  RootTables roots;
  Selection selection;
  // Scratch of Tree::Weigh with room for any group of siblings, so that no selection fails.
  mutable Arena<Sibling> siblings;

  explicit Shared(const SearchParams& p)
      : params(p),
        selection(SelectionFor(p, BestIsa())),
        siblings(p.WeighsSiblings() ? Arena<Sibling>(static_cast<std::size_t>(p.max_nodes))
                                    : Arena<Sibling>()) {}
};

class Tree {
 public:
  // A tree of one node, the root: a leaf without visits. `shared` outlives it.
  Tree(TreeStorage storage, const Shared& shared);

  // --- the four moves --------------------------------------------------------

  // Take the best open leaf, count it in flight on its path, and return it; kNoNode if none is open.
  NodeId Select();

  // The same for many trees, or often for one, where rules descend: a walker each that Enter()
  // lets in, false where no leaf is open, and then one way down for all.
  bool Enter(Walker& walker);
  static void Descend(const Shared& shared, Walker* walkers, std::size_t count, NodeId* leaves);

  // Append `count` children to `id`, in order; returns the first one's id (the next free id if
  // count is 0). Null pointers stand for equal priors, no terminal child, no rewards.
  NodeId Expand(NodeId id, std::uint32_t count, const float* priors, const std::uint8_t* terminal,
                const float* rewards);

  // Expand() may need memory for a further group of children. A batch claims it for all of its
  // expansions before the first one, so that none fails on the way. True if there is something to
  // take back: after all claims, or when one of them threw std::bad_alloc.
  bool ClaimGroup(NodeId id, std::uint32_t count);
  void TakeBackClaim(NodeId id);

  // Count one finished simulation with `value` at `id` and on its path to the root.
  void Backup(NodeId id, double value);

  // The same with a value of its own for each node on the path; DepthOf(id) + 1 values.
  void BackupPath(NodeId id, const double* values);

  // See Forest::Walk.
  NodeId Walk(NodeId id, double margin) const;

  // The rule gumbel: a node's raw value is the first that is backed up to it. Before each Backup.
  void KeepRawValues(NodeId id, double value);

  // The rule muzero_tree: take the Q of `id` and of all above it into the range. After each Backup;
  // one of the root itself is of no edge.
  void WidenRange(NodeId id);

  // Take the mark of a selected leaf off `id`; false if it has none. Release() must follow.
  bool TakeSelected(NodeId id) {
    const bool selected = storage_.nodes.Has(id, Node::kSelected);
    storage_.nodes.Clear(id, Node::kSelected);
    return selected;
  }
  void GiveSelectedBack(NodeId id) { storage_.nodes.Set(id, Node::kSelected); }

  // Take back the in-flight counts of a node whose mark was taken, and open it again if it is
  // still a leaf.
  void Release(NodeId id);

  // Backup, then Release, on one way up.
  void BackupAndRelease(NodeId id, double value);

  // Set the reward of the edge to `id`, which no backup has passed.
  void SetReward(NodeId id, float reward) { storage_.nodes.set_edge_reward(id, reward); }

  // For this root: re-rooting and import bring the default back.
  void SetPlan(GumbelPlan plan) { plan_ = std::move(plan); }
  // Re-rooting keeps them, import brings the default back.
  void SetTies(Ties ties) { ties_ = ties; }

  // --- views -----------------------------------------------------------------

  std::uint32_t size() const { return size_; }
  Node node(NodeId id) const { return storage_.nodes.Get(id); }
  bool IsTerminal(NodeId id) const { return storage_.nodes.Has(id, Node::kTerminal); }
  std::uint32_t visit_count(NodeId id) const { return storage_.nodes.visit_count(id); }
  std::uint32_t root_visits() const { return storage_.nodes.visit_count(kRootId); }
  std::uint32_t root_in_flight() const { return storage_.nodes.in_flight(kRootId); }
  bool HasOpenLeaf() const;
  std::size_t DepthOf(NodeId id) const;
  std::vector<NodeId> Children(NodeId id) const;
  const SearchParams& params() const { return shared_->params; }

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
    std::vector<double> raw_value;    // empty unless the rule is gumbel
  };
  Columns ToColumns() const;
  // Replace the tree by the one in `columns`, at rest. Throws Error(kCorruptData) on any
  // contradiction, before anything is changed.
  void FromColumns(const Columns& columns);

  // Throws Error(kInvariant) if the tree contradicts itself. O(nodes).
  void CheckInvariants() const;

  // Nodes that the batch under inspection asks for (scratch of Forest::CheckRoom).
  std::uint64_t claimed = 0;

  // The tree is over.
  TreeStorage TakeStorage();

 private:
  struct ChildGroup {
    NodeId first;
    std::uint32_t count;
  };

  template <typename F>
  void ForEachGroup(NodeId id, const F& f) const;
  template <typename F>
  void ForEachChild(NodeId id, const F& f) const;
  // May a leaf with these flags be selected?
  bool IsOpenLeaf(std::uint32_t bits) const;
  // Add to the open leaves of `id` and of all above it; rules that descend.
  void AddOpen(NodeId id, std::uint32_t more);
  // Put the best open leaf among the children of `parent` into the frontier; other rules.
  void RefreshGroup(NodeId parent);
  // Choose among all children of `id` by a rule that weighs siblings.
  Choice Weigh(const Walker& walker, const ScoreTerms& terms);
  // `value_above(id, value)` is the parent's value.
  template <bool kRelease, typename ValueAbove>
  void BackUp(NodeId id, double value, ValueAbove value_above);
  void AddToRange(NodeId id);
  // Is `id`, which was released, an open leaf again? Says so in its flags.
  bool Reopen(NodeId id);
  void AttachChildren(NodeId id, NodeId first, std::uint32_t count);
  // Derive open leaves, frontier and range of all nodes from scratch.
  void RebuildDerived();

  TreeStorage storage_;
  std::uint32_t size_ = 0;
  const Shared* shared_;
  Scorer scorer_;
  const bool global_;
  // Groups of children beyond the first, for the few nodes that were expanded again. Of other nodes,
  // empty lists may be left over from claims.
  std::unordered_map<NodeId, std::vector<ChildGroup>> more_children_;
  GumbelPlan plan_;
  Range range_;  // of all Q so far; where the rule is muzero_tree
  Ties ties_ = 0;
};

template <typename F>
void Tree::ForEachGroup(NodeId id, const F& f) const {
  const NodeStore& nodes = storage_.nodes;
  if (nodes.IsLeaf(id) || nodes.inline_children(id) == 0) return;
  f(nodes.link(id), nodes.inline_children(id));
  if (!nodes.Has(id, Node::kMoreChildren)) return;
  for (const ChildGroup& group : more_children_.at(id)) f(group.first, group.count);
}

template <typename F>
void Tree::ForEachChild(NodeId id, const F& f) const {
  ForEachGroup(id, [&](NodeId first, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) f(first + i);
  });
}

}  // namespace rts
