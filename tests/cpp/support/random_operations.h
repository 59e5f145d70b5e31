// Random settings and random batches, right ones and wrong ones, for a Pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/params.h"
#include "support/mix.h"
#include "support/pair.h"

namespace rts {

// Where the choices come from: a generator, or the bytes of a fuzzer.
class Choices {
 public:
  virtual ~Choices() = default;
  // A number below n, n >= 1.
  virtual std::uint32_t Below(std::uint32_t n) = 0;

  bool OneIn(std::uint32_t n) { return Below(n) == n - 1; }
  template <typename T, std::size_t kSize>
  T Of(const T (&choices)[kSize]) {
    return choices[Below(kSize)];
  }
};

class RandomChoices : public Choices {
 public:
  explicit RandomChoices(std::uint64_t seed) : state_(Mix(kMixSeed, seed)) {}
  std::uint32_t Below(std::uint32_t n) override {
    state_ = Mix(kMixSeed, state_);
    return static_cast<std::uint32_t>((state_ >> 32) * n >> 32);
  }

 private:
  std::uint64_t state_;
};

// All choices are 0 after the last byte.
class BytesAsChoices : public Choices {
 public:
  explicit BytesAsChoices(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool is_over() const { return bytes_.empty(); }
  std::uint32_t Below(std::uint32_t n) override {
    std::uint32_t drawn = 0;
    for (std::uint32_t left = n - 1; left > 0 && !bytes_.empty(); left >>= 8) {
      drawn = drawn << 8 | bytes_.front();
      bytes_ = bytes_.subspan(1);
    }
    return drawn % n;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

SearchParams RandomParams(Choices& choices);

// Apply one random batch; returns how many operations it held.
std::uint32_t RandomStep(Pair& pair, Choices& choices);

}  // namespace rts
