#include "core/params.h"

#include <cmath>
#include <string>

#include "core/error.h"
#include "core/node.h"

namespace rts {
namespace {

// Far beyond any use, and far enough from the end of the range that no sum of 2**32 values and no
// score overflows: NaN scores would have no order.
constexpr double kLargest = 1e100;

constexpr const char* kFirstPlays[] = {"first", "parent", "value", "prior", "reward"};

bool IsModerate(double x) { return std::abs(x) <= kLargest; }  // false for NaN

void Require(bool ok, const char* name, double value, const char* wanted) {
  if (ok) return;
  throw Error(Fault::kInvalidArgument,
              std::string(name) + "=" + std::to_string(value) + ": " + wanted);
}

}  // namespace

void SearchParams::Validate() const {
  Require(IsModerate(exploration) && exploration >= 0, "exploration", exploration,
          "must be in [0, 1e100]");
  Require(IsModerate(exploration_base) && exploration_base >= 1, "exploration_base",
          exploration_base, "must be in [1, 1e100]");
  Require(IsModerate(value_scale) && value_scale >= 0, "value_scale", value_scale,
          "must be in [0, 1e100]");
  Require(IsModerate(maxvisit_init) && maxvisit_init >= 0, "maxvisit_init", maxvisit_init,
          "must be in [0, 1e100]");
  Require(IsModerate(least_span) && least_span >= 0, "least_span", least_span,
          "must be in [0, 1e100]");
  if (WeighsSiblings() && first_play != FirstPlay::kFirst) {
    throw Error(Fault::kInvalidArgument,
                std::string("first_play='") + kFirstPlays[static_cast<int>(first_play)] +
                    "': the rules muzero, gumbel and muzero_tree have a first play of their own, "
                    "leave it out");
  }
  if (TakesPriors() && first_play == FirstPlay::kPrior) {
    throw Error(Fault::kInvalidArgument,
                "first_play='prior': the priors of puct and alphazero are probabilities, take another rule");
  }
  // their order of leaves must not change with set_rewards
  if (IsGlobal() && first_play == FirstPlay::kReward) {
    throw Error(Fault::kInvalidArgument,
                "first_play='reward': only rules that descend from the root have it, choose first, "
                "parent or value");
  }
  Require(IsModerate(first_play_value), "first_play_value", first_play_value,
          "must be in [-1e100, 1e100]");
  Require(IsModerate(virtual_loss) && virtual_loss >= 0, "virtual_loss", virtual_loss,
          "must be in [0, 1e100]");
  Require(discount >= (WeighsSiblings() ? -1 : 0) && discount <= 1, "discount", discount,
          WeighsSiblings() ? "must be in [-1, 1]" : "must be in [0, 1]");
  Require(IsModerate(value_min), "value_min", value_min, "must be in [-1e100, 1e100]");
  Require(IsModerate(value_max) && value_max > value_min, "value_max", value_max,
          "must be above value_min and at most 1e100");
  Require(max_nodes >= 1 && max_nodes <= kMaxNodes, "max_nodes", static_cast<double>(max_nodes),
          "must be in [1, 2**32 - 2]");
}

}  // namespace rts
