#include "core/muzero.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <limits>

#include "support/mix.h"
#include "support/numeric.h"

namespace rts {
namespace {

constexpr double kLeastSpan = 1e-8;
constexpr double kTied = 1e-6;
// ln P of a child with prior 0: below all others.
constexpr double kLowestLogit = -1e9;
// Least weight of a visited child in v_mix, so that priors of 0 give no 0 / 0.
constexpr double kLeastPrior = std::numeric_limits<float>::min();

double Scale(const Range& range, double value) {
  return (value - range.low) / std::max(range.high - range.low, kLeastSpan);
}

void Fill(std::span<Sibling> siblings, double unvisited) {
  for (Sibling& sibling : siblings) {
    if (!sibling.is_visited) sibling.value = unvisited;
  }
}

double MixedValue(std::span<const Sibling> siblings, double raw_value) {
  double visits = 0;
  double priors = 0;
  double weighted = 0;
  for (const Sibling& sibling : siblings) {
    if (!sibling.is_visited) continue;
    const double prior = std::max(sibling.prior, kLeastPrior);
    visits += sibling.visits;
    priors += prior;
    weighted += prior * sibling.value;
  }
  return priors > 0 ? (raw_value + visits * (weighted / priors)) / (visits + 1.0) : raw_value;
}

// Complete the values, and make each score ln P + sigma.
void ScoreByImprovedLogits(std::span<Sibling> siblings, double raw_value,
                           const SearchParams& params) {
  Fill(siblings, MixedValue(siblings, raw_value));
  Range range;
  double most = 0;
  for (const Sibling& sibling : siblings) {
    range.Add(sibling.value);
    most = std::max(most, sibling.visits);
  }
  const double factor = (params.maxvisit_init + most) * params.value_scale;
  for (Sibling& sibling : siblings) {
    const double logit = sibling.prior > 0 ? LogOf(sibling.prior) : kLowestLogit;
    sibling.score = logit + factor * Scale(range, sibling.value);
  }
}

double SumOfVisits(std::span<const Sibling> siblings) {
  double sum = 0;
  for (const Sibling& sibling : siblings) sum += sibling.visits;
  return sum;
}

// The best of the siblings that are `wanted`; ties as in Better().
template <typename Wanted>
Choice Best(std::span<const Sibling> siblings, const Wanted& wanted) {
  Choice best;
  for (const Sibling& s : siblings) {
    if (!wanted(s) || s.score < best.score) continue;
    if (s.score == best.score &&
        (s.value < best.value || (s.value == best.value && s.visits >= best.visits))) {
      continue;
    }
    best = {s.id, s.score, s.value, s.visits};
  }
  return best;
}

bool IsOpen(const Sibling& sibling) { return sibling.is_open; }

}  // namespace

Choice ChooseMuZero(std::span<Sibling> siblings, const ScoreTerms& terms) {
  Range range;
  range.Add(terms.first_play);
  for (const Sibling& sibling : siblings) {
    if (sibling.is_visited) range.Add(sibling.value);
  }
  Fill(siblings, range.low);
  for (Sibling& sibling : siblings) {
    const double bonus = terms.exploration * sibling.prior / (1.0 + sibling.visits);
    sibling.score = Scale(range, sibling.value) + bonus;
  }
  return Best(siblings, IsOpen);
}

Ties TiesByChance(std::uint64_t seed, std::uint64_t place) {
  return Mix(Mix(kMixSeed, seed), place) | 1;
}

Ties NextTies(Ties ties) { return ties == 0 ? 0 : Mix(ties, kMixSeed) | 1; }

Ties TiesAt(Ties ties, NodeId id) { return ties == 0 ? 0 : Mix(ties, id) | 1; }

Choice ChooseMuZeroTree(std::span<Sibling> siblings, const ScoreTerms& terms, double mean,
                        const Range& range, double least_span, Ties ties) {
  Fill(siblings, mean);
  const double span = std::max(range.high - range.low, least_span);
  const Sibling* best = nullptr;
  for (Sibling& sibling : siblings) {
    const double value =
        range.high > range.low ? (sibling.value - range.low) / span : sibling.value;
    const double bonus = terms.exploration * sibling.prior / (1.0 + sibling.visits);
    sibling.score = std::min(std::max(value, 0.0), 1.0) + bonus;
    if (sibling.is_open && (best == nullptr || sibling.score > best->score)) best = &sibling;
  }
  if (ties != 0) {
    // behind the best, those that are hardly worse
    const auto is_tied = [least = best->score - kTied](const Sibling& s) {
      return s.is_open && s.score >= least;
    };
    const Sibling* const end = siblings.data() + siblings.size();
    const auto tied = static_cast<std::uint64_t>(std::count_if(best, end, is_tied));
    for (std::uint64_t skip = (ties >> 32) % tied; skip > 0; --skip) {
      best = std::find_if(best + 1, end, is_tied);
    }
  }
  return {best->id, best->score, mean, best->visits};
}

Choice ChooseGumbelRoot(std::span<Sibling> siblings, double raw_value, const SearchParams& params,
                        const GumbelPlan& plan) {
  ScoreByImprovedLogits(siblings, raw_value, params);
  std::uint64_t possible = 0;
  for (const Sibling& sibling : siblings) possible += sibling.prior > 0;
  const auto index = static_cast<std::uint64_t>(SumOfVisits(siblings));
  const auto turn = static_cast<double>(ConsideredVisits(
      std::min(plan.max_considered, possible), plan.num_simulations, index));
  const std::size_t noisy = std::min(plan.noise.size(), siblings.size());
  for (std::size_t i = 0; i < noisy; ++i) siblings[i].score += plan.noise[i];
  const Choice best =
      Best(siblings, [&](const Sibling& s) { return s.is_open && s.visits == turn; });
  return best.id != kNoNode ? best : Best(siblings, IsOpen);
}

Choice ChooseGumbel(std::span<Sibling> siblings, double raw_value, const SearchParams& params) {
  ScoreByImprovedLogits(siblings, raw_value, params);
  double highest = -std::numeric_limits<double>::infinity();
  for (const Sibling& sibling : siblings) highest = std::max(highest, sibling.score);
  double total = 0;
  for (Sibling& sibling : siblings) {
    sibling.score = ExpOf(sibling.score - highest);
    total += sibling.score;
  }
  const double visits = 1.0 + SumOfVisits(siblings);
  for (Sibling& sibling : siblings) {
    sibling.score = sibling.score / total - sibling.visits / visits;
  }
  return Best(siblings, IsOpen);
}

std::uint64_t ConsideredVisits(std::uint64_t considered, std::uint64_t num_simulations,
                               std::uint64_t index) {
  if (considered <= 1) return index;
  const auto rounds = static_cast<std::uint64_t>(std::bit_width(considered - 1));
  std::uint64_t visits = 0;
  for (;;) {
    const std::uint64_t each =
        std::max<std::uint64_t>(1, num_simulations / (rounds * considered));
    if (considered == 2 || index < each * considered) return visits + index / considered;
    visits += each;
    index -= each * considered;
    considered = std::max<std::uint64_t>(2, considered / 2);
  }
}

}  // namespace rts
