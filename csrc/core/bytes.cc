#include "core/bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "core/error.h"
#include "support/mix.h"

namespace rts {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr char kMagic[8] = {'R', 'T', 'S', 'T', 'R', 'E', 'E', '\n'};
constexpr std::uint32_t kVersion = 1;

std::size_t BytesPerNode(bool has_raw_values) { return 8 + 4 * 4 + 1 + (has_raw_values ? 8 : 0); }

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t has_raw_values;
  std::uint64_t node_count;
  std::uint64_t checksum;
};
static_assert(sizeof(Header) == 32);

std::uint64_t Checksum(std::span<const std::byte> bytes) {
  std::uint64_t state = Mix(kMixSeed, bytes.size());
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = bytes.size() < 8 ? bytes.size() : 8;
    std::memcpy(&word, bytes.data(), n);
    state = Mix(state, word);
    bytes = bytes.subspan(n);
  }
  return state;
}

template <typename T>
void Write(std::byte*& out, const std::vector<T>& column) {
  const auto bytes = std::as_bytes(std::span(column));
  out = std::copy(bytes.begin(), bytes.end(), out);  // memcpy takes no null, not of nothing either
}

template <typename T>
void Read(const std::byte*& in, std::size_t count, std::vector<T>& column) {
  column.resize(count);
  std::memcpy(column.data(), in, count * sizeof(T));
  in += count * sizeof(T);
}

}  // namespace

std::vector<std::byte> ToBytes(const Tree& tree) {
  const Tree::Columns columns = tree.ToColumns();
  const bool has_raw_values = !columns.raw_value.empty();
  std::vector<std::byte> bytes(sizeof(Header) + tree.size() * BytesPerNode(has_raw_values));
  std::byte* out = bytes.data() + sizeof(Header);
  Write(out, columns.value_sum);
  Write(out, columns.parent);
  Write(out, columns.visit_count);
  Write(out, columns.prior);
  Write(out, columns.edge_reward);
  Write(out, columns.flags);
  Write(out, columns.raw_value);
  Header header{{}, kVersion, has_raw_values, tree.size(),
                Checksum(std::span(bytes).subspan(sizeof(Header)))};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  std::memcpy(bytes.data(), &header, sizeof(Header));
  return bytes;
}

Tree::Columns ColumnsFromBytes(std::span<const std::byte> bytes) {
  const auto fail = [](const std::string& what) { throw Error(Fault::kCorruptData, what); };
  Header header;
  if (bytes.size() < sizeof(Header)) {
    fail(std::to_string(bytes.size()) + " bytes are too few for an exported tree: the file was "
         "cut short");
  }
  std::memcpy(&header, bytes.data(), sizeof(Header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) {
    fail("these bytes are not an exported tree: pass what to_bytes returned");
  }
  if (header.version != kVersion) {
    fail("the tree was exported in format " + std::to_string(header.version) +
         ", this version reads format " + std::to_string(kVersion) +
         ": import it with the version that wrote it");
  }
  const std::span<const std::byte> payload = bytes.subspan(sizeof(Header));
  if (header.has_raw_values > 1 || header.node_count == 0 ||
      header.node_count > static_cast<std::uint64_t>(kMaxNodes) ||
      payload.size() != header.node_count * BytesPerNode(header.has_raw_values == 1)) {
    fail("the export of " + std::to_string(header.node_count) + " nodes has " +
         std::to_string(payload.size()) + " bytes of nodes: it was cut short or damaged");
  }
  if (Checksum(payload) != header.checksum) {
    fail("the checksum of the exported tree does not match: the bytes were damaged");
  }
  const std::size_t count = static_cast<std::size_t>(header.node_count);
  Tree::Columns columns;
  const std::byte* in = payload.data();
  Read(in, count, columns.value_sum);
  Read(in, count, columns.parent);
  Read(in, count, columns.visit_count);
  Read(in, count, columns.prior);
  Read(in, count, columns.edge_reward);
  Read(in, count, columns.flags);
  if (header.has_raw_values == 1) Read(in, count, columns.raw_value);
  return columns;
}

}  // namespace rts
