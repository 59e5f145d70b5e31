// The selection rules as pure functions of plain numbers: nothing here changes a tree.
//
// Value of a child as its parent sees it, with f simulations in flight through the child:
//   V = (value_sum + w f lost_value) / (N + w f),   w = virtual_loss   (backup by mean)
//   Q = edge_reward + discount * V,                 or the first-play value where N + w f = 0
//                                                   (FirstPlay::kPrior: the child's prior).
// lost_value is value_min, with a negative discount value_max.
// Score, with N' = N + f:
//   UCT, MCTS_G   Q + c * sqrt(ln N'(parent)) / sqrt(max(1, N'))
//   PUCT          Q + c * prior * sqrt(N'(parent)) / (1 + N')
//   AlphaZero     the same with c(N'(parent)) of muzero.h
//   best-first    Q
// MuZero (over siblings or the tree) and Gumbel weigh a child against all of its siblings: muzero.h.
// Rules that look at all leaves at once leave f out: a leaf in flight is closed to them, and the
// best B of the others are what a batch of B should get.
// Ties go to the higher Q, then to fewer visits N', then to the lower node id.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

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
  double exploration;  // factor of the bonus, from the parent's N'
  double first_play;   // value of a child without visits
  double virtual_loss;
  double lost_value;
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
    ScoreTerms terms{0, params_.first_play_value, params_.virtual_loss, params_.LostValue(),
                     params_.discount, tables_.inverse_sqrt};
    switch (params_.rule) {
      case Rule::kUct:
      case Rule::kMctsG:
        terms.exploration = params_.exploration * tables_.SqrtLog(visits);
        break;
      case Rule::kPuct:
        terms.exploration = params_.exploration * std::sqrt(static_cast<double>(visits));
        break;
      case Rule::kMuZero:
      case Rule::kAlphaZero:
      case Rule::kMuZeroTree: {
        const bool leaves_out_own = params_.rule == Rule::kMuZeroTree && visits > 0;
        const auto n = static_cast<double>(visits - leaves_out_own);
        const double base = params_.exploration_base;
        terms.exploration =
            std::sqrt(n) * (params_.exploration + LogOf((n + base + 1.0) / base));
        break;
      }
      case Rule::kBestFirst:
      case Rule::kGumbel:
        break;
    }
    if (params_.first_play == FirstPlay::kFirst || params_.first_play == FirstPlay::kParent) {
      const double mean = MeanOf(value_sum, visit_count);
      terms.first_play = params_.first_play == FirstPlay::kFirst
                             ? mean
                             : std::max(params_.value_min, mean - params_.first_play_value);
    }
    return terms;
  }
  ScoreTerms ForParent(const Node& parent) const {
    return ForParent(parent.visit_count, parent.value_sum, parent.in_flight);
  }

  // Of a node's values; value_min where there are none.
  double MeanOf(double value_sum, std::uint32_t visit_count) const {
    return visit_count > 0 ? Total(value_sum, visit_count) / visit_count : params_.value_min;
  }

  // Q of a child, and whether that is its own and not the first-play value.
  std::pair<double, bool> ValueOf(const ScoreTerms& terms, const Node& child) const {
    const double loss = terms.virtual_loss * (global_ ? 0u : child.in_flight);
    const double weight = child.visit_count + loss;
    if (!(weight > 0)) {
      switch (params_.first_play) {
        case FirstPlay::kPrior: return {child.prior, false};
        case FirstPlay::kReward: return {child.edge_reward, false};
        default: return {terms.first_play, false};
      }
    }
    const double mean =
        (Total(child.value_sum, child.visit_count) + loss * terms.lost_value) / weight;
    return {child.edge_reward + terms.discount * mean, true};
  }

  // For rules that weigh each child for itself.
  Score Of(const ScoreTerms& terms, const Node& child) const {
    const std::uint32_t in_flight = global_ ? 0u : child.in_flight;
    Score result{0, ValueOf(terms, child).first, std::uint64_t{child.visit_count} + in_flight};
    if (result.visits == 0 && params_.first_play == FirstPlay::kFirst) {
      result.score = std::numeric_limits<double>::infinity();
      return result;
    }
    double bonus = 0;
    if (params_.rule == Rule::kPuct || params_.rule == Rule::kAlphaZero) {
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
