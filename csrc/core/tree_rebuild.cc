// Whole-tree operations: re-rooting, columns in and out, and the invariants.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "core/error.h"
#include "core/tree.h"

namespace rts {
namespace {

// 2**31 values of the largest range (params.cc), and rewards on their way. A score made of more might
// overflow, and NaN scores have no order.
constexpr double kLargestSum = 1e110;

}  // namespace

void Tree::RebuildDerived() {
  NodeStore& nodes = storage_.nodes;
  storage_.frontier.Clear();
  // Children have higher ids than their parents, so one sweep from the end sees them first.
  for (NodeId id = size_; id-- > 0;) {
    if (nodes.IsLeaf(id)) {
      nodes.link(id) = kNoNode;
      const bool is_open = IsOpenLeaf(nodes.bits(id));
      is_open ? nodes.Clear(id, Node::kUnavailable) : nodes.Set(id, Node::kUnavailable);
      nodes.open(id) = global_ ? kNoNode : is_open;
    } else if (global_) {
      nodes.Set(id, Node::kUnavailable);
      nodes.open(id) = kNoNode;
    } else {
      std::uint32_t open = 0;
      ForEachChild(id, [&](NodeId child) { open += nodes.open(child); });
      open > 0 ? nodes.Clear(id, Node::kUnavailable) : nodes.Set(id, Node::kUnavailable);
      nodes.open(id) = open;
    }
  }
  range_ = {};
  if (params().rule == Rule::kMuZeroTree) {  // what backups found before is forgotten
    for (NodeId id = kRootId + 1; id < size_; ++id) {
      if (nodes.visit_count(id) > 0) AddToRange(id);
    }
  }
  if (!global_) return;
  for (NodeId id = 0; id < size_; ++id) {
    if (!nodes.IsLeaf(id)) RefreshGroup(id);
  }
}

void Tree::Reroot(NodeId id, NodeId* mapping) {
  NodeStore& nodes = storage_.nodes;
  const bool keeps_raw = params().rule == Rule::kGumbel;
  // New ids never exceed old ones and siblings stay together, so nodes move down in place.
  std::unordered_map<NodeId, std::vector<ChildGroup>> more_children;
  more_children.reserve(more_children_.size());  // nothing fails from here on
  NodeId next = kRootId;
  for (NodeId old = 0; old < size_; ++old) {
    const NodeId parent = nodes.parent(old);
    const bool kept = old == id || (old > id && mapping[parent] != kNoNode);
    mapping[old] = kept ? next++ : kNoNode;
    if (kept && nodes.Has(old, Node::kMoreChildren)) {
      auto groups = more_children_.extract(old);
      groups.key() = mapping[old];
      more_children.insert(std::move(groups));
    }
  }
  for (NodeId old = id; old < size_; ++old) {
    if (mapping[old] == kNoNode) continue;
    Node node = nodes.Get(old);
    node.parent = old == id ? kNoNode : mapping[node.parent];
    if (node.inline_children() > 0) node.link = mapping[node.link];
    nodes.Put(mapping[old], node);
    if (keeps_raw) storage_.raw_values[mapping[old]] = storage_.raw_values[old];
  }
  for (auto& [parent, groups] : more_children) {
    for (ChildGroup& group : groups) group.first = mapping[group.first];
  }
  more_children_ = std::move(more_children);
  nodes.prior(kRootId) = 1.0f;
  nodes.set_edge_reward(kRootId, 0.0f);
  size_ = next;
  plan_ = {};
  RebuildDerived();
}

Tree::Columns Tree::ToColumns() const {
  Columns columns;
  columns.parent.reserve(size_);
  columns.visit_count.reserve(size_);
  columns.value_sum.reserve(size_);
  columns.prior.reserve(size_);
  columns.edge_reward.reserve(size_);
  columns.flags.reserve(size_);
  for (NodeId id = 0; id < size_; ++id) {
    const Node node = storage_.nodes.Get(id);
    columns.parent.push_back(node.parent);
    columns.visit_count.push_back(node.visit_count);
    columns.value_sum.push_back(node.value_sum);
    columns.prior.push_back(node.prior);
    columns.edge_reward.push_back(node.edge_reward);
    columns.flags.push_back(
        static_cast<std::uint8_t>(node.bits & (Node::kTerminal | Node::kExpanded)));
  }
  if (params().rule == Rule::kGumbel) {
    columns.raw_value.reserve(size_);
    for (NodeId id = 0; id < size_; ++id) {
      const bool has_one = storage_.nodes.visit_count(id) > 0;
      columns.raw_value.push_back(has_one ? storage_.raw_values[id] : 0.0);
    }
  }
  return columns;
}

void Tree::FromColumns(const Columns& columns) {
  const auto fail = [](NodeId id, const char* what) {
    throw Error(Fault::kCorruptData, "node " + std::to_string(id) + " of the imported tree " +
                                         what + ": export the tree again");
  };
  const std::size_t count = columns.parent.size();
  if (count == 0) throw Error(Fault::kCorruptData, "the imported tree has no root");
  if (count > storage_.nodes.capacity()) {
    throw Error(Fault::kArenaFull, "the imported tree has " + std::to_string(count) +
                                       " nodes, max_nodes is " +
                                       std::to_string(storage_.nodes.capacity()) +
                                       ": create the forest with a larger max_nodes");
  }
  const bool plain = shared_->params.discount == 1 && shared_->params.backup == BackupMode::kMean &&
                     std::all_of(columns.edge_reward.begin(), columns.edge_reward.end(),
                                 [](float reward) { return reward == 0; });
  std::vector<std::uint64_t> below(count, 0);
  for (NodeId id = 0; id < count; ++id) {
    const NodeId parent = columns.parent[id];
    if (id == kRootId ? parent != kNoNode : parent >= id) fail(id, "has an impossible parent");
    if (id != kRootId && !(columns.flags[parent] & Node::kExpanded)) {
      fail(id, "hangs below a leaf");
    }
    if (columns.flags[id] & ~(Node::kTerminal | Node::kExpanded)) fail(id, "has unknown flags");
    if (columns.flags[id] == (Node::kTerminal | Node::kExpanded)) {
      fail(id, "is terminal and expanded");
    }
    const double sum = columns.value_sum[id];
    const double visits = columns.visit_count[id];
    if (!(std::abs(sum) <= kLargestSum)) fail(id, "has a value beyond any sum of values");
    if (visits > std::numeric_limits<std::int32_t>::max()) fail(id, "has 2**31 visits or more");
    const double slack = 1e-9 * (1 + visits) * (1 + std::abs(shared_->params.value_max) +
                                                std::abs(shared_->params.value_min));
    if (plain && (sum < visits * shared_->params.value_min - slack ||
                  sum > visits * shared_->params.value_max + slack)) {
      fail(id, "has a value outside [value_min, value_max]");
    }
    if (!shared_->params.IsPrior(columns.prior[id])) fail(id, "has a bad prior");
    if (!std::isfinite(columns.edge_reward[id])) fail(id, "has a bad reward");
    if (!columns.raw_value.empty() && !std::isfinite(columns.raw_value[id])) {
      fail(id, "has a raw value that is not finite");
    }
    if (id != kRootId) below[parent] += columns.visit_count[id];
  }
  for (NodeId id = 0; id < count; ++id) {
    if (below[id] > columns.visit_count[id]) fail(id, "has fewer visits than its children");
  }
  more_children_.clear();
  storage_.nodes.ClearRewards();
  for (NodeId id = 0; id < count; ++id) {
    storage_.nodes.Put(id, Node{columns.value_sum[id], columns.visit_count[id], 0,
                                columns.flags[id], columns.parent[id], kNoNode, 0,
                                columns.prior[id], columns.edge_reward[id]});
    if (id != kRootId) AttachChildren(columns.parent[id], id, 1);
    if (params().rule != Rule::kGumbel) continue;
    // a tree that grew by another rule has none: mean values stand in
    storage_.raw_values[id] = columns.raw_value.empty()
                                  ? scorer_.MeanOf(columns.value_sum[id], columns.visit_count[id])
                                  : columns.raw_value[id];
  }
  size_ = static_cast<std::uint32_t>(count);
  plan_ = {};
  ties_ = 0;
  RebuildDerived();
}

void Tree::CheckInvariants() const {
  const auto require = [](bool ok, NodeId id, const char* what) {
    if (!ok) {
      throw Error(Fault::kInvariant, "node " + std::to_string(id) + ": " + what +
                                         " (a bug in rtsearch_fast, please report it)");
    }
  };
  const NodeStore& nodes = storage_.nodes;
  std::uint64_t seen = 1;
  std::uint32_t groups_with_open_leaf = 0;
  for (NodeId id = 0; id < size_; ++id) {
    const Node node = nodes.Get(id);
    require(id == kRootId ? node.parent == kNoNode : node.parent < id, id, "impossible parent");
    require(!(node.Has(Node::kTerminal) && node.Has(Node::kExpanded)), id,
            "terminal and expanded");
    require(std::isfinite(node.value_sum), id, "value_sum is not finite");
    require(params().rule != Rule::kGumbel || node.visit_count == 0 ||
                std::isfinite(storage_.raw_values[id]),
            id, "raw value is not finite");
    const auto more = more_children_.find(id);
    require(node.Has(Node::kMoreChildren) ==
                (more != more_children_.end() && !more->second.empty()),
            id, "groups of children disagree");
    require(!node.Has(Node::kNamed), id, "a batch has left its mark");
    std::uint64_t visits = 0;
    std::uint64_t in_flight = node.Has(Node::kSelected) ? 1 : 0;
    std::uint64_t open = node.IsLeaf() && IsOpenLeaf(node.bits) ? 1 : 0;
    NodeId last = id;
    NodeId best = kNoNode;
    Score best_score{};
    const ScoreTerms terms = scorer_.ForParent(node);
    ForEachChild(id, [&](NodeId child_id) {
      require(child_id < size_ && child_id > last, id, "children out of order");
      last = child_id;
      ++seen;
      const Node child = nodes.Get(child_id);
      require(child.parent == id, child_id, "parent does not know it");
      visits += child.visit_count;
      in_flight += child.in_flight;
      open += child.open;
      if (!child.IsLeaf() || !global_) return;
      require((child_id == node.open) == (child.link != kNoNode), child_id,
              "its place in the frontier is unknown to its parent");
      if (!IsOpenLeaf(child.bits)) return;
      const Score score = scorer_.Of(terms, child);
      if (best == kNoNode || Better(score, child_id, best_score, best)) {
        best = child_id;
        best_score = score;
      }
    });
    require(visits <= node.visit_count, id, "fewer visits than its children");
    require(in_flight == node.in_flight, id, "in_flight is not the sum below");
    if (!global_) {
      require(open == node.open, id, "open leaves are not the sum below");
      require(node.Has(Node::kUnavailable) == (open == 0), id, "availability is stale");
      continue;
    }
    if (node.IsLeaf()) {
      require(node.Has(Node::kUnavailable) == !IsOpenLeaf(node.bits), id, "availability is stale");
    }
    require(node.open == best, id, "the frontier does not hold its best open child");
    if (best == kNoNode) continue;
    ++groups_with_open_leaf;
    require(storage_.frontier.Holds(nodes.link(best), best, best_score), best,
            "the frontier has lost it, or its score is stale");
  }
  require(seen == size_, size_, "nodes are not all below the root");
  require(groups_with_open_leaf == storage_.frontier.size(), size_, "the frontier's size is wrong");
}

}  // namespace rts
