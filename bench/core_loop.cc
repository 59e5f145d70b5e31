// The synthetic search as a program of its own, for profilers: valgrind --tool=callgrind counts its
// instructions, which no neighbour on the machine can change.
//
//   core_loop RULE CHILDREN SIMULATIONS BATCH TREES REPEATS      (rule: uct puct mcts_g best_first)
//
// Prints one JSON object.
#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>

#include "loop/synthetic.h"

namespace {

rts::Rule ParseRule(const char* name) {
  if (std::strcmp(name, "uct") == 0) return rts::Rule::kUct;
  if (std::strcmp(name, "puct") == 0) return rts::Rule::kPuct;
  if (std::strcmp(name, "mcts_g") == 0) return rts::Rule::kMctsG;
  if (std::strcmp(name, "best_first") == 0) return rts::Rule::kBestFirst;
  throw std::invalid_argument("the rule is one of uct, puct, mcts_g, best_first");
}

std::int32_t ParseCount(const char* text) {
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 1 || value > 1'000'000'000) {
    throw std::invalid_argument("counts are whole numbers in [1, 1e9]");
  }
  return static_cast<std::int32_t>(value);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: core_loop RULE CHILDREN SIMULATIONS BATCH TREES REPEATS\n");
    return 2;
  }
  try {
    rts::SyntheticResult result = rts::Run({ParseRule(argv[1]), ParseCount(argv[2]),
                                            ParseCount(argv[3]), ParseCount(argv[4]),
                                            ParseCount(argv[5]), ParseCount(argv[6])});
    std::sort(result.ns.begin(), result.ns.end());
    std::printf(
        "{\"ns_per_simulation\": {\"median\": %.1f, \"min\": %.1f}, \"bytes_per_node\": %.2f, "
        "\"nodes\": %zu, \"signature\": \"%016" PRIx64 "\"}\n",
        result.ns[result.ns.size() / 2], result.ns.front(), result.bytes_per_node,
        result.terminal.size(), result.signature);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "core_loop: %s\n", error.what());
    return 1;
  }
  return 0;
}
