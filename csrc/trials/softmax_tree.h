// The tree of treequest's StandardMCTS: V + c * P * sqrt(ln N(parent) / N), where P is the softmax of
// the scores of the siblings, and the first of the best is taken.
//
// A choice must be that package's to the last bit, so ln and e**x are the C library's here, as
// Python's are (support/numeric.h says why they are nowhere else).
//
// Nodes are told in groups: all children of a leaf, then those of another. A group is added to the
// counts when it is needed, in one way up, and each node on this way learns on it which leaf below
// it is to be taken: a choice reads the root's. Other nodes do not change, nor do their leaves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "support/numeric.h"
#include "trials/chooser.h"

namespace rts {

class SoftmaxTree {
 public:
  explicit SoftmaxTree(const TrialSettings& settings);

  // The leaf to expand next; kNoNode if all are held.
  NodeId Best();
  // It is being expanded, and will get `count` children. With settings.distinct it is closed until the
  // first is there, and each that is missing counts as a visit of value 0.
  void Hold(NodeId leaf, std::uint32_t count);
  // The children that are missing will not come.
  void Free(NodeId leaf, std::uint32_t missing);
  void Add(NodeId parent, double score);

  Count CountOf(NodeId node);
  bool Load(std::span<const NodeId> parents, std::span<const double> scores,
            std::span<const Count> counts);

 private:
  struct alignas(64) Node {
    double score = 0;
    double value_sum = 0;
    double mean = 0;
    double reach = 0;  // exploration * prior / sqrt(visits), to a few bits
    double prior = 1;
    std::uint32_t visits = 0;
    NodeId parent = kNoNode;
    NodeId first_child = kNoNode;
    NodeId last_child = kNoNode;
    NodeId next_sibling = kNoNode;
    NodeId leaf = kRootId;  // the best below it, were nothing held
  };
  static_assert(sizeof(Node) == 64);
  // Of settings.distinct.
  struct Flight {
    std::uint32_t missing = 0;  // children that were promised at or below the node
    std::uint32_t open = 1;     // leaves at or below it that are not held
  };

  void Append(NodeId parent, double score);
  void Settle();
  void SetPriors(NodeId parent);
  void SetReach(Node& node) const;
  NodeId BestLeafOf(const Node& node) const;
  NodeId ExactlyBestLeafOf(const Node& node) const;
  NodeId BestNotHeld() const;

  const double exploration_;
  const bool distinct_;
  const bool compensated_;
  const RootTables& roots_;
  std::vector<Node> nodes_;
  std::vector<Flight> flights_;
  NodeId settled_ = 1;           // nodes from here on are not in the counts yet; all are siblings
};

}  // namespace rts
