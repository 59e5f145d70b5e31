// Who decides which node gets a child next, by which action. A search (search.h) keeps the trials;
// a chooser knows what it needs to decide.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/node.h"
#include "trials/settings.h"

namespace rts {

// Room that is made at once: memory that grows from little is copied, and taken afresh from the
// system, which costs more than a search.
inline constexpr std::size_t kUsualNodes = 1024;

// Where a child is wanted. Nodes are numbered in the order in which they were told, the root is 0.
struct Request {
  NodeId node;
  ActionId action;

  bool operator==(const Request&) const = default;
};

// Among what trials are asked: actions, and how many children of each a chosen leaf gets.
struct Plan {
  std::uint32_t samples;
  std::vector<ActionId> actions;
};

// A leaf that is being given its children.
struct Expansion {
  NodeId node = kRootId;
  std::uint32_t total = 0;            // children that it gets
  std::uint32_t still = 0;            // those that are to come
  std::vector<std::uint32_t> wanted;  // of these, by action
  std::vector<std::uint32_t> asked;   // trials in flight, by action
};

// What a tree has counted at a node.
struct Count {
  std::uint32_t visits;
  double value_sum;
  double prior;
};

class Chooser {
 public:
  virtual ~Chooser() = default;

  // What to ask for. `place` counts the trials of one batch, `draw` those of the search.
  virtual Request Choose(const Plan& plan, std::size_t place, std::uint64_t draw) = 0;
  // It was asked for. Without Choose() before it where a recorded search is repeated.
  virtual void Asked(const Request& request, const Plan& plan) = 0;
  // The last Asked() is taken back; nothing else happened since.
  virtual void Withdrawn(const Request& request) = 0;
  // The next node is there. True if the other trials of this request are superfluous from now on.
  // If it throws, nothing happened.
  virtual bool Told(const Request& request, double score) = 0;

  // Nothing where the chooser keeps no counts.
  virtual std::optional<Count> CountOf(NodeId) { return std::nullopt; }
  // Begin with nodes that were told, their counts, the leaves that are being expanded, and the actions
  // in the order in which leaves first wanted them. False if the chooser must be told one by one.
  // Throws Error(kCorruptData).
  virtual bool Load(std::span<const NodeId>, std::span<const double>, std::span<const Count>,
                    std::vector<Expansion>, std::vector<ActionId>) {
    return false;
  }
};

}  // namespace rts
