#include "trials/softmax_tree.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace rts {
namespace {

double LogOfCount(std::uint32_t n) {
  static const auto kTable = [] {
    std::array<double, 4096> table{};
    for (std::size_t i = 1; i < table.size(); ++i) table[i] = std::log(static_cast<double>(i));
    return table;
  }();
  return n < kTable.size() ? kTable[n] : std::log(static_cast<double>(n));
}

// sum() of Python 3.12 and later (Neumaier); plain before.
class Sum {
 public:
  void Add(double value) {
    const double more = sum_ + value;
    lost_ += std::abs(sum_) >= std::abs(value) ? (sum_ - more) + value : (value - more) + sum_;
    sum_ = more;
  }
  double Total(bool compensated) const { return compensated ? sum_ + lost_ : sum_; }

 private:
  double sum_ = 0;
  double lost_ = 0;
};

const RootTables& Roots() {
  static const RootTables kTables;
  return kTables;
}

}  // namespace

SoftmaxTree::SoftmaxTree(const TrialSettings& settings)
    : exploration_(settings.exploration),
      distinct_(settings.distinct),
      compensated_(settings.compensated),
      roots_(Roots()) {
  nodes_.reserve(kUsualNodes);
  nodes_.resize(1);
  if (distinct_) flights_.resize(1);
}

NodeId SoftmaxTree::Best() {
  Settle();
  return distinct_ ? BestNotHeld() : nodes_[kRootId].leaf;
}

// First without division or root, in numbers that may be wrong in their last bits; exactly where
// these could matter. Which of two is the better one is as good as random, so nothing jumps on it:
// it is the sign of a difference.
inline NodeId SoftmaxTree::BestLeafOf(const Node& node) const {
  constexpr double kApart = 1e-13;  // relative; hundreds of times the error
  const Node* const nodes = nodes_.data();
  NodeId best = node.first_child;
  NodeId id = nodes[best].next_sibling;
  if (id == kNoNode) return nodes[best].leaf;
  const double root = roots_.SqrtLog(node.visits);
  const auto score_of = [&](NodeId of) { return nodes[of].mean + nodes[of].reach * root; };
  const auto better = [&](NodeId other, double ahead) {
    return best ^ ((best ^ other) & static_cast<NodeId>(std::bit_cast<std::int64_t>(ahead) >> 63));
  };
  double best_score = score_of(best);
  double apart;
  if (nodes[id].next_sibling == kNoNode) {
    const double score = score_of(id);
    apart = best_score - score;
    best = better(id, apart);
    apart = std::abs(apart);
    best_score += score;  // not less than the better one: scores are not negative
  } else {
    double next_score = -1;
    for (; id != kNoNode; id = nodes[id].next_sibling) {
      const double score = score_of(id);
      best = better(id, best_score - score);
      next_score = std::max(next_score, std::min(score, best_score));
      best_score = std::max(score, best_score);
    }
    apart = best_score - next_score;
  }
  if (apart > kApart * best_score) [[likely]] return nodes[best].leaf;
  return ExactlyBestLeafOf(node);
}

[[gnu::noinline]] NodeId SoftmaxTree::ExactlyBestLeafOf(const Node& node) const {
  const double log_visits = LogOfCount(node.visits);
  double best_score = -1;
  NodeId leaf = kNoNode;
  for (NodeId id = node.first_child; id != kNoNode; id = nodes_[id].next_sibling) {
    const Node& child = nodes_[id];
    const double score =
        child.mean + exploration_ * child.prior * std::sqrt(log_visits / child.visits);
    if (score > best_score) {
      leaf = child.leaf;
      best_score = score;
    }
  }
  return leaf;
}

NodeId SoftmaxTree::BestNotHeld() const {
  if (flights_[kRootId].open == 0) return kNoNode;
  NodeId at = kRootId;
  while (nodes_[at].first_child != kNoNode) {
    const double log_visits = LogOfCount(nodes_[at].visits + flights_[at].missing);
    double best_score = -std::numeric_limits<double>::infinity();
    NodeId best = kNoNode;
    for (NodeId id = nodes_[at].first_child; id != kNoNode; id = nodes_[id].next_sibling) {
      if (flights_[id].open == 0) continue;
      const Node& child = nodes_[id];
      const double visits = child.visits + flights_[id].missing;
      const double score = child.value_sum / visits +
                           exploration_ * child.prior * std::sqrt(log_visits / visits);
      if (score > best_score) {
        best = id;
        best_score = score;
      }
    }
    at = best;
  }
  return at;
}

void SoftmaxTree::Hold(NodeId leaf, std::uint32_t count) {
  if (!distinct_) return;
  const bool closes = nodes_[leaf].first_child == kNoNode;
  for (NodeId id = leaf; id != kNoNode; id = nodes_[id].parent) {
    flights_[id].missing += count;
    flights_[id].open -= closes;
  }
}

void SoftmaxTree::Free(NodeId leaf, std::uint32_t missing) {
  if (!distinct_) return;
  const bool opens = nodes_[leaf].first_child == kNoNode;
  for (NodeId id = leaf; id != kNoNode; id = nodes_[id].parent) {
    flights_[id].missing -= missing;
    flights_[id].open += opens;
  }
}

void SoftmaxTree::Add(NodeId parent, double score) {
  if (settled_ < nodes_.size() && nodes_[settled_].parent != parent) Settle();
  Append(parent, score);
  if (!distinct_) return;
  for (NodeId id = parent; id != kNoNode; id = nodes_[id].parent) {
    --flights_[id].missing;
    ++flights_[id].open;
  }
}

void SoftmaxTree::Append(NodeId parent, double score) {
  const auto id = static_cast<NodeId>(nodes_.size());
  // one by one, so that nothing has happened if there is no memory
  if (distinct_) flights_.resize(id + 1);
  nodes_.push_back({score, score, score, exploration_, 1, 1, parent, kNoNode, kNoNode, kNoNode, id});
  Node& above = nodes_[parent];
  if (above.first_child == kNoNode) {
    above.first_child = id;
  } else {
    nodes_[above.last_child].next_sibling = id;
  }
  above.last_child = id;
}

void SoftmaxTree::SetReach(Node& node) const {
  const double inverse = node.visits < RootTables::kSize
                             ? roots_.inverse_sqrt[node.visits]
                             : 1 / std::sqrt(static_cast<double>(node.visits));
  node.reach = exploration_ * node.prior * inverse;
}

void SoftmaxTree::SetPriors(NodeId parent) {
  const NodeId first = nodes_[parent].first_child;
  if (nodes_[first].next_sibling == kNoNode) return;
  double highest = nodes_[first].score;
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    highest = std::max(highest, nodes_[id].score);
  }
  Sum sum;
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    const double weight = nodes_[id].score == highest ? 1.0 : std::exp(nodes_[id].score - highest);
    nodes_[id].prior = weight;
    sum.Add(weight);
  }
  const double total = sum.Total(compensated_);
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    nodes_[id].prior /= total;
    SetReach(nodes_[id]);
  }
}

void SoftmaxTree::Settle() {
  const auto size = static_cast<NodeId>(nodes_.size());
  if (settled_ == size) return;
  const NodeId parent = nodes_[settled_].parent;
  SetPriors(parent);
  const NodeId more = size - settled_;
  Node* const nodes = nodes_.data();
  for (NodeId id = parent; id != kNoNode; id = nodes[id].parent) {
    Node& node = nodes[id];
    double sum = node.value_sum;
    for (NodeId told = settled_; told < size; ++told) sum += nodes[told].score;
    node.value_sum = sum;
    node.visits += more;
    node.mean = sum / node.visits;
    SetReach(node);
    node.leaf = BestLeafOf(node);
  }
  settled_ = size;
}

Count SoftmaxTree::CountOf(NodeId id) {
  Settle();
  const Node& node = nodes_[id];
  return {node.visits, node.value_sum, node.prior};
}

bool SoftmaxTree::Load(std::span<const NodeId> parents, std::span<const double> scores,
                       std::span<const Count> counts) {
  const std::size_t size = parents.size() + 1;
  std::vector<std::uint64_t> below(size);
  for (std::size_t id = size; id-- > 1;) {
    below[id] += 1;
    below[parents[id - 1]] += below[id];
  }
  for (std::size_t id = 0; id < size; ++id) {
    const double sum = counts[id].value_sum;
    if (below[id] == counts[id].visits && sum >= 0 &&
        sum <= 1.000001 * static_cast<double>(below[id])) {
      continue;
    }
    throw Error(Fault::kCorruptData, "the counts of node " + std::to_string(id) +
                                         " contradict the nodes below it");
  }
  for (std::size_t i = 0; i < parents.size(); ++i) Append(parents[i], scores[i]);
  settled_ = static_cast<NodeId>(size);
  for (std::size_t i = size; i-- > 0;) {  // children before their parents
    Node& node = nodes_[i];
    node.value_sum = counts[i].value_sum;
    node.visits = counts[i].visits;
    if (i > 0) node.mean = node.value_sum / node.visits;
    SetReach(node);
    if (node.first_child == kNoNode) continue;
    SetPriors(static_cast<NodeId>(i));
    node.leaf = BestLeafOf(node);
    if (!distinct_) continue;
    flights_[i].open = 0;
    for (NodeId id = node.first_child; id != kNoNode; id = nodes_[id].next_sibling) {
      flights_[i].open += flights_[id].open;
    }
  }
  return true;
}

}  // namespace rts
