// A tree as bytes, for files and other processes.
//
//   offset 0   8 bytes  "RTSTREE\n"
//          8   u32      format version (1)
//         12   u32      1 if raw values follow (the rule gumbel), else 0
//         16   u64      number of nodes n
//         24   u64      checksum of all that follows
//         32   columns: value_sum f64[n], parent u32[n], visit_count u32[n], prior f32[n],
//                       edge_reward f32[n], flags u8[n], and perhaps raw_value f64[n]
// Little-endian. What is in flight is not written: an imported tree is at rest. Nor is the plan of a
// root (SetPlan).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/tree.h"

namespace rts {

std::vector<std::byte> ToBytes(const Tree& tree);

// Throws Error(kCorruptData) if the bytes are not a whole, undamaged tree of this version.
Tree::Columns ColumnsFromBytes(std::span<const std::byte> bytes);

}  // namespace rts
