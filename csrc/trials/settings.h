// What a search by trials is set to. Plain data, checked once by Validate().
#pragma once

#include <cstdint>

namespace rts {

using ActionId = std::uint32_t;

enum class TrialRule : std::uint8_t {
  kSoftmax,   // descend by V + c * softmax of the siblings' scores * sqrt(ln N(parent) / N)
  kMctsG,     // best UCT score among all leaves of the tree (core/params.h)
  kThompson,  // AB-MCTS-A: Thompson sampling between a new child and each that there is (thompson.h)
};

// How AB-MCTS-A chooses among actions.
enum class ActionChoice : std::uint8_t {
  kStack,     // the action first, each with beliefs of its own at each node
  kThompson,  // whether to make a new child first, then the action by a draw for each
  kUcb,       // the same, then the action by UCB1
};

// What is believed of a score before there is any: Normal-inverse-chi-squared (m, kappa, nu,
// tau_square), or with is_beta Beta(a, b).
struct Prior {
  bool is_beta = false;
  double m = 0;
  double kappa = 1;
  double nu = 1;
  double tau_square = 0.1;
  double a = 0.5;
  double b = 0.5;

  bool operator==(const Prior&) const = default;
};

struct TrialSettings {
  TrialRule rule = TrialRule::kSoftmax;
  std::uint32_t samples = 2;   // children that a chosen leaf gets of each action, in [1, 65535]
  double exploration = 1.0;    // c, >= 0
  bool distinct = false;       // hand out several leaves at once, each in flight
  bool compensated = false;    // sum the softmax like Python 3.12 and later
  std::int64_t max_nodes = std::int64_t{1} << 22;  // kMctsG
  ActionChoice choice = ActionChoice::kThompson;
  Prior prior;

  bool operator==(const TrialSettings&) const = default;
  // Throws Error(kInvalidArgument) naming the first bad field.
  void Validate() const;
};

// Of one action, which may have an average of its own. Throws Error(kInvalidArgument).
void ValidatePrior(const Prior& prior);

}  // namespace rts
