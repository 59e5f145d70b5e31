#include "core/tree.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

namespace rts {
namespace {

// What a value from `id` is worth to its parent.
struct Discounted {
  const NodeStore& nodes;
  double discount;
  double operator()(NodeId id, double value) const {
    return nodes.edge_reward(id) + discount * value;
  }
};

}  // namespace

Tree::Tree(TreeStorage storage, const Shared& shared)
    : storage_(std::move(storage)),
      shared_(&shared),
      scorer_(shared.params, shared.roots),
      global_(shared.params.IsGlobal()) {
  storage_.frontier.Clear();
  storage_.nodes.Put(kRootId, Node{0.0, 0, 0, 0, kNoNode, kNoNode, global_ ? kNoNode : 1u, 1.0f,
                                   0.0f});
  size_ = 1;
}

TreeStorage Tree::TakeStorage() {
  storage_.nodes.ClearRewards();
  return std::move(storage_);
}

// --- what is open ----------------------------------------------------------------

bool Tree::IsOpenLeaf(std::uint32_t bits) const {
  return (bits & (Node::kExpanded | Node::kSelected)) == 0 &&
         ((bits & Node::kTerminal) == 0 || shared_->params.revisit_terminal);
}

bool Tree::HasOpenLeaf() const {
  const NodeStore& nodes = storage_.nodes;
  if (nodes.IsLeaf(kRootId)) return IsOpenLeaf(nodes.bits(kRootId));
  return global_ ? storage_.frontier.Top() != kNoNode : nodes.open(kRootId) > 0;
}

void Tree::AddOpen(NodeId id, std::uint32_t more) {
  if (more == 0) return;
  NodeStore& nodes = storage_.nodes;
  for (; id != kNoNode; id = nodes.parent(id)) {
    const std::uint32_t open = nodes.open(id) += more;  // `more` may be minus one
    open > 0 ? nodes.Clear(id, Node::kUnavailable) : nodes.Set(id, Node::kUnavailable);
  }
}

void Tree::RefreshGroup(NodeId parent) {
  NodeStore& nodes = storage_.nodes;
  const ScoreTerms terms =
      scorer_.ForParent(nodes.visit_count(parent), nodes.value_sum(parent), /*in_flight=*/0);
  Choice best;
  ForEachGroup(parent, [&](NodeId first, std::uint32_t count) {
    shared_->selection.choose({nodes.tiles(), nodes.rewards(), first, count}, terms, best);
  });
  storage_.frontier.Replace(nodes, scorer_, nodes.open(parent), best);
  nodes.open(parent) = best.id;
}

// --- select ------------------------------------------------------------------------

NodeId Tree::Select() {
  NodeStore& nodes = storage_.nodes;
  if (!global_) {
    Walker walker;
    NodeId leaf = kNoNode;
    if (Enter(walker)) Descend(*shared_, &walker, 1, &leaf);
    return leaf;
  }
  if (!HasOpenLeaf() || root_in_flight() == kMaxInFlight) return kNoNode;
  const NodeId leaf = nodes.IsLeaf(kRootId) ? kRootId : storage_.frontier.Top();
  nodes.Set(leaf, Node::kSelected);
  nodes.Set(leaf, Node::kUnavailable);
  for (NodeId id = leaf; id != kNoNode; id = nodes.parent(id)) ++nodes.in_flight(id);
  if (leaf != kRootId) RefreshGroup(nodes.parent(leaf));
  return leaf;
}

bool Tree::Enter(Walker& walker) {
  NodeStore& nodes = storage_.nodes;
  if (nodes.open(kRootId) == 0 || root_in_flight() == kMaxInFlight) return false;
  ties_ = NextTies(ties_);
  walker = {this, nodes.tiles(), nodes.rewards(), kRootId, nodes.in_flight(kRootId)++,
            0,    0,             ties_};
  if (--nodes.open(kRootId) == 0) nodes.Set(kRootId, Node::kUnavailable);
  return true;
}

void Tree::Descend(const Shared& shared, Walker* walkers, std::size_t count, NodeId* leaves) {
  const auto more = [](Walker walker, ScoreTerms terms, Choice best) {
    Tree& tree = *walker.tree;
    if (tree.params().WeighsSiblings()) return tree.Weigh(walker, terms);
    for (const ChildGroup& group : tree.more_children_.at(walker.at)) {
      tree.shared_->selection.choose({walker.tiles, walker.rewards, group.first, group.count},
                                     terms, best);
    }
    return best;
  };
  shared.selection.descend(walkers, count, shared.params, shared.roots, more, leaves);
}

Choice Tree::Weigh(const Walker& walker, const ScoreTerms& terms) {
  const NodeId id = walker.at;
  const NodeStore& nodes = storage_.nodes;
  Sibling* const first = shared_->siblings.data();
  Sibling* end = first;
  ScoreTerms of_mean = terms;
  of_mean.discount = std::abs(terms.discount);
  double sum = 0;
  double visited = 0;
  ForEachChild(id, [&](NodeId child_id) {
    const Node child = nodes.Get(child_id);
    const auto [value, is_visited] = scorer_.ValueOf(terms, child);
    if (is_visited) {
      sum += terms.discount < 0 ? scorer_.ValueOf(of_mean, child).first : value;
      ++visited;
    }
    *end++ = {child_id, !child.Has(Node::kUnavailable), is_visited, child.prior, value,
              static_cast<double>(child.visit_count) + child.in_flight, 0};
  });
  const std::span siblings(first, end);
  if (params().rule == Rule::kMuZero) return ChooseMuZero(siblings, terms);
  if (params().rule == Rule::kMuZeroTree) {
    const double mean = id == kRootId && visited > 0 ? sum / visited
                                                     : (walker.mean + sum) / (visited + 1.0);
    return ChooseMuZeroTree(siblings, terms, mean, range_, params().least_span,
                            TiesAt(walker.ties, id));
  }
  const double raw_value =
      nodes.visit_count(id) > 0 ? storage_.raw_values[id] : params().value_min;
  if (id != kRootId) return ChooseGumbel(siblings, raw_value, params());
  return ChooseGumbelRoot(siblings, raw_value, params(), plan_);
}

// --- expand ------------------------------------------------------------------------

NodeId Tree::Expand(NodeId id, std::uint32_t count, const float* priors,
                    const std::uint8_t* terminal, const float* rewards) {
  NodeStore& nodes = storage_.nodes;
  const NodeId first = size_;
  std::uint32_t opened = 0;
  if (nodes.IsLeaf(id)) {
    const bool was_open = !nodes.Has(id, Node::kUnavailable);
    opened -= was_open;
    if (global_) nodes.Set(id, Node::kUnavailable);
    if (global_ && was_open && id != kRootId) RefreshGroup(nodes.parent(id));
    nodes.Clear(id, Node::kNamed);
    nodes.Set(id, Node::kExpanded);
    nodes.link(id) = kNoNode;
    nodes.open(id) = global_ ? kNoNode : static_cast<std::uint32_t>(was_open);
  }
  if (count > 0) AttachChildren(id, first, count);
  const bool revisit = shared_->params.revisit_terminal;
  opened += nodes.Append(
      first, count,
      {id, global_ ? kNoNode : 1, global_ ? kNoNode : 0,
       static_cast<std::uint16_t>(Node::kTerminal | (revisit ? 0 : Node::kUnavailable)),
       count > 0 ? 1.0f / static_cast<float>(count) : 0.0f, priors, terminal, rewards});
  size_ += count;
  if (global_) {
    RefreshGroup(id);
  } else {
    AddOpen(id, opened);
  }
  return first;
}

bool Tree::ClaimGroup(NodeId id, std::uint32_t count) {
  NodeStore& nodes = storage_.nodes;
  if (nodes.IsLeaf(id) && !nodes.Has(id, Node::kNamed) && count <= kMaxInlineChildren) {
    nodes.Set(id, Node::kNamed);  // if the batch names it again, it is no leaf by then
    return false;
  }
  more_children_[id].push_back({kNoNode, 0});
  return true;
}

void Tree::TakeBackClaim(NodeId id) {
  storage_.nodes.Clear(id, Node::kNamed);
  const auto found = more_children_.find(id);
  if (found == more_children_.end()) return;
  std::vector<ChildGroup>& groups = found->second;
  if (!groups.empty() && groups.back().count == 0) groups.pop_back();
}

void Tree::AttachChildren(NodeId id, NodeId first, std::uint32_t count) {
  NodeStore& nodes = storage_.nodes;
  const std::uint32_t have = nodes.inline_children(id);
  if (!nodes.Has(id, Node::kMoreChildren) && (have == 0 || nodes.link(id) + have == first)) {
    const std::uint32_t fits = std::min(count, kMaxInlineChildren - have);
    if (fits > 0) {
      if (have == 0) nodes.link(id) = first;
      nodes.set_inline_children(id, have + fits);
      first += fits;
      count -= fits;
    }
  }
  if (count == 0) return;
  std::vector<ChildGroup>& groups = more_children_[id];
  nodes.Set(id, Node::kMoreChildren);
  if (!groups.empty() && groups.back().first + groups.back().count == first) {
    groups.back().count += count;
  } else {
    groups.push_back({first, count});
  }
}

// --- backup and release --------------------------------------------------------------

bool Tree::Reopen(NodeId id) {
  NodeStore& nodes = storage_.nodes;
  if (!IsOpenLeaf(nodes.bits(id))) return false;
  nodes.Clear(id, Node::kUnavailable);
  return true;
}

template <bool kRelease, typename ValueAbove>
void Tree::BackUp(NodeId id, double value, ValueAbove value_above) {
  NodeStore& nodes = storage_.nodes;
  const BackupMode mode = shared_->params.backup;
  const bool reopened = kRelease && Reopen(id);
  const NodeId group_of_reopened = reopened ? nodes.parent(id) : kNoNode;
  for (;;) {
    double& sum = nodes.value_sum(id);
    std::uint32_t& visits = nodes.visit_count(id);
    if (mode == BackupMode::kMean) {
      sum += value;
    } else {
      sum = mode == BackupMode::kMax && visits > 0 ? std::max(sum, value) : value;
    }
    ++visits;
    if (kRelease) --nodes.in_flight(id);
    if (global_) {
      // a group that nothing of stands in the frontier has no open leaf, unless it just got one
      if (nodes.open(id) != kNoNode || id == group_of_reopened) RefreshGroup(id);
    } else if (reopened) {
      ++nodes.open(id);
      nodes.Clear(id, Node::kUnavailable);
    }
    const NodeId parent = nodes.parent(id);
    if (parent == kNoNode) return;
    value = value_above(id, value);
    id = parent;
  }
}

void Tree::KeepRawValues(NodeId id, double value) {
  const NodeStore& nodes = storage_.nodes;
  for (; id != kNoNode && nodes.visit_count(id) == 0; id = nodes.parent(id)) {
    storage_.raw_values[id] = value;
    value = nodes.edge_reward(id) + params().discount * value;
  }
}

void Tree::WidenRange(NodeId id) {
  if (id == kRootId) return;
  const NodeStore& nodes = storage_.nodes;
  for (; id != kNoNode; id = nodes.parent(id)) AddToRange(id);
}

void Tree::AddToRange(NodeId id) {
  const NodeStore& nodes = storage_.nodes;
  const double mean = scorer_.MeanOf(nodes.value_sum(id), nodes.visit_count(id));
  range_.Add(nodes.edge_reward(id) + params().discount * mean);
}

void Tree::Backup(NodeId id, double value) {
  BackUp<false>(id, value, Discounted{storage_.nodes, params().discount});
}

void Tree::BackupAndRelease(NodeId id, double value) {
  BackUp<true>(id, value, Discounted{storage_.nodes, params().discount});
}

void Tree::BackupPath(NodeId id, const double* values) {
  if (params().rule == Rule::kGumbel) {
    const double* value = values;
    for (NodeId n = id; n != kNoNode; n = storage_.nodes.parent(n), ++value) {
      if (storage_.nodes.visit_count(n) == 0) storage_.raw_values[n] = *value;
    }
  }
  BackUp<false>(id, *values, [next = values](NodeId, double) mutable { return *++next; });
}

void Tree::Release(NodeId id) {
  NodeStore& nodes = storage_.nodes;
  for (NodeId n = id; n != kNoNode; n = nodes.parent(n)) --nodes.in_flight(n);
  if (!Reopen(id)) return;
  if (!global_) {
    AddOpen(id, 1);
  } else if (id != kRootId) {
    RefreshGroup(nodes.parent(id));
  }
}

// --- views -----------------------------------------------------------------------------

NodeId Tree::Walk(NodeId id, double margin) const {
  for (;;) {
    const ScoreTerms terms = scorer_.ForParent(node(id));
    NodeId best = kNoNode;
    Score best_score{};
    double rival = -std::numeric_limits<double>::infinity();
    ForEachChild(id, [&](NodeId child) {
      const Score score = scorer_.Of(terms, node(child));
      if (best == kNoNode || Better(score, child, best_score, best)) {
        if (best != kNoNode) rival = best_score.score;
        best = child;
        best_score = score;
      } else {
        rival = std::max(rival, score.score);
      }
    });
    if (best == kNoNode) return id;
    const bool is_only = rival == -std::numeric_limits<double>::infinity();
    if (!is_only && !(best_score.score - rival > margin)) return id;
    id = best;
  }
}

std::size_t Tree::DepthOf(NodeId id) const {
  std::size_t depth = 0;
  while ((id = storage_.nodes.parent(id)) != kNoNode) ++depth;
  return depth;
}

std::vector<NodeId> Tree::Children(NodeId id) const {
  std::vector<NodeId> children;
  ForEachChild(id, [&](NodeId child) { children.push_back(child); });
  return children;
}

}  // namespace rts
