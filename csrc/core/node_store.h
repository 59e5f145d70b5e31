// The nodes of one tree: 32 bytes each, in tiles of four.
//
//          0            8            16           24           32       48            56       64
//          +------------+------------+------------+------------+--------+-------------+--------+
//   line 1 | value_sum  | value_sum  | value_sum  | value_sum  | visit_ | in_flight   | bits   |
//          |          0 |          1 |          2 |          3 | count  | 0 1 2 3     | 0 1 2 3|
//          +------------+------------+------------+------------+--------+-------------+--------+
//   line 2 | link 0 1 2 3     | parent 0 1 2 3   | open 0 1 2 3     | prior 0 1 2 3              |
//          +------------------+------------------+------------------+----------------------------+
//
// A selection (simd/select.h) reads the first line of its siblings as vectors, four at a time, and
// the second line of the one that it goes to. The root lies in the last place of the first tile, so
// that groups of four siblings fill tiles, and groups of sixteen four of them.
//
// Rewards of edges are rare and lie apart: pages that nobody writes to are no memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/node.h"
#include "support/arena.h"

namespace rts {

inline constexpr std::uint32_t kLanes = 4;
inline constexpr std::uint32_t kRootPlace = kLanes - 1;

struct alignas(64) Tile {
  double value_sum[kLanes];
  std::uint32_t visit_count[kLanes];
  std::uint16_t in_flight[kLanes];
  std::uint16_t bits[kLanes];

  NodeId link[kLanes];
  NodeId parent[kLanes];
  // Rules that descend: open leaves at or below the node. Rules that look at all leaves at once:
  // the child that stands in the frontier, or kNoNode.
  std::uint32_t open[kLanes];
  float prior[kLanes];
};

static_assert(sizeof(Tile) == 128, "four nodes to two cache lines");
static_assert(std::is_trivially_copyable_v<Tile>, "arenas hold tiles as bytes");

inline constexpr std::size_t kNodeBytes = sizeof(Tile) / kLanes;

class NodeStore {
 public:
  explicit NodeStore(std::size_t max_nodes)
      : tiles_((max_nodes + kRootPlace + kLanes - 1) / kLanes),
        rewards_(max_nodes),
        capacity_(max_nodes) {}

  std::size_t capacity() const { return capacity_; }
  Tile* tiles() { return tiles_.data(); }
  const Tile* tiles() const { return tiles_.data(); }

  double& value_sum(NodeId id) { return At(id).value_sum[Lane(id)]; }
  std::uint32_t& visit_count(NodeId id) { return At(id).visit_count[Lane(id)]; }
  std::uint16_t& in_flight(NodeId id) { return At(id).in_flight[Lane(id)]; }
  std::uint16_t& bits(NodeId id) { return At(id).bits[Lane(id)]; }
  NodeId& link(NodeId id) { return At(id).link[Lane(id)]; }
  NodeId& parent(NodeId id) { return At(id).parent[Lane(id)]; }
  std::uint32_t& open(NodeId id) { return At(id).open[Lane(id)]; }
  float& prior(NodeId id) { return At(id).prior[Lane(id)]; }

  double value_sum(NodeId id) const { return At(id).value_sum[Lane(id)]; }
  std::uint32_t visit_count(NodeId id) const { return At(id).visit_count[Lane(id)]; }
  std::uint16_t in_flight(NodeId id) const { return At(id).in_flight[Lane(id)]; }
  std::uint16_t bits(NodeId id) const { return At(id).bits[Lane(id)]; }
  NodeId link(NodeId id) const { return At(id).link[Lane(id)]; }
  NodeId parent(NodeId id) const { return At(id).parent[Lane(id)]; }
  std::uint32_t open(NodeId id) const { return At(id).open[Lane(id)]; }

  bool Has(NodeId id, Node::Flag flag) const { return (bits(id) & flag) != 0; }
  void Set(NodeId id, Node::Flag flag) {
    bits(id) = static_cast<std::uint16_t>(bits(id) | flag);
  }
  void Clear(NodeId id, Node::Flag flag) {
    bits(id) = static_cast<std::uint16_t>(bits(id) & ~flag);
  }
  bool IsLeaf(NodeId id) const { return !Has(id, Node::kExpanded); }
  std::uint32_t inline_children(NodeId id) const { return bits(id) >> Node::kFlagBits; }
  void set_inline_children(NodeId id, std::uint32_t count) {
    bits(id) = static_cast<std::uint16_t>((bits(id) & Node::kFlagMask) | count << Node::kFlagBits);
  }

  // Null until an edge has a reward; then by node.
  const float* rewards() const { return rewards_end_ > 0 ? rewards_.data() : nullptr; }
  float edge_reward(NodeId id) const { return rewards_end_ > 0 ? rewards_[id] : 0.0f; }
  void set_edge_reward(NodeId id, float reward) {
    if (id >= rewards_end_) {
      if (reward == 0 && !std::signbit(reward)) return;
      rewards_end_ = id + 1;
    }
    rewards_[id] = reward;
  }
  void ClearRewards() {
    for (NodeId id = 0; id < rewards_end_; ++id) rewards_[id] = 0;
    rewards_end_ = 0;
  }

  // What new siblings have in common, and what they have not: null pointers for none of that.
  struct Fresh {
    NodeId parent;
    std::uint32_t open;  // of one that may be selected; of the others it is `closed`
    std::uint32_t closed;
    std::uint16_t terminal_bits;
    float prior;
    const float* priors;
    const std::uint8_t* terminal;
    const float* rewards;
  };
  // Write `count` leaves from `first` on; returns how many may be selected.
  std::uint32_t Append(NodeId first, std::uint32_t count, const Fresh& fresh) {
    std::uint32_t closed = 0;
    for (std::uint32_t done = 0; done < count;) {
      const std::uint32_t lane = Lane(first + done);
      const std::uint32_t lanes = std::min(kLanes - lane, count - done);
      Tile& tile = At(first + done);
      // most groups fill tiles, and a constant number of lanes is a few wide stores
      closed += lanes == kLanes ? Write(tile, 0, kLanes, done, fresh)
                                : Write(tile, lane, lane + lanes, done, fresh);
      done += lanes;
    }
    if (fresh.rewards != nullptr || first < rewards_end_) {
      for (std::uint32_t i = 0; i < count; ++i) {
        set_edge_reward(first + i, fresh.rewards != nullptr ? fresh.rewards[i] : 0.0f);
      }
    }
    return count - closed;
  }

  Node Get(NodeId id) const {
    const Tile& tile = At(id);
    const std::uint32_t i = Lane(id);
    return {tile.value_sum[i], tile.visit_count[i], tile.in_flight[i], tile.bits[i],
            tile.parent[i],    tile.link[i],        tile.open[i],      tile.prior[i],
            edge_reward(id)};
  }
  void Put(NodeId id, const Node& node) {
    Tile& tile = At(id);
    const std::uint32_t i = Lane(id);
    tile.value_sum[i] = node.value_sum;
    tile.visit_count[i] = node.visit_count;
    tile.in_flight[i] = node.in_flight;
    tile.bits[i] = node.bits;
    tile.parent[i] = node.parent;
    tile.link[i] = node.link;
    tile.open[i] = node.open;
    tile.prior[i] = node.prior;
    set_edge_reward(id, node.edge_reward);
  }

 private:
  [[gnu::always_inline]] static std::uint32_t Write(Tile& tile, std::uint32_t begin,
                                                    std::uint32_t end, std::uint32_t done,
                                                    const Fresh& fresh) {
    std::uint32_t closed = 0;
    for (std::uint32_t i = begin; i < end; ++i) {
      const std::uint32_t child = done + i - begin;
      const bool is_terminal = fresh.terminal != nullptr && fresh.terminal[child] != 0;
      const std::uint16_t bits = is_terminal ? fresh.terminal_bits : std::uint16_t{0};
      const bool is_closed = (bits & Node::kUnavailable) != 0;
      tile.value_sum[i] = 0;
      tile.visit_count[i] = 0;
      tile.in_flight[i] = 0;
      tile.bits[i] = bits;
      tile.link[i] = kNoNode;
      tile.parent[i] = fresh.parent;
      tile.open[i] = is_closed ? fresh.closed : fresh.open;
      tile.prior[i] = fresh.priors != nullptr ? fresh.priors[child] : fresh.prior;
      closed += is_closed;
    }
    return closed;
  }

  static std::uint32_t Lane(NodeId id) { return (id + kRootPlace) % kLanes; }
  Tile& At(NodeId id) { return tiles_[(std::size_t{id} + kRootPlace) / kLanes]; }
  const Tile& At(NodeId id) const { return tiles_[(std::size_t{id} + kRootPlace) / kLanes]; }

  Arena<Tile> tiles_;
  Arena<float> rewards_;
  std::size_t capacity_;
  NodeId rewards_end_ = 0;  // no reward was written from here on
};

}  // namespace rts
