// The signature of a tree: equal signatures mean equal searches.
#pragma once

#include <cstdint>

#include "core/tree.h"

namespace rts {

// Hash of parent, visit count, value, prior, reward and flags of each node in the order of ids.
// What is in flight does not count.
std::uint64_t Signature(const Tree& tree);

}  // namespace rts
