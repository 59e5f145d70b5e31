// sqrt(ln n) and 1/sqrt(n) for whole n, the same bits on every platform.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace rts {

// Natural logarithm of n >= 1 by additions, multiplications and divisions alone. The C library's
// log may differ in the last bit from one version to the next, and a search signature must not.
inline double LogOf(std::uint64_t n) {
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

// Small arguments come from tables: they are nearly all there are.
class RootTables {
 public:
  RootTables() {
    for (std::size_t n = 1; n < kSize; ++n) {
      sqrt_log_[n] = std::sqrt(LogOf(n));
      inverse_sqrt_[n] = 1.0 / std::sqrt(static_cast<double>(n));
    }
    sqrt_log_[0] = 0;
    inverse_sqrt_[0] = 1;
  }

  // sqrt(ln n); 0 for n = 0.
  double SqrtLog(std::uint64_t n) const {
    return n < kSize ? sqrt_log_[n] : std::sqrt(LogOf(n));
  }
  // 1 / sqrt(n); 1 for n = 0.
  double InverseSqrt(std::uint64_t n) const {
    return n < kSize ? inverse_sqrt_[n] : 1.0 / std::sqrt(static_cast<double>(n));
  }

 private:
  static constexpr std::size_t kSize = 4096;
  std::array<double, kSize> sqrt_log_;
  std::array<double, kSize> inverse_sqrt_;
};

}  // namespace rts
