// The core against its twin under random operations.
//
//   differential_test [OPERATIONS [SEED]]      (default: 300,000 operations, seed 1)
//
// One forest after the other, each with settings of its own; what differs is printed with the seed
// of its forest, and `differential_test 1 THAT_SEED` shows it again.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "support/pair.h"
#include "support/random_operations.h"

namespace {

std::uint64_t RunForest(std::uint64_t seed) {
  rts::RandomChoices choices(seed);
  rts::Pair pair(rts::RandomParams(choices));
  std::uint64_t done = 0;
  int step = 0;
  try {
    for (const int steps = choices.Of({100, 400, 400, 2000}); step < steps; ++step) {
      done += rts::RandomStep(pair, choices);
    }
    pair.CheckAll();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "differential_test: forest of seed %llu, step %d: %.2000s\n",
                 static_cast<unsigned long long>(seed), step, error.what());
    std::exit(EXIT_FAILURE);
  }
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300'000;
  std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t done = 0;
  for (; done < operations; ++seed) done += RunForest(seed);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  std::printf("differential_test: %llu operations, zero divergence, %.0f s\n",
              static_cast<unsigned long long>(done), spent.count());
  return EXIT_SUCCESS;
}
