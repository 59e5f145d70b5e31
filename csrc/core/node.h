// What a node is. How the nodes of a tree lie in memory: node_store.h.
//
// Nodes are named by their index in the tree. Children of one expansion are contiguous; a node that
// is expanded again gets further groups, listed by its tree (tree.h). Values are from the point of
// view of the one solver: higher is better for every node.
#pragma once

#include <cstdint>

namespace rts {

using NodeId = std::uint32_t;
using TreeId = std::int32_t;

inline constexpr NodeId kRootId = 0;
inline constexpr NodeId kNoNode = 0xFFFFFFFFu;
inline constexpr std::int64_t kMaxNodes = 0xFFFFFFFE;
inline constexpr std::uint32_t kMaxInFlight = 0xFFFF;  // of one tree
inline constexpr std::uint32_t kMaxInlineChildren = 0x3FF;

// A copy of one node's fields.
struct Node {
  enum Flag : std::uint16_t {
    kTerminal = 1,       // no continuation; set when the node is made
    kExpanded = 2,       // has been expanded (possibly to no child at all)
    kSelected = 4,       // handed out by a selection, not yet released
    kUnavailable = 8,    // closed to selection (tree.h)
    kMoreChildren = 16,  // has groups of children besides the first
    kNamed = 32,         // a leaf of the batch under inspection (Tree::ClaimGroup)
  };
  static constexpr std::uint16_t kFlagBits = 6;
  static constexpr std::uint16_t kFlagMask = (1u << kFlagBits) - 1;

  double value_sum;           // sum of backed-up values (BackupMode: or maximum, or the last)
  std::uint32_t visit_count;  // backups that passed through
  std::uint16_t in_flight;    // selected leaves at or below it that are not released
  std::uint16_t bits;         // flags, and the number of children in the first group
  NodeId parent;              // kNoNode for the root
  NodeId link;                // first child; of a leaf its place in the frontier, or kNoNode
  std::uint32_t open;         // see node_store.h
  float prior;                // policy probability, in [0, 1] (FirstPlay::kPrior: any number)
  float edge_reward;          // reward of the edge from the parent

  bool Has(Flag flag) const { return (bits & flag) != 0; }
  bool IsLeaf() const { return !Has(kExpanded); }
  std::uint32_t inline_children() const { return bits >> kFlagBits; }
};

}  // namespace rts
