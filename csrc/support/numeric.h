// sqrt(ln n) and 1/sqrt(n) for whole n, the same bits on every platform.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rts {

// 0 for n = 0.
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
