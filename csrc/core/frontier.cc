#include "core/frontier.h"

#include <algorithm>

namespace rts {
namespace {

constexpr std::uint32_t kArity = 4;

// Is leaf `a` to be preferred to leaf `b`, given their scores? What breaks ties is read from the
// nodes. That is exact, because a backup refreshes each group on its path right after the counts
// of the group's parent changed: no other entry is out of date at that moment.
bool Before(const Node* nodes, const Scorer& scorer, double a_score, NodeId a, double b_score,
            NodeId b) {
  if (a_score != b_score) return a_score > b_score;
  const auto full = [&](NodeId id) {
    return scorer.Of(scorer.ForParent(nodes[nodes[id].parent]), nodes[id]);
  };
  return Better(full(a), a, full(b), b);
}

}  // namespace

void Frontier::Replace(Node* nodes, const Scorer& scorer, NodeId listed, NodeId leaf,
                       double score) {
  std::uint32_t slot = size_;
  if (listed != kNoNode) {
    slot = nodes[listed].link;
    nodes[listed].link = kNoNode;
  }
  if (leaf == kNoNode) {
    if (listed == kNoNode) return;
    --size_;
    if (slot == size_) return;
    leaf = leaves_[size_];
    score = scores_[size_];
  } else if (listed == kNoNode) {
    ++size_;
  }
  Settle(nodes, scorer, slot, leaf, score);
}

void Frontier::Settle(Node* nodes, const Scorer& scorer, std::uint32_t slot, NodeId leaf,
                      double score) {
  while (slot > 0) {
    const std::uint32_t up = (slot - 1) / kArity;
    if (!Before(nodes, scorer, score, leaf, scores_[up], leaves_[up])) break;
    Put(nodes, slot, leaves_[up], scores_[up]);
    slot = up;
  }
  for (;;) {
    const std::uint32_t first = slot * kArity + 1;
    if (first >= size_) break;
    const std::uint32_t last = std::min(first + kArity, size_);
    std::uint32_t best = first;
    for (std::uint32_t i = first + 1; i < last; ++i) {
      if (Before(nodes, scorer, scores_[i], leaves_[i], scores_[best], leaves_[best])) best = i;
    }
    if (!Before(nodes, scorer, scores_[best], leaves_[best], score, leaf)) break;
    Put(nodes, slot, leaves_[best], scores_[best]);
    slot = best;
  }
  Put(nodes, slot, leaf, score);
}

}  // namespace rts
