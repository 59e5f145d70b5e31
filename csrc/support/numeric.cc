#include "support/numeric.h"

#include <array>
#include <cmath>

namespace rts {
namespace {

constexpr int kExpTerms = 14;

// 1 / k!
constexpr std::array<double, kExpTerms> kInverseFactorials = [] {
  std::array<double, kExpTerms> table{};
  double factorial = 1;
  for (int k = 0; k < kExpTerms; ++k) {
    if (k > 0) factorial *= k;
    table[static_cast<std::size_t>(k)] = 1.0 / factorial;
  }
  return table;
}();

}  // namespace

double LogOf(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);
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

double ExpOf(double x) {
  if (x < -708) return 0;
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  // ln 2 in two parts, of which the first has few enough bits for an exact product with k
  const double r = x - k * 0.69314718036912382 - k * 1.9082149292705877e-10;
  double series = kInverseFactorials.back();
  for (std::size_t i = kExpTerms - 1; i-- > 0;) series = series * r + kInverseFactorials[i];
  return std::ldexp(series, static_cast<int>(k));
}

double SqrtLogOf(std::uint64_t n) {
  return n == 0 ? 0 : std::sqrt(LogOf(static_cast<double>(n)));
}

RootTables::RootTables() {
  for (std::size_t n = 0; n < kSize; ++n) {
    sqrt_log[n] = SqrtLogOf(n);
    inverse_sqrt[n] = n == 0 ? 1 : 1.0 / std::sqrt(static_cast<double>(n));
  }
}

}  // namespace rts
