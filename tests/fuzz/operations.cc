// The bytes are settings and batches of operations, right and wrong ones; after each batch the core
// must answer every question as its twin does.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "support/pair.h"
#include "support/random_operations.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rts::BytesAsChoices choices({data, size});
  rts::SearchParams params = rts::RandomParams(choices);
  params.max_nodes = std::min<std::int64_t>(params.max_nodes, 60);  // everything is compared
  rts::Pair pair(params);
  while (!choices.is_over()) {
    rts::RandomStep(pair, choices);
    pair.CheckAll();
  }
  return 0;
}
