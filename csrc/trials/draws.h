// Random draws that depend on a seed and a number alone, the same bits on every machine.
#pragma once

#include <cstdint>

#include "support/mix.h"

namespace rts {

class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t number) : state_(Mix(Mix(kMixSeed, seed), number)) {}

  // In the open interval (0, 1).
  double Uniform() {
    return (static_cast<double>(Mix(state_, ++count_) >> 12) + 0.5) * 0x1p-52;
  }
  double Normal();
  // ln of a draw from Gamma(shape, 1): draws of small shapes are too small to be numbers.
  double LogGamma(double shape);
  double Gamma(double shape);
  double Beta(double a, double b);

 private:
  std::uint64_t state_;
  std::uint64_t count_ = 0;
};

}  // namespace rts
