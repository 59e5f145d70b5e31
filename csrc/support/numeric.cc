#include "support/numeric.h"

#include <cmath>

namespace rts {
namespace {

// Natural logarithm of n >= 1 by additions, multiplications and divisions alone. The C library's
// log may differ in the last bit from one version to the next, and a search signature must not.
double LogOf(std::uint64_t n) {
  int exponent;
  double m = std::frexp(static_cast<double>(n), &exponent);
  if (m < 0.70710678118654752) {
    m *= 2;
    --exponent;
  }
  const double s = (m - 1) / (m + 1);  // ln m = 2 atanh(s), |s| <= 0.172
  const double z = s * s;
  double series = 1.0 / 21;
  for (int k = 9; k >= 0; --k) series = series * z + 1.0 / (2 * k + 1);
  return exponent * 0.69314718055994531 + 2 * s * series;
}

}  // namespace

double SqrtLogOf(std::uint64_t n) { return n == 0 ? 0 : std::sqrt(LogOf(n)); }

RootTables::RootTables() {
  for (std::size_t n = 0; n < kSize; ++n) {
    sqrt_log[n] = SqrtLogOf(n);
    inverse_sqrt[n] = n == 0 ? 1 : 1.0 / std::sqrt(static_cast<double>(n));
  }
}

}  // namespace rts
