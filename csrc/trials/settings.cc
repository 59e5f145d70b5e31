#include "trials/settings.h"

#include <cmath>
#include <string>

#include "core/error.h"

namespace rts {
namespace {

void Require(bool holds, const char* name, double value, const char* range) {
  if (holds) return;
  throw Error(Fault::kInvalidArgument,
              std::string(name) + "=" + std::to_string(value) + ": must be " + range);
}

}  // namespace

void ValidatePrior(const Prior& prior) {
  const auto positive = [](const char* name, double value) {
    Require(std::isfinite(value) && value > 0, name, value, "finite and > 0");
  };
  if (prior.is_beta) {
    positive("prior a", prior.a);
    positive("prior b", prior.b);
    return;
  }
  Require(std::isfinite(prior.m), "prior m", prior.m, "finite");
  positive("prior kappa", prior.kappa);
  positive("prior nu", prior.nu);
  positive("prior tau_square", prior.tau_square);
}

void TrialSettings::Validate() const {
  Require(std::isfinite(exploration) && exploration >= 0, "exploration_weight", exploration,
          "finite and >= 0");
  ValidatePrior(prior);
}

}  // namespace rts
