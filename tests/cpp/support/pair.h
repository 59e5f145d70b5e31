// The core and its twin in step: each call goes to both, and both must answer alike.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/forest.h"
#include "support/reference_forest.h"

namespace rts {

class Divergence : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One batch of any operation; what an operation does not take stays empty.
struct Batch {
  std::vector<TreeId> trees{};
  std::vector<NodeId> nodes{};
  std::vector<std::int32_t> counts{};
  std::vector<float> priors{};
  std::vector<std::uint8_t> terminal{};
  std::vector<float> rewards{};
  std::vector<double> values{};
};

// All methods throw Divergence where core and twin differ: in an answer, or in the fault of a
// refusal. Refusals themselves are fine.
class Pair {
 public:
  explicit Pair(const SearchParams& params) : core_(params), twin_(params) {}

  void Create(std::int64_t count);
  void Drop(TreeId tree);
  void Select(const Batch& batch);
  void Expand(const Batch& batch);
  void Backup(const Batch& batch, bool release);
  void BackupPath(TreeId tree, NodeId node, const std::vector<double>& values);
  void Walk(TreeId tree, NodeId node, double margin);
  void Advance(const Batch& batch);
  void Release(const Batch& batch);
  void SetRewards(const Batch& batch);
  void SetGumbel(TreeId tree, const std::vector<float>& noise, std::int64_t num_simulations,
                 std::int64_t max_considered);
  void SetTies(const Batch& batch, std::optional<std::uint64_t> seed);
  void Reroot(TreeId tree, NodeId node);
  // Export and import; the copy, at rest, takes the place of the tree.
  void Replace(TreeId tree);

  // Compare everything that can be seen of the tree.
  void Check(TreeId tree);
  void CheckAll();

  Forest& core() { return core_; }
  const std::vector<TreeId>& alive() const { return alive_; }
  // Leaves in flight that a selection handed out.
  std::vector<std::pair<TreeId, NodeId>> Selected() const;

 private:
  template <typename Call>
  auto Both(const char* name, const Call& call);
  void Forget(TreeId tree);
  void PutIn(const Batch& batch, const std::vector<NodeId>& leaves);
  void TakeOut(const Batch& batch);

  Forest core_;
  ReferenceForest twin_;
  std::vector<TreeId> alive_;
  std::vector<std::vector<NodeId>> selected_;  // by tree
};

}  // namespace rts
