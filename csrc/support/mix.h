// The 64-bit mixing step behind signatures and checksums (the finaliser of splitmix64).
#pragma once

#include <cstdint>

namespace rts {

inline constexpr std::uint64_t kMixSeed = 0x9E3779B97F4A7C15ull;

inline std::uint64_t Mix(std::uint64_t state, std::uint64_t word) {
  std::uint64_t z = (state ^ word) + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace rts
