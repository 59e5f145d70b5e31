// The selection rules as pure functions of plain numbers: nothing here changes a tree.
//
// Value of a child as its parent sees it, with f simulations in flight through the child:
//   V = (value_sum + w f value_min) / (N + w f),   w = virtual_loss   (backup by mean)
//   Q = edge_reward + discount * V,                or the first-play value where N + w f = 0.
// Score, with N' = N + f:
//   UCT, MCTS_G   Q + c * sqrt(ln N'(parent)) / sqrt(max(1, N'))
//   PUCT          Q + c * prior * sqrt(N'(parent)) / (1 + N')
//   best-first    Q
// Rules that look at all leaves at once leave f out: a leaf in flight is closed to them, and the
// best B of the others are what a batch of B should get.
// Ties go to the higher Q, then to fewer visits N', then to the lower node id.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "core/node.h"
#include "core/params.h"
#include "support/numeric.h"

namespace rts {

struct Score {
  double score;
  double value;
  std::uint64_t visits;
};

// Strict order: is leaf or child `a` to be preferred to `b`?
inline bool Better(const Score& a, NodeId a_id, const Score& b, NodeId b_id) {
  if (a.score != b.score) return a.score > b.score;
  if (a.value != b.value) return a.value > b.value;
  if (a.visits != b.visits) return a.visits < b.visits;
  return a_id < b_id;
}

// What the scores of all children of one parent share.
struct ScoreTerms {
  double exploration;  // c * sqrt(ln N') or c * sqrt(N'), of the parent
  double first_play;   // value of a child without visits
  double virtual_loss;
  double value_min;
  double discount;
  const double* inverse_sqrt;  // of small counts
};

// One node at a time; simd/select.inc does the same for four siblings at once.
class Scorer {
 public:
  Scorer(const SearchParams& params, const RootTables& tables)
      : params_(params), tables_(tables), global_(params.IsGlobal()) {}

  // `in_flight` is of the parent, as the child's rival in a batch sees it.
  ScoreTerms ForParent(std::uint32_t visit_count, double value_sum,
                       std::uint32_t in_flight) const {
    const std::uint64_t visits = std::uint64_t{visit_count} + (global_ ? 0u : in_flight);
    ScoreTerms terms{0, params_.first_play_value, params_.virtual_loss, params_.value_min,
                     params_.discount, tables_.inverse_sqrt};
    switch (params_.rule) {
      case Rule::kUct:
      case Rule::kMctsG:
        terms.exploration = params_.exploration * tables_.SqrtLog(visits);
        break;
      case Rule::kPuct:
        terms.exploration = params_.exploration * std::sqrt(static_cast<double>(visits));
        break;
      case Rule::kBestFirst:
        break;
    }
    if (params_.first_play != FirstPlay::kValue) {
      const double mean =
          visit_count > 0 ? Total(value_sum, visit_count) / visit_count : params_.value_min;
      terms.first_play = params_.first_play == FirstPlay::kFirst
                             ? mean
                             : std::max(params_.value_min, mean - params_.first_play_value);
    }
    return terms;
  }
  ScoreTerms ForParent(const Node& parent) const {
    return ForParent(parent.visit_count, parent.value_sum, parent.in_flight);
  }

  Score Of(const ScoreTerms& terms, const Node& child) const {
    const std::uint32_t in_flight = global_ ? 0u : child.in_flight;
    const double loss = terms.virtual_loss * in_flight;
    const double weight = child.visit_count + loss;
    Score result{0, terms.first_play, std::uint64_t{child.visit_count} + in_flight};
    if (weight > 0) {
      const double mean =
          (Total(child.value_sum, child.visit_count) + loss * terms.value_min) / weight;
      result.value = child.edge_reward + terms.discount * mean;
    }
    if (result.visits == 0 && params_.first_play == FirstPlay::kFirst) {
      result.score = std::numeric_limits<double>::infinity();
      return result;
    }
    double bonus = 0;
    if (params_.rule == Rule::kPuct) {
      bonus = terms.exploration * child.prior / (1.0 + static_cast<double>(result.visits));
    } else if (params_.rule != Rule::kBestFirst) {
      const double visits = result.visits > 1 ? static_cast<double>(result.visits) : 1.0;
      bonus = terms.exploration * (1.0 / std::sqrt(visits));
    }
    result.score = result.value + bonus;
    return result;
  }

 private:
  double Total(double value_sum, std::uint32_t visit_count) const {
    return params_.backup == BackupMode::kMean ? value_sum : value_sum * visit_count;
  }

  const SearchParams& params_;
  const RootTables& tables_;
  const bool global_;
};

}  // namespace rts
