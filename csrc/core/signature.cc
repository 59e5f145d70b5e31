#include "core/signature.h"

#include <bit>

#include "support/mix.h"

namespace rts {

std::uint64_t Signature(const Tree& tree) {
  std::uint64_t state = Mix(kMixSeed, tree.size());
  for (NodeId id = 0; id < tree.size(); ++id) {
    const Node node = tree.node(id);
    const std::uint64_t flags = node.bits & (Node::kTerminal | Node::kExpanded);
    state = Mix(state, std::uint64_t{node.parent} << 32 | node.visit_count);
    state = Mix(state, std::bit_cast<std::uint64_t>(node.value_sum));
    state = Mix(state, std::uint64_t{std::bit_cast<std::uint32_t>(node.prior)} << 32 |
                           std::bit_cast<std::uint32_t>(node.edge_reward));
    state = Mix(state, flags);
  }
  return state;
}

}  // namespace rts
