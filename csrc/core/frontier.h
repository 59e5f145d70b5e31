// The open leaves of one tree in order of score, for the rules that look at all of them at once.
//
// A 4-ary heap with one entry per sibling group: the group's best open leaf. Siblings share their
// parent's visit count, so a backup changes the order inside and among the groups on its path and
// nowhere else; only those entries are made anew, and no selection scans the tree. The entry's
// slot is kept in the `link` of its leaf, which a leaf does not need otherwise: 12 bytes a group.
#pragma once

#include <cstdint>

#include "core/node.h"
#include "core/selection.h"
#include "support/arena.h"

namespace rts {

class Frontier {
 public:
  Frontier() = default;
  explicit Frontier(std::size_t capacity) : scores_(capacity), leaves_(capacity) {}

  void Clear() { size_ = 0; }
  std::uint32_t size() const { return size_; }

  // The best open leaf, or kNoNode.
  NodeId Top() const { return size_ > 0 ? leaves_[0] : kNoNode; }

  // Compute the group of `parent` anew, as if the leaf `excluded` were closed.
  // `children` calls its argument with each child's id, in ascending order.
  template <typename ForEachChild>
  void Refresh(Node* nodes, const Scorer& scorer, NodeId parent, NodeId excluded,
               const ForEachChild& for_each_child) {
    const ParentTerms terms = scorer.ForParent(nodes[parent]);
    NodeId listed = kNoNode;
    NodeId best = kNoNode;
    Score best_score{};
    for_each_child(parent, [&](NodeId id) {
      const Node& child = nodes[id];
      if (!child.IsLeaf()) return;
      if (child.link != kNoNode) listed = id;
      if (child.Has(Node::kUnavailable) || id == excluded) return;
      const Score score = scorer.Of(terms, child);
      if (best == kNoNode || Better(score, id, best_score, best)) {
        best = id;
        best_score = score;
      }
    });
    Replace(nodes, scorer, listed, best, best_score.score);
  }

  double score(std::uint32_t slot) const { return scores_[slot]; }
  NodeId leaf(std::uint32_t slot) const { return leaves_[slot]; }

 private:
  // Put `leaf` where `listed` stands; either may be kNoNode (insertion, removal).
  void Replace(Node* nodes, const Scorer& scorer, NodeId listed, NodeId leaf, double score);
  // Find the place of (leaf, score) from `slot` on and write it there.
  void Settle(Node* nodes, const Scorer& scorer, std::uint32_t slot, NodeId leaf, double score);
  void Put(Node* nodes, std::uint32_t slot, NodeId leaf, double score) {
    scores_[slot] = score;
    leaves_[slot] = leaf;
    nodes[leaf].link = slot;
  }

  Arena<double> scores_;
  Arena<NodeId> leaves_;
  std::uint32_t size_ = 0;
};

}  // namespace rts
