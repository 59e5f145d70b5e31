// Rules that weigh a child against all of its siblings, open or not: pure functions of plain numbers.
//
// N and Q are N' and Q of selection.h; sums, least and greatest run over all siblings; a sibling
// counts as visited if it has a Q of its own.
//
// MuZero (Schrittwieser et al. 2020, arXiv 1911.08265, appendix B), with V the parent's mean value:
//   low, high   least and greatest of V and Q of the visited
//   score       (Q - low) / max(high - low, 1e-8) + P sqrt(N(parent)) c(N(parent)) / (1 + N)
//   c(n)        exploration + ln((n + exploration_base + 1) / exploration_base)
// Unvisited children have Q = low.
//
// Gumbel MuZero (Danihelka et al., "Policy improvement by planning with Gumbel", ICLR 2022):
//   v_mix       (v + S q) / (S + 1), v the raw value of the parent, S the visits of the visited, and
//               q the mean of their Q by priors; the Q of the unvisited (appendix D)
//   sigma       (maxvisit_init + max N) value_scale (Q - low) / max(high - low, 1e-8)
//   below root  softmax(ln P + sigma) - N / (1 + sum N), the highest
//   root        gumbel + ln P + sigma, the highest of those with the visits whose turn it is; if
//               none of them is open, of all that are
//
// MuZero over the tree, as LightZero 0.2.0 has it (Niu et al. 2023, arXiv 2310.08348): low, high are
// the least and the greatest Q that any backup found on its path since the tree began, the root's own
// included, and n = max(0, N(parent) - 1):
//   scaled      (Q - low) / max(high - low, least_span), Q where high > low does not hold
//   score       min(max(scaled, 0), 1) + P sqrt(n) c(n) / (1 + N)
//   M           Q of the unvisited: the mean of the Q of the visited, below the root and where there
//               are none of these and of the parent's own M (0 above the root); with a negative
//               discount, of what the Q would be with a positive one
// Ties go to the lower id, or by chance to one of those within 1e-6 of the best.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/node.h"
#include "core/params.h"
#include "core/selection.h"
#include "simd/select.h"

namespace rts {

struct Sibling {
  NodeId id;
  bool is_open;
  bool is_visited;
  double prior;
  double value;   // Q; of the unvisited it is filled in
  double visits;  // N
  double score;   // what is to be computed
};

// From lowest to highest.
struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// The best open one of `siblings`, at least one of which is open, by MuZero's rule; `terms` are
// those of Scorer::ForParent.
Choice ChooseMuZero(std::span<Sibling> siblings, const ScoreTerms& terms);

// How ties are broken: 0 for the lower id, else a random number.
using Ties = std::uint64_t;
// Of the tree at `place` in a batch, of its next descent, and of a node on the way of one.
Ties TiesByChance(std::uint64_t seed, std::uint64_t place);
Ties NextTies(Ties ties);
Ties TiesAt(Ties ties, NodeId id);

// The same by MuZero's rule over the tree, with M filled in; of the choice, `value` is M.
Choice ChooseMuZeroTree(std::span<Sibling> siblings, const ScoreTerms& terms, double mean,
                        const Range& range, double least_span, Ties ties);

// How a root is to be searched by the Gumbel rule.
struct GumbelPlan {
  std::vector<float> noise;  // of its first children; the others have none
  std::uint64_t num_simulations = 1;
  std::uint64_t max_considered = 16;
};

// The same by the Gumbel rule, for a root.
Choice ChooseGumbelRoot(std::span<Sibling> siblings, double raw_value, const SearchParams& params,
                        const GumbelPlan& plan);
// And for a node below it.
Choice ChooseGumbel(std::span<Sibling> siblings, double raw_value, const SearchParams& params);

// Sequential halving (Karnin et al. 2013): which number of visits is it the turn of in simulation
// `index`, counted from 0? `considered` children share num_simulations; after each of ceil(log2
// considered) rounds the better half of them stays, at least two. Beyond num_simulations the last
// round goes on.
std::uint64_t ConsideredVisits(std::uint64_t considered, std::uint64_t num_simulations,
                               std::uint64_t index);

}  // namespace rts
