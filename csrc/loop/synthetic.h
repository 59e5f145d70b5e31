// A whole search without a model: what the core costs when nothing crosses the border.
//
// One simulation selects a leaf, gives it `children` children and backs the leaf's reward up, a hash
// of its id. Nodes 32 edges below the root are terminal. rtsearch_fast/bench/workload.py runs the
// same search from Python, on the answers that this one leaves, and must reach the same signature.
#pragma once

#include <cstdint>
#include <vector>

#include "core/params.h"

namespace rts {

inline constexpr int kSyntheticDepth = 32;
inline constexpr double kSyntheticExploration = 1.4;

struct Synthetic {
  Rule rule;
  std::int32_t children;
  std::int64_t simulations;  // of one tree
  std::int64_t batch;        // of them in flight at once
  std::int64_t trees;
  std::int64_t repeats;

  // Throws Error(kInvalidArgument) naming the first bad field.
  void Validate() const;
};

struct SyntheticResult {
  std::vector<double> ns;  // a simulation, by repeat
  double bytes_per_node;
  std::uint64_t signature;
  std::vector<std::uint8_t> terminal;  // by node of a tree
};

SyntheticResult Run(const Synthetic& search);

}  // namespace rts
