// The core once more, slow and obvious: rtsearch_fast/reference.py in C++, for the tests that need
// millions of answers. It shares the names of things with the core (node.h, params.h, error.h) and
// nothing that computes: each selection is made from scratch, one node at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/node.h"
#include "core/params.h"

namespace rts {

class ReferenceForest {
 public:
  explicit ReferenceForest(const SearchParams& params) : params_(params) {}

  // The methods of Forest, with its contracts.
  std::vector<TreeId> CreateTrees(std::int64_t count);
  void DropTrees(std::span<const TreeId> trees);
  std::size_t num_trees() const;
  void Select(std::span<const TreeId> trees, std::span<NodeId> leaves);
  void Expand(std::span<const TreeId> trees, std::span<const NodeId> nodes,
              std::span<const std::int32_t> counts, std::span<const float> priors,
              std::span<const std::uint8_t> terminal, std::span<const float> rewards,
              std::span<NodeId> first_children);
  void Backup(std::span<const TreeId> trees, std::span<const NodeId> nodes,
              std::span<const double> values, bool release);
  void BackupPath(TreeId tree, NodeId node, std::span<const double> values);
  NodeId Walk(TreeId tree, NodeId node, double margin) const;
  void Advance(std::span<const TreeId> trees, std::span<const NodeId> nodes,
               std::span<const std::int32_t> counts, std::span<const double> values,
               std::span<const float> priors, std::span<const std::uint8_t> terminal,
               std::span<const float> rewards, std::span<NodeId> first_children,
               std::span<NodeId> leaves);
  void Release(std::span<const TreeId> trees, std::span<const NodeId> nodes);
  void SetRewards(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                  std::span<const float> rewards);
  void SetGumbel(TreeId tree, std::span<const float> noise, std::int64_t num_simulations,
                 std::int64_t max_considered);
  void SetTies(std::span<const TreeId> trees, std::optional<std::uint64_t> seed);
  std::vector<NodeId> Reroot(TreeId tree, NodeId node);
  std::uint64_t Signature(TreeId tree) const;
  std::uint32_t NumNodes(TreeId tree) const;
  bool HasOpenLeaf(TreeId tree) const;
  std::vector<NodeId> Children(TreeId tree, NodeId node) const;
  // Of the flags kTerminal, kExpanded and kSelected; `link` and `open` are the core's own business.
  std::vector<rts::Node> Nodes(TreeId tree) const;

  // What export and import make of a tree: the same, at rest, without a plan or luck, and with a range
  // that begins anew.
  TreeId Copy(TreeId tree);

 private:
  struct Plan {  // what SetGumbel sets
    std::vector<float> noise{};
    std::int64_t num_simulations = 1;
    std::int64_t max_considered = 16;
  };
  struct Node {
    NodeId id = kRootId;
    Node* parent = nullptr;
    float prior = 1;
    float edge_reward = 0;
    bool terminal = false;
    std::vector<Node*> children{};
    std::uint32_t visit_count = 0;
    double value_sum = 0;
    double raw_value = 0;  // the first that was backed up to it
    Plan plan{};           // of a root, like low, high and ties
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    std::uint64_t ties = 0;
    std::uint32_t in_flight = 0;
    bool expanded = false;
    bool selected = false;
  };
  using TreeNodes = std::vector<std::unique_ptr<Node>>;  // by id
  struct Rank {                                          // to be maximised from left to right
    bool is_considered;  // by sequential halving; true for the other rules
    double score;
    double value;
    std::int64_t fewer_visits;
    std::int64_t lower_id;
    auto operator<=>(const Rank&) const = default;
  };

  const TreeNodes& At(TreeId tree) const;
  std::vector<Node*> Find(std::span<const TreeId> trees, std::span<const NodeId> nodes) const;
  NodeId Select(const TreeNodes& nodes);
  void CheckChildren(std::span<const TreeId> trees, const std::vector<Node*>& parents,
                     std::span<const std::int32_t> counts, std::span<const float> priors,
                     std::span<const std::uint8_t> terminal, std::span<const float> rewards) const;
  void CheckValues(std::span<const double> values) const;
  bool IsPrior(float prior) const;
  void Visit(Node& node, double value) const;
  void CheckSelected(const std::vector<Node*>& nodes) const;
  static void Release(Node* leaf);
  bool IsOpenLeaf(const Node& node) const;
  bool HasOpenLeaf(const Node& node) const;
  double Total(const Node& node) const;
  double FirstPlay(const Node& parent) const;
  std::int64_t Visits(const Node& node) const;                // N'
  std::optional<double> ValueOf(const Node& node) const;      // Q; none where N + w f = 0
  std::optional<double> ValueOf(const Node& node, double discount) const;
  std::vector<double> CompletedValues(const Node& parent) const;
  Rank RankOf(const Node& node) const;
  // Of all children of `parent`, in their order.
  std::vector<Rank> Ranks(const Node& parent) const;
  std::vector<Rank> MuZeroRanks(const Node& parent) const;
  std::vector<Rank> GumbelRanks(const Node& parent) const;
  double MeanQ(const Node& parent, double above) const;  // M of the rule muzero_tree
  std::vector<Rank> MuZeroTreeRanks(const Node& parent, double mean, const Node& root) const;
  void Widen(Node& root, const Node& node) const;
  void BeginRange(const TreeNodes& nodes) const;

  const SearchParams params_;
  std::vector<std::unique_ptr<TreeNodes>> trees_;  // by id; null once dropped
};

}  // namespace rts
