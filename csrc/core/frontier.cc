#include "core/frontier.h"

#include <algorithm>

namespace rts {
namespace {

constexpr std::uint32_t kArity = 4;

// Is leaf `a` to be preferred to leaf `b`, given their keys? What breaks ties is read from the
// nodes. That is exact, because a backup refreshes each group on its path right after the counts
// of the group's parent changed: no other entry is out of date at that moment.
bool Before(const NodeStore& nodes, const Scorer& scorer, double a_key, NodeId a, double b_key,
            NodeId b) {
  if (a_key != b_key) return a_key > b_key;
  const auto full = [&](NodeId id) {
    return scorer.Of(scorer.ForParent(nodes.Get(nodes.parent(id))), nodes.Get(id));
  };
  return Better(full(a), a, full(b), b);
}

}  // namespace

void Frontier::Replace(NodeStore& nodes, const Scorer& scorer, NodeId listed,
                       const Choice& best) {
  const Kind kind = KindOf(best.score);
  const double key = kind == kUnvisited ? best.value : best.score;
  if (listed != kNoNode) {
    const std::uint32_t link = nodes.link(listed);
    nodes.link(listed) = kNoNode;
    if (best.id != kNoNode && link % 2 == kind) {
      Settle(nodes, scorer, kind, link / 2, best.id, key);
      return;
    }
    Remove(nodes, scorer, link);
  }
  if (best.id != kNoNode) Settle(nodes, scorer, kind, heaps_[kind].size++, best.id, key);
}

void Frontier::Remove(NodeStore& nodes, const Scorer& scorer, std::uint32_t link) {
  const auto kind = static_cast<Kind>(link % 2);
  Heap& heap = heaps_[kind];
  const std::uint32_t last = --heap.size;
  if (link / 2 == last) return;
  Settle(nodes, scorer, kind, link / 2, heap.leaves[last], heap.keys[last]);
}

void Frontier::Settle(NodeStore& nodes, const Scorer& scorer, Kind kind, std::uint32_t slot,
                      NodeId leaf, double key) {
  Heap& heap = heaps_[kind];
  // fewer than 2**31 groups: each has a parent and a leaf of its own
  const auto put = [&](std::uint32_t at, NodeId id, double with) {
    heap.keys[at] = with;
    heap.leaves[at] = id;
    nodes.link(id) = at * 2 + kind;
  };
  while (slot > 0) {
    const std::uint32_t up = (slot - 1) / kArity;
    if (!Before(nodes, scorer, key, leaf, heap.keys[up], heap.leaves[up])) break;
    put(slot, heap.leaves[up], heap.keys[up]);
    slot = up;
  }
  for (;;) {
    const std::uint32_t first = slot * kArity + 1;
    if (first >= heap.size) break;
    const std::uint32_t last = std::min(first + kArity, heap.size);
    std::uint32_t best = first;
    for (std::uint32_t i = first + 1; i < last; ++i) {
      if (Before(nodes, scorer, heap.keys[i], heap.leaves[i], heap.keys[best],
                 heap.leaves[best])) {
        best = i;
      }
    }
    if (!Before(nodes, scorer, heap.keys[best], heap.leaves[best], key, leaf)) break;
    put(slot, heap.leaves[best], heap.keys[best]);
    slot = best;
  }
  put(slot, leaf, key);
}

bool Frontier::Holds(std::uint32_t link, NodeId leaf, const Score& score) const {
  const Kind kind = KindOf(score.score);
  const Heap& heap = heaps_[kind];
  return link % 2 == kind && link / 2 < heap.size && heap.leaves[link / 2] == leaf &&
         heap.keys[link / 2] == (kind == kUnvisited ? score.value : score.score);
}

}  // namespace rts
