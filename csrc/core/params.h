// Settings of a forest. Plain data, checked once by Validate().
#pragma once

#include <cmath>
#include <cstdint>

namespace rts {

enum class Rule : std::uint8_t {
  kUct,        // descend by V + c * sqrt(ln N(parent) / N)
  kPuct,       // descend by V + c * P * sqrt(N(parent)) / (1 + N)
  kMctsG,      // best UCT score among all open leaves of the tree
  kBestFirst,  // highest V among all open leaves of the tree
  kMuZero,     // descend by V on the scale of the siblings + P * sqrt(N(parent)) * c(N) / (1 + N)
  kGumbel,     // sequential halving at the root, the improved policy below it
  kMuZeroTree,  // MuZero with V on the scale of the whole tree
  kAlphaZero,  // PUCT whose c grows with N(parent) as MuZero's does
  kLast = kAlphaZero
};

// What stands for the value of a child that no simulation has finished in.
enum class FirstPlay : std::uint8_t {
  kFirst,   // its score is +infinity: every child is tried once before any is tried twice
  kParent,  // max(value_min, mean value of the parent - first_play_value)
  kValue,   // first_play_value
  kPrior,   // its own prior, which may be any number then; uct, mcts_g and best_first
  kReward,  // the reward of the edge to it: for models that judge children when they make them
};

// What a node keeps of the values backed up through it; `last` is for callers who make a value of
// all that came before.
enum class BackupMode : std::uint8_t { kMean, kMax, kLast };

struct SearchParams {
  Rule rule = Rule::kUct;
  BackupMode backup = BackupMode::kMean;
  FirstPlay first_play = FirstPlay::kFirst;
  bool revisit_terminal = false;  // may a terminal node be selected again?
  double exploration = 1.0;       // c, >= 0
  double exploration_base = 19652;  // visits at which MuZero's c has grown by about ln 2, >= 1
  double value_scale = 0.1;         // Gumbel: weight of values against log-priors, >= 0
  double maxvisit_init = 50;        // Gumbel: visits that the weight starts from, >= 0
  double least_span = 0;            // MuZero over the tree: least width of the scale, >= 0
  double first_play_value = 0.0;  // see FirstPlay
  double virtual_loss = 1.0;      // lost visits that one simulation in flight counts for, >= 0
  // Of a child's value on its way to its parent, in [0, 1]. Rules that weigh siblings take negative
  // ones, too: then each level is another player's, who sees the opposite of values.
  double discount = 1.0;
  double value_min = 0.0;         // range of the values that may be backed up
  double value_max = 1.0;
  std::int64_t max_nodes = std::int64_t{1} << 20;  // of one tree

  bool operator==(const SearchParams&) const = default;
  // Throws Error(kInvalidArgument) naming the first bad field.
  void Validate() const;

  // Does selection look at all open leaves at once instead of descending from the root?
  bool IsGlobal() const { return rule == Rule::kMctsG || rule == Rule::kBestFirst; }
  // Does it compare a child with its siblings instead of scoring each for itself (muzero.h)?
  bool WeighsSiblings() const {
    return rule == Rule::kMuZero || rule == Rule::kGumbel || rule == Rule::kMuZeroTree;
  }
  // The worst value of a child in its parent's eyes: what a virtual loss counts as.
  double LostValue() const { return discount < 0 ? value_max : value_min; }
  // Are priors the policy's probabilities, by which it chooses among children one by one?
  bool TakesPriors() const { return rule == Rule::kPuct || rule == Rule::kAlphaZero; }
  // May a child have this prior? A probability, unless it is the value of unvisited children.
  bool IsPrior(float prior) const {
    return first_play == FirstPlay::kPrior ? std::isfinite(prior) : prior >= 0 && prior <= 1;
  }
};

}  // namespace rts
