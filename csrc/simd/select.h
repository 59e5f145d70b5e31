// The inner loops of every selection: the best of a group of siblings, and the way down to a leaf.
//
// One text (select.inc) is compiled once for each instruction set, siblings four at a time, and the
// best set that this machine has is looked up once a forest. All give the same bits: no fused
// multiply-add, and each lane does what selection.h does for one node, in the same order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/node_store.h"
#include "core/params.h"
#include "core/selection.h"

namespace rts {

class Tree;

// Children of one parent with consecutive ids, at least one.
struct Siblings {
  const Tile* tiles;
  const float* rewards;  // by node; null if there are none
  NodeId first;
  std::uint32_t count;
};

struct Choice {
  NodeId id = kNoNode;
  double score = -__builtin_inf();
  double value = 0;
  double visits = 0;
};

// Make `best` the best of itself and of what may be selected among `siblings`, which have higher
// ids. Rules that descend consider children with an open leaf, the others children that are one.
// MuZero takes `siblings` for all children of their parent.
using ChooseFn = void (*)(const Siblings& siblings, const ScoreTerms& terms, Choice& best);

// One of many that go down side by side.
struct Walker {
  Tree* tree;
  Tile* tiles;
  const float* rewards;
  NodeId at;
  std::uint32_t in_flight;  // of `at`, without this walker and those behind it
  std::size_t place;        // in the batch
  double mean;              // of the level above; where the rule is muzero_tree, as the next
  std::uint64_t ties;       // muzero.h
};

// Choose among the groups of walker.at's children besides the first; they are rare. Rules that weigh
// siblings cannot choose group by group: all groups are looked at, and `best` is left out. By the
// rule muzero_tree, the value of the choice is the mean that the next level takes up.
using ChooseMoreFn = Choice (*)(Walker walker, ScoreTerms terms, Choice best);

// Bring walkers that stand on roots to leaves, counting them in flight on the way, and mark the
// leaves as selected. All go down level by level in the order of the batch: who comes later sees
// those before it as if they had gone all the way, and while one waits for memory, others compute.
using DescendFn = void (*)(Walker* walkers, std::size_t count, const SearchParams& params,
                           const RootTables& roots, ChooseMoreFn more, NodeId* leaves);

struct Selection {
  ChooseFn choose;    // null where only ChooseMoreFn knows how
  DescendFn descend;  // null where rules look at all leaves at once
};

enum class Isa : std::uint8_t { kBaseline, kAvx2, kAvx512 };

// The instruction sets that this machine and this build have; kBaseline always.
bool IsSupported(Isa isa);
// The last one of them, unless RTSEARCH_ISA in the environment names another one (baseline, avx2,
// avx512). Throws Error(kInvalidArgument) if it names one that is not supported.
Isa BestIsa();
const char* NameOf(Isa isa);

Selection SelectionFor(const SearchParams& params, Isa isa);

}  // namespace rts
