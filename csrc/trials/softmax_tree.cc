#include "trials/softmax_tree.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace rts {
namespace {

double LogOfCount(double n) {
  static const auto kTable = [] {
    std::array<double, 4096> table{};
    for (std::size_t i = 1; i < table.size(); ++i) table[i] = std::log(static_cast<double>(i));
    return table;
  }();
  return n < static_cast<double>(kTable.size()) ? kTable[static_cast<std::size_t>(n)]
                                                : std::log(n);
}

// sum() of Python 3.12 and later (Neumaier); plain before.
double Sum(std::span<const double> values, bool compensated) {
  double sum = 0;
  double lost = 0;
  for (const double value : values) {
    const double more = sum + value;
    lost += std::abs(sum) >= std::abs(value) ? (sum - more) + value : (value - more) + sum;
    sum = more;
  }
  return compensated ? sum + lost : sum;
}

// Two siblings at a time: their divisions and roots take as long as one.
using Pair = double __attribute__((vector_size(16)));

Pair SqrtOf(Pair x) {
#ifdef __SSE2__
  return _mm_sqrt_pd(x);
#else
  return {std::sqrt(x[0]), std::sqrt(x[1])};
#endif
}

}  // namespace

SoftmaxTree::SoftmaxTree(const TrialSettings& settings)
    : exploration_(settings.exploration),
      distinct_(settings.distinct),
      compensated_(settings.compensated) {
  nodes_.reserve(kUsualNodes);
  scores_.reserve(kUsualNodes);
  nodes_.resize(1);
  scores_.resize(1);
  nodes_[kRootId].weight = exploration_;
  if (distinct_) flights_.resize(1);
}

NodeId SoftmaxTree::Best() {
  Settle();
  return distinct_ ? BestNotHeld() : nodes_[kRootId].leaf;
}

NodeId SoftmaxTree::BestLeafOf(const Node& node) const {
  if (node.first_child == node.last_child) return nodes_[node.first_child].leaf;
  const double log_visits = LogOfCount(node.visits);
  double best_score = -std::numeric_limits<double>::infinity();
  NodeId leaf = kNoNode;
  for (NodeId id = node.first_child; id != kNoNode;) {
    const Node& first = nodes_[id];
    const Node& second = nodes_[first.next_sibling != kNoNode ? first.next_sibling : id];
    const Pair scores = Pair{first.mean, second.mean} +
                        Pair{first.weight, second.weight} *
                            SqrtOf(Pair{log_visits, log_visits} / Pair{first.visits, second.visits});
    leaf = scores[0] > best_score ? first.leaf : leaf;
    best_score = std::max(scores[0], best_score);
    leaf = scores[1] > best_score ? second.leaf : leaf;
    best_score = std::max(scores[1], best_score);
    id = second.next_sibling;
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
      const double score =
          child.value_sum / visits + child.weight * std::sqrt(log_visits / visits);
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
  scores_.resize(id);
  scores_.push_back(score);
  nodes_.push_back({score, score, exploration_, 1, 1, parent, kNoNode, kNoNode, kNoNode, id});
  Node& above = nodes_[parent];
  if (above.first_child == kNoNode) {
    above.first_child = id;
  } else {
    nodes_[above.last_child].next_sibling = id;
  }
  above.last_child = id;
}

void SoftmaxTree::SetPriors(NodeId parent) {
  const NodeId first = nodes_[parent].first_child;
  if (nodes_[first].next_sibling == kNoNode) return;
  double highest = scores_[first];
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    highest = std::max(highest, scores_[id]);
  }
  weights_.clear();
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    weights_.push_back(scores_[id] == highest ? 1.0 : std::exp(scores_[id] - highest));
  }
  const double sum = Sum(weights_, compensated_);
  const double* weight = weights_.data();
  for (NodeId id = first; id != kNoNode; id = nodes_[id].next_sibling) {
    nodes_[id].prior = *weight++ / sum;
    nodes_[id].weight = exploration_ * nodes_[id].prior;
  }
}

void SoftmaxTree::Settle() {
  const auto size = static_cast<NodeId>(nodes_.size());
  if (settled_ == size) return;
  const NodeId parent = nodes_[settled_].parent;
  SetPriors(parent);
  const double more = size - settled_;
  for (NodeId id = parent; id != kNoNode; id = nodes_[id].parent) {
    Node& node = nodes_[id];
    double sum = node.value_sum;
    for (NodeId told = settled_; told < size; ++told) sum += scores_[told];
    node.value_sum = sum;
    node.visits += more;
    node.mean = sum / node.visits;
    node.leaf = BestLeafOf(node);
  }
  settled_ = size;
}

Count SoftmaxTree::CountOf(NodeId id) {
  Settle();
  const Node& node = nodes_[id];
  return {static_cast<std::uint32_t>(node.visits), node.value_sum, node.prior};
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
