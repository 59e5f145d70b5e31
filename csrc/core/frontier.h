// The open leaves of one tree in order of score, for the rules that look at all of them at once.
//
// A 4-ary heap with one entry per sibling group: the group's best open leaf. Siblings share their
// parent's visit count, so a backup changes the order inside and among the groups on its path and
// nowhere else; only those entries are made anew, and no selection scans the tree. The entry's
// place is kept in the `link` of its leaf, which a leaf does not need otherwise: 12 bytes a group.
//
// Leaves that come first because nothing visited them have equal scores, and are ordered by value.
// They have a heap of their own, so that keys are seldom equal in either: what breaks ties must be
// fetched from the nodes.
#pragma once

#include <cstdint>

#include "core/node_store.h"
#include "core/selection.h"
#include "simd/select.h"
#include "support/arena.h"

namespace rts {

class Frontier {
 public:
  Frontier() = default;
  explicit Frontier(std::size_t capacity) : heaps_{Heap(capacity), Heap(capacity)} {}

  void Clear() { heaps_[0].size = heaps_[1].size = 0; }
  std::uint32_t size() const { return heaps_[0].size + heaps_[1].size; }

  // The best open leaf, or kNoNode.
  NodeId Top() const {
    const Heap& heap = heaps_[heaps_[kUnvisited].size > 0 ? kUnvisited : kVisited];
    return heap.size > 0 ? heap.leaves[0] : kNoNode;
  }

  // Put `best` where its sibling `listed` stands; either may be no node (insertion, removal).
  void Replace(NodeStore& nodes, const Scorer& scorer, NodeId listed, const Choice& best);

  // Does the entry that a leaf's `link` names hold this leaf, at its right place by this score?
  bool Holds(std::uint32_t link, NodeId leaf, const Score& score) const;

 private:
  enum Kind : std::uint32_t { kVisited, kUnvisited };

  struct Heap {
    Arena<double> keys;
    Arena<NodeId> leaves;
    std::uint32_t size = 0;

    Heap() = default;
    explicit Heap(std::size_t capacity) : keys(capacity), leaves(capacity) {}
  };

  static Kind KindOf(double score) { return score == __builtin_inf() ? kUnvisited : kVisited; }
  void Remove(NodeStore& nodes, const Scorer& scorer, std::uint32_t link);
  // Find the place of (leaf, key) from `slot` on and write it there.
  void Settle(NodeStore& nodes, const Scorer& scorer, Kind kind, std::uint32_t slot, NodeId leaf,
              double key);

  Heap heaps_[2];
};

}  // namespace rts
