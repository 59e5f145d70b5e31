// MCTS_G over trials: a tree of the core with the rule mcts_g, whose leaves get children one by one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/forest.h"
#include "trials/chooser.h"

namespace rts {

class GlobalTree {
 public:
  explicit GlobalTree(const TrialSettings& settings);

  // The same four moves as of SoftmaxTree. Hold() is cheap for the leaf that Best() gives.
  NodeId Best();
  void Hold(NodeId leaf, std::uint32_t count);
  void Free(NodeId leaf, std::uint32_t missing);
  void Add(NodeId parent, double score);

  Count CountOf(NodeId node);
  bool Load(std::span<const NodeId>, std::span<const double>, std::span<const Count>) {
    return false;
  }

 private:
  NodeId Select();

  Forest forest_;
  TreeId tree_;
};

}  // namespace rts
