#include "core/params.h"

#include <cmath>
#include <string>

#include "core/error.h"
#include "core/node.h"

namespace rts {
namespace {

void Require(bool ok, const char* name, double value, const char* wanted) {
  if (ok) return;
  throw Error(Fault::kInvalidArgument,
              std::string(name) + "=" + std::to_string(value) + ": " + wanted);
}

}  // namespace

void SearchParams::Validate() const {
  Require(std::isfinite(exploration) && exploration >= 0, "exploration", exploration,
          "must be a finite number >= 0");
  Require(std::isfinite(first_play_value), "first_play_value", first_play_value,
          "must be a finite number");
  Require(std::isfinite(virtual_loss) && virtual_loss >= 0, "virtual_loss", virtual_loss,
          "must be a finite number >= 0");
  Require(discount >= 0 && discount <= 1, "discount", discount, "must be in [0, 1]");
  Require(std::isfinite(value_min), "value_min", value_min, "must be a finite number");
  Require(std::isfinite(value_max) && value_max > value_min, "value_max", value_max,
          "must be a finite number above value_min");
  Require(max_nodes >= 1 && max_nodes <= kMaxNodes, "max_nodes", static_cast<double>(max_nodes),
          "must be in [1, 2**32 - 2]");
}

}  // namespace rts
