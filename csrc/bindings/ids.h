// Ids as Python gives them: 64-bit numbers, so that -1 or 2**40 is an unknown id and not a type error.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/node.h"

namespace rts {

inline TreeId ToTreeId(std::int64_t tree) {
  if (tree < 0 || tree > 0x7FFFFFFF) {
    throw Error(Fault::kUnknownTree, "tree " + std::to_string(tree) +
                                         " is not in this forest: ids are in [0, 2**31)");
  }
  return static_cast<TreeId>(tree);
}

inline NodeId ToNodeId(std::int64_t node) {
  if (node < 0 || node >= kNoNode) {
    throw Error(Fault::kUnknownNode,
                "node " + std::to_string(node) + ": ids are in [0, 2**32 - 1)");
  }
  return static_cast<NodeId>(node);
}

}  // namespace rts
