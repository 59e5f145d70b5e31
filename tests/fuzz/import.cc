// The bytes are a forest's settings and the nodes of an exported tree, node by node, under a header
// and a checksum that are right. The tree is refused as corrupt, or it is one that works.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/forest.h"
#include "support/mix.h"
#include "support/random_operations.h"

namespace {

constexpr std::size_t kBytesOfSettings = 16;  // one a choice, of which there are a few less
constexpr std::size_t kHeader = 32;
constexpr std::size_t kColumns[] = {8, 4, 4, 4, 4, 1, 8};  // widths: csrc/core/bytes.h
constexpr std::size_t kVisits = 12;    // where a node's visit_count begins
constexpr std::size_t kRawValue = 25;  // and its raw value, which not every export has
constexpr std::size_t kBytesPerNode = 33;
constexpr std::size_t kMostNodes = 2000;

// The exported tree with these nodes.
std::vector<std::byte> Exported(std::span<const std::uint8_t> nodes, bool has_raw_values) {
  const std::uint64_t count = nodes.size() / kBytesPerNode;
  std::vector<std::byte> bytes(kHeader);
  std::size_t begin = 0;
  for (const std::size_t width : kColumns) {
    if (begin == kRawValue && !has_raw_values) break;
    for (std::size_t i = 0; i < count; ++i) {
      const auto field = std::as_bytes(nodes.subspan(i * kBytesPerNode + begin, width));
      bytes.insert(bytes.end(), field.begin(), field.end());
    }
    begin += width;
  }
  std::uint64_t checksum = rts::Mix(rts::kMixSeed, bytes.size() - kHeader);
  for (std::size_t at = kHeader; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, &bytes[at], std::min<std::size_t>(8, bytes.size() - at));
    checksum = rts::Mix(checksum, word);
  }
  std::memcpy(&bytes[0], "RTSTREE\n\1", 9);
  bytes[12] = std::byte{has_raw_values};
  std::memcpy(&bytes[16], &count, 8);
  std::memcpy(&bytes[24], &checksum, 8);
  return bytes;
}

// Raw values are of visited nodes and the rule gumbel; where an import without any makes them up,
// they are not compared.
void CheckExport(rts::Forest& forest, std::vector<std::uint8_t> nodes, bool has_raw_values) {
  const bool is_gumbel = forest.params().rule == rts::Rule::kGumbel;
  if (is_gumbel && !has_raw_values) return;
  for (std::size_t at = 0; at + kBytesPerNode <= nodes.size(); at += kBytesPerNode) {
    std::uint32_t visits;
    std::memcpy(&visits, &nodes[at + kVisits], sizeof(visits));
    if (visits == 0) std::fill_n(&nodes[at + kRawValue], 8, std::uint8_t{0});
  }
  CHECK(forest.ToBytes(0) == Exported(nodes, is_gumbel));
}

void CheckRoundTrip(rts::Forest& forest, rts::TreeId tree) {
  forest.CheckInvariants(tree);
  const rts::TreeId copy = forest.FromBytes(forest.ToBytes(tree));
  forest.CheckInvariants(copy);
  CHECK_EQ(forest.Signature(copy), forest.Signature(tree));
  CHECK(forest.ToBytes(copy) == forest.ToBytes(tree));
  forest.DropTrees(std::vector{copy});
}

// A few batches of simulations.
void Search(rts::Forest& forest, rts::TreeId tree) {
  const rts::SearchParams& params = forest.params();
  for (int i = 0; i < 4; ++i) {
    std::vector<rts::NodeId> leaves(4);
    forest.Select(std::vector(4, tree), leaves);
    std::erase(leaves, rts::kNoNode);
    const std::vector<rts::TreeId> trees(leaves.size(), tree);
    std::vector<rts::NodeId> first(leaves.size());
    try {
      forest.Expand(trees, leaves, std::vector<std::int32_t>(leaves.size(), 2), {}, {}, {}, first);
    } catch (const rts::Error& error) {  // a terminal leaf is among them, or the tree is full
      CHECK(error.fault() == rts::Fault::kTreeState || error.fault() == rts::Fault::kArenaFull);
    }
    try {
      forest.Backup(trees, leaves, std::vector<double>(leaves.size(), params.value_max), true);
    } catch (const rts::Error& error) {  // 2**31 visits
      CHECK_EQ(error.fault(), rts::Fault::kTreeState);
      forest.Release(trees, leaves);
    }
    forest.CheckInvariants(tree);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kBytesOfSettings || size > kBytesOfSettings + kMostNodes * kBytesPerNode) return -1;
  const std::span<const std::uint8_t> bytes(data, size);
  rts::BytesAsChoices choices(bytes.first(kBytesOfSettings));
  rts::Forest forest(rts::RandomParams(choices));
  const bool has_raw_values = choices.OneIn(2);
  const std::span<const std::uint8_t> nodes = bytes.subspan(kBytesOfSettings);
  try {
    forest.FromBytes(Exported(nodes, has_raw_values));
  } catch (const rts::Error& error) {
    CHECK(error.fault() == rts::Fault::kCorruptData || error.fault() == rts::Fault::kArenaFull);
    CHECK_EQ(forest.num_trees(), 0u);
    return 0;
  }
  CheckExport(forest, {nodes.begin(), nodes.end()}, has_raw_values);
  CheckRoundTrip(forest, 0);
  Search(forest, 0);
  CheckRoundTrip(forest, 0);
  return 0;
}
