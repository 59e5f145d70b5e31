// One node of a search tree: 32 bytes, two to a cache line.
//
//   0        8            12      16    20     24           28         30
//   +--------+------------+-------+-----+------+------------+----------+----------------+
//   | value_ | visit_     | parent| link| prior| edge_      | in_      | flags (6 bits) |
//   | sum    | count      |       |     |      | reward     | flight   | children (10)  |
//   +--------+------------+-------+-----+------+------------+----------+----------------+
//
// Nodes live in one array per tree and are named by their index. Children of one expansion are
// contiguous; a node that is expanded again gets further groups, listed by its tree (tree.h).
// Values are from the point of view of the one solver: higher is better for every node.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rts {

using NodeId = std::uint32_t;
using TreeId = std::int32_t;

inline constexpr NodeId kRootId = 0;
inline constexpr NodeId kNoNode = 0xFFFFFFFFu;
inline constexpr std::int64_t kMaxNodes = 0xFFFFFFFE;
inline constexpr std::uint32_t kMaxInFlight = 0xFFFF;  // of one tree
inline constexpr std::uint32_t kMaxInlineChildren = 0x3FF;

struct Node {
  enum Flag : std::uint16_t {
    kTerminal = 1,       // no continuation; set when the node is made
    kExpanded = 2,       // has been expanded (possibly to no child at all)
    kSelected = 4,       // handed out by a selection, not yet released
    kUnavailable = 8,    // no leaf at or below it can be selected now
    kMoreChildren = 16,  // has groups of children besides the first
  };
  static constexpr std::uint16_t kFlagBits = 6;
  static constexpr std::uint16_t kFlagMask = (1u << kFlagBits) - 1;

  double value_sum;           // sum of backed-up values (BackupMode::kMax: their maximum)
  std::uint32_t visit_count;  // backups that passed through
  NodeId parent;              // kNoNode for the root
  NodeId link;                // expanded: its first child; leaf: its slot in the frontier or kNoNode
  float prior;                // policy probability, in [0, 1]
  float edge_reward;          // reward of the edge from the parent
  std::uint16_t in_flight;    // selected leaves at or below it that are not released
  std::uint16_t bits;         // flags, and the number of children in the first group

  bool Has(Flag flag) const { return (bits & flag) != 0; }
  void Set(Flag flag) { bits = static_cast<std::uint16_t>(bits | flag); }
  void Clear(Flag flag) { bits = static_cast<std::uint16_t>(bits & ~flag); }
  bool IsLeaf() const { return !Has(kExpanded); }
  std::uint32_t inline_children() const { return bits >> kFlagBits; }
  void set_inline_children(std::uint32_t count) {
    bits = static_cast<std::uint16_t>((bits & kFlagMask) | (count << kFlagBits));
  }
};

static_assert(sizeof(Node) == 32, "two nodes to a cache line");
static_assert(std::is_trivially_copyable_v<Node>, "arenas and re-rooting move nodes as bytes");

}  // namespace rts
