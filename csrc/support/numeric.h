// Logarithm, exponential and roots, the same bits on every platform: the C library's log and exp
// may differ in the last bit from one version to the next, and a search signature must not.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rts {

// Natural logarithm of a normal number x > 0.
double LogOf(double x);

// e to the power of x <= 0; 0 where that is below the normal numbers.
double ExpOf(double x);

// sqrt(ln n) for whole n; 0 for n = 0.
double SqrtLogOf(std::uint64_t n);

// Small arguments come from tables: they are nearly all there are.
struct RootTables {
  static constexpr std::size_t kSize = 4096;

  RootTables();
  double SqrtLog(std::uint64_t n) const { return n < kSize ? sqrt_log[n] : SqrtLogOf(n); }

  double sqrt_log[kSize];
  double inverse_sqrt[kSize];  // 1 for n = 0
};

}  // namespace rts
