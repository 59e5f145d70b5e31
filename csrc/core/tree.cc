#include "core/tree.h"

#include <algorithm>
#include <utility>

namespace rts {

Tree::Tree(TreeStorage storage, const SearchParams& params, const RootTables& tables)
    : storage_(std::move(storage)),
      nodes_(storage_.nodes.data()),
      params_(&params),
      scorer_(params, tables) {
  storage_.frontier.Clear();
  InitRoot();
}

void Tree::InitRoot() {
  nodes_[kRootId] = Node{0.0, 0, kNoNode, kNoNode, 1.0f, 0.0f, 0, 0};
  size_ = 1;
}

// --- availability --------------------------------------------------------------

bool Tree::IsOpenLeaf(const Node& node) const {
  return node.IsLeaf() && !node.Has(Node::kSelected) &&
         (!node.Has(Node::kTerminal) || params_->revisit_terminal);
}

bool Tree::ComputeAvailable(NodeId id) const {
  const Node& node = nodes_[id];
  if (node.IsLeaf()) return IsOpenLeaf(node);
  bool available = false;
  ForEachChild(id, [&](NodeId child) { available |= !nodes_[child].Has(Node::kUnavailable); });
  return available;
}

void Tree::UpdateAvailability(NodeId id) {
  for (; id != kNoNode; id = nodes_[id].parent) {
    Node& node = nodes_[id];
    const bool available = ComputeAvailable(id);
    if (available == !node.Has(Node::kUnavailable)) return;
    available ? node.Clear(Node::kUnavailable) : node.Set(Node::kUnavailable);
  }
}

void Tree::RefreshGroup(NodeId parent, NodeId excluded) {
  if (!params_->IsGlobal() || parent == kNoNode || nodes_[parent].IsLeaf()) return;
  storage_.frontier.Refresh(nodes_, scorer_, parent, excluded,
                            [this](NodeId id, const auto& f) { ForEachChild(id, f); });
}

// --- the four moves --------------------------------------------------------------

NodeId Tree::Select() {
  const Node& root = nodes_[kRootId];
  if (root.Has(Node::kUnavailable) || root.in_flight == kMaxInFlight) return kNoNode;
  NodeId id = kRootId;
  if (params_->IsGlobal()) {
    if (!root.IsLeaf()) id = storage_.frontier.Top();
  } else {
    while (!nodes_[id].IsLeaf()) {
      const ParentTerms terms = scorer_.ForParent(nodes_[id]);
      NodeId best = kNoNode;
      Score best_score{};
      ForEachChild(id, [&](NodeId child) {
        if (nodes_[child].Has(Node::kUnavailable)) return;
        const Score score = scorer_.Of(terms, nodes_[child]);
        if (best == kNoNode || Better(score, child, best_score, best)) {
          best = child;
          best_score = score;
        }
      });
      id = best;
    }
  }
  nodes_[id].Set(Node::kSelected);
  for (NodeId n = id; n != kNoNode; n = nodes_[n].parent) ++nodes_[n].in_flight;
  UpdateAvailability(id);
  RefreshGroup(nodes_[id].parent);
  return id;
}

NodeId Tree::Expand(NodeId id, std::uint32_t count, const float* priors,
                    const std::uint8_t* terminal, const float* rewards) {
  const NodeId first = size_;
  if (nodes_[id].IsLeaf()) {
    RefreshGroup(nodes_[id].parent, /*excluded=*/id);
    nodes_[id].Set(Node::kExpanded);
    nodes_[id].link = kNoNode;
  }
  if (count > 0) AttachChildren(id, first, count);
  const float equal = count > 0 ? 1.0f / static_cast<float>(count) : 0.0f;
  for (std::uint32_t i = 0; i < count; ++i) {
    Node& child = nodes_[first + i];
    child = Node{0.0, 0, id, kNoNode, priors ? priors[i] : equal, rewards ? rewards[i] : 0.0f,
                 0, 0};
    if (terminal && terminal[i]) child.Set(Node::kTerminal);
    if (!IsOpenLeaf(child)) child.Set(Node::kUnavailable);
  }
  size_ += count;
  UpdateAvailability(id);
  RefreshGroup(id);
  return first;
}

void Tree::AttachChildren(NodeId id, NodeId first, std::uint32_t count) {
  Node& node = nodes_[id];
  const std::uint32_t have = node.inline_children();
  if (!node.Has(Node::kMoreChildren) && (have == 0 || node.link + have == first)) {
    const std::uint32_t fits = std::min(count, kMaxInlineChildren - have);
    if (fits > 0) {
      if (have == 0) node.link = first;
      node.set_inline_children(have + fits);
      first += fits;
      count -= fits;
    }
  }
  if (count == 0) return;
  std::vector<ChildGroup>& groups = more_children_[id];
  node.Set(Node::kMoreChildren);
  if (!groups.empty() && groups.back().first + groups.back().count == first) {
    groups.back().count += count;
  } else {
    groups.push_back({first, count});
  }
}

void Tree::Backup(NodeId id, double value) {
  for (;;) {
    Node& node = nodes_[id];
    if (params_->backup == BackupMode::kMean) {
      node.value_sum += value;
    } else {
      node.value_sum = node.visit_count > 0 ? std::max(node.value_sum, value) : value;
    }
    ++node.visit_count;
    RefreshGroup(id);
    if (node.parent == kNoNode) return;
    value = node.edge_reward + params_->discount * value;
    id = node.parent;
  }
}

void Tree::Release(NodeId id) {
  for (NodeId n = id; n != kNoNode; n = nodes_[n].parent) --nodes_[n].in_flight;
  UpdateAvailability(id);
  RefreshGroup(nodes_[id].parent);
}

std::vector<NodeId> Tree::Children(NodeId id) const {
  std::vector<NodeId> children;
  ForEachChild(id, [&](NodeId child) { children.push_back(child); });
  return children;
}

}  // namespace rts
