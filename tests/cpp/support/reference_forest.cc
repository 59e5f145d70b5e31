#include "support/reference_forest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"

namespace rts {
namespace {

[[noreturn]] void Refuse(Fault fault) { throw Error(fault, "refused by the reference"); }

void Require(bool ok, Fault fault) {
  if (!ok) Refuse(fault);
}

// ln n by basic operations alone, as the signatures want it.
double Log(std::uint64_t n) {
  int exponent;
  double m = std::frexp(static_cast<double>(n), &exponent);
  if (m < 0.70710678118654752) {
    m *= 2;
    exponent -= 1;
  }
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  double series = 1.0 / 21;
  for (int k = 9; k >= 0; --k) series = series * z + 1.0 / (2 * k + 1);
  return exponent * 0.69314718055994531 + 2 * s * series;
}

std::uint64_t MixIn(std::uint64_t state, std::uint64_t word) {
  std::uint64_t z = (state ^ word) + 0x9E3779B97F4A7C15;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

}  // namespace

// --- the four moves ------------------------------------------------------------------

void ReferenceForest::Select(std::span<const TreeId> trees, std::span<NodeId> leaves) {
  for (const TreeId tree : trees) At(tree);
  for (std::size_t i = 0; i < trees.size(); ++i) leaves[i] = Select(At(trees[i]));
}

NodeId ReferenceForest::Select(const TreeNodes& nodes) {
  Node* leaf = nodes[kRootId].get();
  if (!HasOpenLeaf(*leaf) || leaf->in_flight == kMaxInFlight) return kNoNode;
  if (params_.IsGlobal()) {
    leaf = nullptr;
    for (const auto& node : nodes) {
      if (!IsOpenLeaf(*node)) continue;
      if (leaf == nullptr || RankOf(*node) > RankOf(*leaf)) leaf = node.get();
    }
  } else {
    while (leaf->expanded) {
      Node* best = nullptr;
      for (Node* child : leaf->children) {
        if (!HasOpenLeaf(*child)) continue;
        if (best == nullptr || RankOf(*child) > RankOf(*best)) best = child;
      }
      leaf = best;
    }
  }
  leaf->selected = true;
  for (Node* node = leaf; node != nullptr; node = node->parent) ++node->in_flight;
  return leaf->id;
}

void ReferenceForest::Expand(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                             std::span<const std::int32_t> counts, std::span<const float> priors,
                             std::span<const std::uint8_t> terminal,
                             std::span<const float> rewards, std::span<NodeId> first_children) {
  const std::vector<Node*> parents = Find(trees, nodes);
  std::size_t total = 0;
  for (std::size_t i = 0; i < parents.size(); ++i) {
    Require(counts[i] >= 0, Fault::kInvalidArgument);
    Require(!parents[i]->terminal, Fault::kTreeState);
    total += static_cast<std::size_t>(counts[i]);
  }
  std::unordered_map<TreeId, std::int64_t> size;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    size.try_emplace(trees[i], NumNodes(trees[i])).first->second += counts[i];
    Require(size[trees[i]] <= params_.max_nodes, Fault::kArenaFull);
  }
  Require(priors.data() == nullptr || priors.size() == total, Fault::kInvalidArgument);
  Require(terminal.data() == nullptr || terminal.size() == total, Fault::kInvalidArgument);
  Require(rewards.data() == nullptr || rewards.size() == total, Fault::kInvalidArgument);
  for (const float prior : priors) Require(prior >= 0 && prior <= 1, Fault::kInvalidArgument);
  for (const float reward : rewards) Require(std::isfinite(reward), Fault::kInvalidArgument);
  std::size_t next = 0;
  for (std::size_t i = 0; i < parents.size(); ++i) {
    TreeNodes& tree = *trees_[static_cast<std::size_t>(trees[i])];
    first_children[i] = static_cast<NodeId>(tree.size());
    parents[i]->expanded = true;
    for (const std::size_t end = next + static_cast<std::size_t>(counts[i]); next < end; ++next) {
      auto child = std::make_unique<Node>();
      child->id = static_cast<NodeId>(tree.size());
      child->parent = parents[i];
      child->prior = priors.empty() ? 1.0f / static_cast<float>(counts[i]) : priors[next];
      child->edge_reward = rewards.empty() ? 0.0f : rewards[next];
      child->terminal = !terminal.empty() && terminal[next] != 0;
      parents[i]->children.push_back(child.get());
      tree.push_back(std::move(child));
    }
  }
}

void ReferenceForest::Backup(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                             std::span<const double> values, bool release) {
  const std::vector<Node*> starts = Find(trees, nodes);
  for (const double value : values) {
    Require(params_.value_min <= value && value <= params_.value_max, Fault::kInvalidArgument);
  }
  if (release) CheckSelected(starts);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    double value = values[i];
    for (Node* node = starts[i]; node != nullptr; node = node->parent) {
      if (params_.backup == BackupMode::kMean) {
        node->value_sum += value;
      } else if (node->visit_count == 0 || value > node->value_sum) {
        node->value_sum = value;
      }
      ++node->visit_count;
      value = node->edge_reward + params_.discount * value;
    }
    if (release) Release(starts[i]);
  }
}

void ReferenceForest::Release(std::span<const TreeId> trees, std::span<const NodeId> nodes) {
  const std::vector<Node*> starts = Find(trees, nodes);
  CheckSelected(starts);
  for (Node* node : starts) Release(node);
}

void ReferenceForest::Release(Node* leaf) {
  leaf->selected = false;
  for (Node* node = leaf; node != nullptr; node = node->parent) --node->in_flight;
}

// --- selection, from scratch ---------------------------------------------------------

bool ReferenceForest::IsOpenLeaf(const Node& node) const {
  return !node.expanded && !node.selected && (!node.terminal || params_.revisit_terminal);
}

bool ReferenceForest::HasOpenLeaf(const Node& node) const {
  return IsOpenLeaf(node) || std::any_of(node.children.begin(), node.children.end(),
                                         [&](const Node* child) { return HasOpenLeaf(*child); });
}

double ReferenceForest::Total(const Node& node) const {
  return params_.backup == BackupMode::kMean ? node.value_sum : node.value_sum * node.visit_count;
}

double ReferenceForest::FirstPlay(const Node& parent) const {
  if (params_.first_play == rts::FirstPlay::kValue) return params_.first_play_value;
  const double mean =
      parent.visit_count > 0 ? Total(parent) / parent.visit_count : params_.value_min;
  if (params_.first_play == rts::FirstPlay::kFirst) return mean;
  return std::max(params_.value_min, mean - params_.first_play_value);
}

ReferenceForest::Rank ReferenceForest::RankOf(const Node& node) const {
  if (node.parent == nullptr) return {};  // the root has no rival
  const Node& parent = *node.parent;
  const std::uint64_t in_flight = params_.IsGlobal() ? 0 : node.in_flight;
  const std::uint64_t visits = node.visit_count + in_flight;
  const std::uint64_t parent_visits =
      parent.visit_count + std::uint64_t{params_.IsGlobal() ? 0 : parent.in_flight};
  const double loss = params_.virtual_loss * static_cast<double>(in_flight);
  const double weight = node.visit_count + loss;
  double value = FirstPlay(parent);
  if (weight > 0) {
    const double mean = (Total(node) + loss * params_.value_min) / weight;
    value = node.edge_reward + params_.discount * mean;
  }
  double score = value;
  if (visits == 0 && params_.first_play == rts::FirstPlay::kFirst) {
    score = std::numeric_limits<double>::infinity();
  } else if (params_.rule == Rule::kPuct) {
    score = value + params_.exploration * std::sqrt(static_cast<double>(parent_visits)) *
                        node.prior / (1.0 + static_cast<double>(visits));
  } else if (params_.rule != Rule::kBestFirst) {
    const double root_log = parent_visits > 0 ? std::sqrt(Log(parent_visits)) : 0.0;
    score = value + params_.exploration * root_log *
                        (1.0 / std::sqrt(static_cast<double>(std::max<std::uint64_t>(1, visits))));
  }
  return {score, value, -static_cast<std::int64_t>(visits), -std::int64_t{node.id}};
}

// --- trees ---------------------------------------------------------------------------

std::vector<TreeId> ReferenceForest::CreateTrees(std::int64_t count) {
  Require(count >= 0, Fault::kInvalidArgument);
  std::vector<TreeId> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<TreeId>(trees_.size()));
    trees_.push_back(std::make_unique<TreeNodes>());
    trees_.back()->push_back(std::make_unique<Node>());
  }
  return ids;
}

void ReferenceForest::DropTrees(std::span<const TreeId> trees) {
  for (const TreeId tree : trees) At(tree);
  const std::unordered_set<TreeId> names(trees.begin(), trees.end());
  Require(names.size() == trees.size(), Fault::kUnknownTree);
  for (const TreeId tree : trees) trees_[static_cast<std::size_t>(tree)].reset();
}

std::size_t ReferenceForest::num_trees() const {
  return static_cast<std::size_t>(
      std::count_if(trees_.begin(), trees_.end(), [](const auto& tree) { return tree != nullptr; }));
}

std::vector<NodeId> ReferenceForest::Reroot(TreeId tree, NodeId node) {
  Node* root = Find({&tree, 1}, {&node, 1}).front();
  TreeNodes& nodes = *trees_[static_cast<std::size_t>(tree)];
  Require(nodes[kRootId]->in_flight == 0, Fault::kTreeState);
  const auto is_below_root = [&](const Node* below) {
    while (below != nullptr && below != root) below = below->parent;
    return below != nullptr;
  };
  std::vector<NodeId> mapping(nodes.size(), kNoNode);
  std::vector<bool> is_kept(nodes.size());
  for (std::size_t id = 0; id < nodes.size(); ++id) is_kept[id] = is_below_root(nodes[id].get());
  TreeNodes kept;
  for (std::size_t id = 0; id < nodes.size(); ++id) {
    if (!is_kept[id]) continue;
    mapping[id] = static_cast<NodeId>(kept.size());
    nodes[id]->id = mapping[id];
    kept.push_back(std::move(nodes[id]));
  }
  root->parent = nullptr;
  root->prior = 1;
  root->edge_reward = 0;
  nodes = std::move(kept);
  return mapping;
}

TreeId ReferenceForest::Copy(TreeId tree) {
  auto copy = std::make_unique<TreeNodes>();
  for (const auto& node : At(tree)) {
    auto& made = copy->emplace_back(std::make_unique<Node>(*node));
    made->in_flight = 0;
    made->selected = false;
    if (node->parent != nullptr) made->parent = (*copy)[node->parent->id].get();
  }
  for (const auto& node : *copy) {
    for (Node*& child : node->children) child = (*copy)[child->id].get();
  }
  trees_.push_back(std::move(copy));
  return static_cast<TreeId>(trees_.size() - 1);
}

// --- views ---------------------------------------------------------------------------

std::uint64_t ReferenceForest::Signature(TreeId tree) const {
  const TreeNodes& nodes = At(tree);
  std::uint64_t state = MixIn(0x9E3779B97F4A7C15, nodes.size());
  for (const auto& node : nodes) {
    const std::uint64_t parent = node->parent == nullptr ? kNoNode : node->parent->id;
    state = MixIn(state, parent << 32 | node->visit_count);
    state = MixIn(state, std::bit_cast<std::uint64_t>(node->value_sum));
    state = MixIn(state, std::uint64_t{std::bit_cast<std::uint32_t>(node->prior)} << 32 |
                             std::bit_cast<std::uint32_t>(node->edge_reward));
    state = MixIn(state, (node->terminal ? 1u : 0u) | (node->expanded ? 2u : 0u));
  }
  return state;
}

std::uint32_t ReferenceForest::NumNodes(TreeId tree) const {
  return static_cast<std::uint32_t>(At(tree).size());
}

bool ReferenceForest::HasOpenLeaf(TreeId tree) const { return HasOpenLeaf(*At(tree)[kRootId]); }

std::vector<NodeId> ReferenceForest::Children(TreeId tree, NodeId node) const {
  std::vector<NodeId> ids;
  for (const Node* child : Find({&tree, 1}, {&node, 1}).front()->children) {
    ids.push_back(child->id);
  }
  return ids;
}

std::vector<rts::Node> ReferenceForest::Nodes(TreeId tree) const {
  std::vector<rts::Node> nodes;
  for (const auto& node : At(tree)) {
    const int flags = (node->terminal ? rts::Node::kTerminal : 0) |
                      (node->expanded ? rts::Node::kExpanded : 0) |
                      (node->selected ? rts::Node::kSelected : 0);
    nodes.push_back({node->value_sum, node->visit_count,
                     static_cast<std::uint16_t>(node->in_flight),
                     static_cast<std::uint16_t>(flags),
                     node->parent == nullptr ? kNoNode : node->parent->id, kNoNode, 0,
                     node->prior, node->edge_reward});
  }
  return nodes;
}

const ReferenceForest::TreeNodes& ReferenceForest::At(TreeId tree) const {
  const bool is_known = tree >= 0 && static_cast<std::size_t>(tree) < trees_.size() &&
                        trees_[static_cast<std::size_t>(tree)] != nullptr;
  Require(is_known, Fault::kUnknownTree);
  return *trees_[static_cast<std::size_t>(tree)];
}

std::vector<ReferenceForest::Node*> ReferenceForest::Find(std::span<const TreeId> trees,
                                                          std::span<const NodeId> nodes) const {
  std::vector<Node*> found;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const TreeNodes& tree = At(trees[i]);
    Require(nodes[i] < tree.size(), Fault::kUnknownNode);
    found.push_back(tree[nodes[i]].get());
  }
  return found;
}

void ReferenceForest::CheckSelected(const std::vector<Node*>& nodes) const {
  const std::unordered_set<Node*> names(nodes.begin(), nodes.end());
  Require(names.size() == nodes.size(), Fault::kTreeState);
  for (const Node* node : nodes) Require(node->selected, Fault::kTreeState);
}

}  // namespace rts
