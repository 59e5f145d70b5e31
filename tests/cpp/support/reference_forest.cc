#include "support/reference_forest.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
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

// ln x by basic operations alone, as the signatures want it.
double Log(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);
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

// e to the power of x <= 0, likewise; 0 below the normal numbers.
double Exp(double x) {
  constexpr double kFactorials[] = {1,    1,     2,      6,       24,       120,       720,
                                    5040, 40320, 362880, 3628800, 39916800, 479001600, 6227020800};
  if (x < -708) return 0;
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = x - k * 0.69314718036912382 - k * 1.9082149292705877e-10;
  double series = 0;
  for (std::size_t i = std::size(kFactorials); i-- > 0;) series = series * r + 1 / kFactorials[i];
  return std::ldexp(series, static_cast<int>(k));
}

// Sequential halving: the number of visits whose turn it is in simulation `index`.
std::int64_t ConsideredVisits(std::int64_t considered, std::int64_t num_simulations,
                              std::int64_t index) {
  if (considered <= 1) return index;
  std::int64_t rounds = 0;  // log2, rounded up
  while (std::int64_t{1} << rounds < considered) ++rounds;
  std::int64_t visits = 0;  // of each child that is still considered, before this round
  for (;;) {
    const std::int64_t each =
        std::max<std::int64_t>(1, num_simulations / (rounds * considered));
    if (index < each * considered) return visits + index / considered;
    visits += each;
    index -= each * considered;
    considered = std::max<std::int64_t>(2, considered / 2);
  }
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
    Node& root = *leaf;
    double mean = 0;
    if (root.ties != 0) root.ties = MixIn(root.ties, 0x9E3779B97F4A7C15) | 1;
    while (leaf->expanded) {
      const bool over_tree = params_.rule == Rule::kMuZeroTree;
      if (over_tree) mean = MeanQ(*leaf, mean);
      const std::vector<Rank> ranks =
          over_tree ? MuZeroTreeRanks(*leaf, mean, root) : Ranks(*leaf);
      std::optional<std::size_t> best;
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        if (!HasOpenLeaf(*leaf->children[i])) continue;
        if (!best || ranks[i] > ranks[*best]) best = i;
      }
      if (root.ties != 0) {
        std::vector<std::size_t> tied;
        for (std::size_t i = *best; i < ranks.size(); ++i) {
          if (!HasOpenLeaf(*leaf->children[i])) continue;
          if (ranks[i].score >= ranks[*best].score - 1e-6) tied.push_back(i);
        }
        best = tied[((MixIn(root.ties, leaf->id) | 1) >> 32) % tied.size()];
      }
      leaf = leaf->children[*best];
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
  CheckChildren(trees, parents, counts, priors, terminal, rewards);
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

void ReferenceForest::CheckChildren(std::span<const TreeId> trees,
                                    const std::vector<Node*>& parents,
                                    std::span<const std::int32_t> counts,
                                    std::span<const float> priors,
                                    std::span<const std::uint8_t> terminal,
                                    std::span<const float> rewards) const {
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
  for (const float prior : priors) Require(IsPrior(prior), Fault::kInvalidArgument);
  for (const float reward : rewards) Require(std::isfinite(reward), Fault::kInvalidArgument);
}

bool ReferenceForest::IsPrior(float prior) const {
  if (params_.first_play == rts::FirstPlay::kPrior) return std::isfinite(prior);
  return prior >= 0 && prior <= 1;
}

void ReferenceForest::Backup(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                             std::span<const double> values, bool release) {
  const std::vector<Node*> starts = Find(trees, nodes);
  CheckValues(values);
  if (release) CheckSelected(starts);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    double value = values[i];
    for (Node* node = starts[i]; node != nullptr; node = node->parent) {
      Visit(*node, value);
      value = node->edge_reward + params_.discount * value;
    }
    if (release) Release(starts[i]);
    if (starts[i]->parent == nullptr) continue;
    Node& root = *At(trees[i])[kRootId];
    for (const Node* node = starts[i]; node != nullptr; node = node->parent) Widen(root, *node);
  }
}

void ReferenceForest::Widen(Node& root, const Node& node) const {
  const double value = node.edge_reward + params_.discount * (Total(node) / node.visit_count);
  root.low = std::min(root.low, value);
  root.high = std::max(root.high, value);
}

void ReferenceForest::BeginRange(const TreeNodes& nodes) const {
  Node& root = *nodes[kRootId];
  root.low = std::numeric_limits<double>::infinity();
  root.high = -root.low;
  for (const auto& node : nodes) {
    if (node->parent != nullptr && node->visit_count > 0) Widen(root, *node);
  }
}

void ReferenceForest::Visit(Node& node, double value) const {
  if (node.visit_count == 0) node.raw_value = value;
  if (params_.backup == BackupMode::kMean) {
    node.value_sum += value;
  } else if (params_.backup == BackupMode::kLast || node.visit_count == 0 ||
             value > node.value_sum) {
    node.value_sum = value;
  }
  ++node.visit_count;
}

void ReferenceForest::BackupPath(TreeId tree, NodeId node, std::span<const double> values) {
  std::vector<Node*> path;
  for (Node* on = Find({&tree, 1}, {&node, 1}).front(); on != nullptr; on = on->parent) {
    path.push_back(on);
  }
  Require(values.size() == path.size(), Fault::kInvalidArgument);
  CheckValues(values);
  for (std::size_t i = 0; i < path.size(); ++i) Visit(*path[i], values[i]);
  if (path.size() == 1) return;
  for (const Node* on : path) Widen(*path.back(), *on);
}

NodeId ReferenceForest::Walk(TreeId tree, NodeId node, double margin) const {
  const Node* at = Find({&tree, 1}, {&node, 1}).front();
  Require(!params_.IsGlobal() && !params_.WeighsSiblings(), Fault::kInvalidArgument);
  Require(margin >= 0, Fault::kInvalidArgument);
  while (!at->children.empty()) {
    std::vector<Rank> ranks = Ranks(*at);
    const auto best = std::max_element(ranks.begin(), ranks.end());
    const Node* child = at->children[static_cast<std::size_t>(best - ranks.begin())];
    const double score = best->score;
    ranks.erase(best);
    if (!ranks.empty() && !(score - std::max_element(ranks.begin(), ranks.end())->score > margin)) {
      break;
    }
    at = child;
  }
  return at->id;
}

void ReferenceForest::CheckValues(std::span<const double> values) const {
  for (const double value : values) {
    Require(params_.value_min <= value && value <= params_.value_max, Fault::kInvalidArgument);
  }
}

void ReferenceForest::Advance(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                              std::span<const std::int32_t> counts,
                              std::span<const double> values, std::span<const float> priors,
                              std::span<const std::uint8_t> terminal,
                              std::span<const float> rewards, std::span<NodeId> first_children,
                              std::span<NodeId> leaves) {
  const std::vector<Node*> starts = Find(trees, nodes);
  CheckChildren(trees, starts, counts, priors, terminal, rewards);
  CheckValues(values);
  CheckSelected(starts);
  Expand(trees, nodes, counts, priors, terminal, rewards, first_children);
  Backup(trees, nodes, values, /*release=*/true);
  Select(trees, leaves);
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

void ReferenceForest::SetRewards(std::span<const TreeId> trees, std::span<const NodeId> nodes,
                                 std::span<const float> rewards) {
  const std::vector<Node*> below = Find(trees, nodes);
  Require(rewards.size() == below.size(), Fault::kInvalidArgument);
  for (const float reward : rewards) Require(std::isfinite(reward), Fault::kInvalidArgument);
  for (const Node* node : below) {
    Require(node->parent != nullptr && node->visit_count == 0, Fault::kTreeState);
  }
  for (std::size_t i = 0; i < below.size(); ++i) below[i]->edge_reward = rewards[i];
}

void ReferenceForest::SetGumbel(TreeId tree, std::span<const float> noise,
                                std::int64_t num_simulations, std::int64_t max_considered) {
  Node& root = *At(tree)[kRootId];
  const auto is_count = [](std::int64_t n) {
    return n >= 1 && n <= std::numeric_limits<std::int32_t>::max();
  };
  Require(params_.rule == Rule::kGumbel, Fault::kInvalidArgument);
  Require(noise.size() == root.children.size(), Fault::kInvalidArgument);
  for (const float gumbel : noise) Require(std::isfinite(gumbel), Fault::kInvalidArgument);
  Require(is_count(num_simulations) && is_count(max_considered), Fault::kInvalidArgument);
  root.plan = {{noise.begin(), noise.end()}, num_simulations, max_considered};
}

void ReferenceForest::SetTies(std::span<const TreeId> trees, std::optional<std::uint64_t> seed) {
  for (const TreeId tree : trees) At(tree);
  Require(params_.rule == Rule::kMuZeroTree, Fault::kInvalidArgument);
  for (std::size_t i = 0; i < trees.size(); ++i) {
    At(trees[i])[kRootId]->ties = seed ? MixIn(MixIn(0x9E3779B97F4A7C15, *seed), i) | 1 : 0;
  }
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

std::int64_t ReferenceForest::Visits(const Node& node) const {
  return node.visit_count + std::int64_t{params_.IsGlobal() ? 0 : node.in_flight};
}

std::optional<double> ReferenceForest::ValueOf(const Node& node) const {
  return ValueOf(node, params_.discount);
}

std::optional<double> ReferenceForest::ValueOf(const Node& node, double discount) const {
  const double loss =
      params_.virtual_loss * static_cast<double>(Visits(node) - node.visit_count);
  const double weight = node.visit_count + loss;
  if (weight == 0) return std::nullopt;
  const double lost = params_.discount < 0 ? params_.value_max : params_.value_min;
  const double mean = (Total(node) + loss * lost) / weight;
  return node.edge_reward + discount * mean;
}

ReferenceForest::Rank ReferenceForest::RankOf(const Node& node) const {
  if (node.parent == nullptr) return {};  // the root has no rival
  const auto visits = static_cast<double>(Visits(node));
  const auto parent_visits = static_cast<double>(Visits(*node.parent));
  const double first_play = params_.first_play == rts::FirstPlay::kPrior    ? node.prior
                            : params_.first_play == rts::FirstPlay::kReward ? node.edge_reward
                                                                            : FirstPlay(*node.parent);
  const double value = ValueOf(node).value_or(first_play);
  double score = value;
  if (visits == 0 && params_.first_play == rts::FirstPlay::kFirst) {
    score = std::numeric_limits<double>::infinity();
  } else if (params_.rule == Rule::kPuct) {
    score = value + params_.exploration * std::sqrt(parent_visits) * node.prior / (1.0 + visits);
  } else if (params_.rule == Rule::kAlphaZero) {
    const double base = params_.exploration_base;
    const double growth = Log((parent_visits + base + 1.0) / base);
    const double exploration = std::sqrt(parent_visits) * (params_.exploration + growth);
    score = value + exploration * node.prior / (1.0 + visits);
  } else if (params_.rule != Rule::kBestFirst) {
    const double root_log = parent_visits > 0 ? std::sqrt(Log(parent_visits)) : 0.0;
    score = value + params_.exploration * root_log * (1.0 / std::sqrt(std::max(1.0, visits)));
  }
  return {true, score, value, -Visits(node), -std::int64_t{node.id}};
}

std::vector<ReferenceForest::Rank> ReferenceForest::Ranks(const Node& parent) const {
  if (params_.rule == Rule::kMuZero) return MuZeroRanks(parent);
  if (params_.rule == Rule::kGumbel) return GumbelRanks(parent);
  std::vector<Rank> ranks;
  for (const Node* child : parent.children) ranks.push_back(RankOf(*child));
  return ranks;
}

std::vector<ReferenceForest::Rank> ReferenceForest::MuZeroRanks(const Node& parent) const {
  const double base = params_.exploration_base;
  const auto parent_visits = static_cast<double>(Visits(parent));
  const double growth = Log((parent_visits + base + 1.0) / base);
  const double exploration = std::sqrt(parent_visits) * (params_.exploration + growth);
  double low = FirstPlay(parent);
  double high = low;
  for (const Node* child : parent.children) {
    const double value = ValueOf(*child).value_or(low);
    low = std::min(low, value);
    high = std::max(high, value);
  }
  std::vector<Rank> ranks;
  for (const Node* child : parent.children) {
    const double value = ValueOf(*child).value_or(low);
    const double bonus = exploration * child->prior / (1.0 + static_cast<double>(Visits(*child)));
    const double score = (value - low) / std::max(high - low, 1e-8) + bonus;
    ranks.push_back({true, score, value, -Visits(*child), -std::int64_t{child->id}});
  }
  return ranks;
}

double ReferenceForest::MeanQ(const Node& parent, double above) const {
  double total = 0;
  int count = 0;
  for (const Node* child : parent.children) {
    const std::optional<double> value = ValueOf(*child, std::abs(params_.discount));
    if (!value) continue;
    total += *value;
    ++count;
  }
  if (parent.parent == nullptr && count > 0) return total / count;
  return (above + total) / (count + 1);
}

std::vector<ReferenceForest::Rank> ReferenceForest::MuZeroTreeRanks(const Node& parent, double mean,
                                                                    const Node& root) const {
  const double base = params_.exploration_base;
  const auto n = static_cast<double>(std::max<std::int64_t>(0, Visits(parent) - 1));
  const double exploration = std::sqrt(n) * (params_.exploration + Log((n + base + 1.0) / base));
  std::vector<Rank> ranks;
  for (const Node* child : parent.children) {
    double scaled = ValueOf(*child).value_or(mean);
    if (root.high > root.low) {
      scaled = (scaled - root.low) / std::max(root.high - root.low, params_.least_span);
    }
    const double bonus = exploration * child->prior / (1.0 + static_cast<double>(Visits(*child)));
    ranks.push_back({true, std::clamp(scaled, 0.0, 1.0) + bonus, 0, 0, -std::int64_t{child->id}});
  }
  return ranks;
}

std::vector<ReferenceForest::Rank> ReferenceForest::GumbelRanks(const Node& parent) const {
  const std::vector<Node*>& children = parent.children;
  const std::vector<double> values = CompletedValues(parent);
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  std::int64_t most_visits = 0;
  std::int64_t all_visits = 0;
  std::int64_t possible = 0;
  for (const Node* child : children) {
    most_visits = std::max(most_visits, Visits(*child));
    all_visits += Visits(*child);
    possible += child->prior > 0;
  }
  const double factor =
      (params_.maxvisit_init + static_cast<double>(most_visits)) * params_.value_scale;
  std::vector<Rank> ranks;
  for (std::size_t i = 0; i < children.size(); ++i) {
    const double logit = children[i]->prior > 0 ? Log(children[i]->prior) : -1e9;
    const double sigma = factor * ((values[i] - *low) / std::max(*high - *low, 1e-8));
    ranks.push_back({true, logit + sigma, values[i], -Visits(*children[i]),
                     -std::int64_t{children[i]->id}});
  }
  if (parent.parent == nullptr) {
    const Plan& plan = parent.plan;
    const std::int64_t turn = ConsideredVisits(std::min(plan.max_considered, possible),
                                               plan.num_simulations, all_visits);
    for (std::size_t i = 0; i < children.size(); ++i) {
      if (i < plan.noise.size()) ranks[i].score += plan.noise[i];
      ranks[i].is_considered = Visits(*children[i]) == turn;
    }
    return ranks;
  }
  double highest = -std::numeric_limits<double>::infinity();
  for (const Rank& rank : ranks) highest = std::max(highest, rank.score);
  double total = 0;
  for (const Rank& rank : ranks) total += Exp(rank.score - highest);
  for (std::size_t i = 0; i < children.size(); ++i) {
    ranks[i].score = Exp(ranks[i].score - highest) / total -
                     static_cast<double>(Visits(*children[i])) /
                         (1.0 + static_cast<double>(all_visits));
  }
  return ranks;
}

// Q of the visited children, v_mix for the others.
std::vector<double> ReferenceForest::CompletedValues(const Node& parent) const {
  const double raw_value = parent.visit_count > 0 ? parent.raw_value : params_.value_min;
  double visits = 0;
  double priors = 0;
  double weighted = 0;
  for (const Node* child : parent.children) {
    const std::optional<double> value = ValueOf(*child);
    if (!value) continue;
    const double prior = std::max<double>(child->prior, 0x1p-126);  // against 0 / 0
    visits += static_cast<double>(Visits(*child));
    priors += prior;
    weighted += prior * *value;
  }
  double mixed = raw_value;
  if (priors > 0) mixed = (raw_value + visits * (weighted / priors)) / (visits + 1.0);
  std::vector<double> values;
  for (const Node* child : parent.children) values.push_back(ValueOf(*child).value_or(mixed));
  return values;
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
  const std::uint64_t ties = nodes[kRootId]->ties;
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
  root->plan = {};
  root->ties = ties;
  nodes = std::move(kept);
  BeginRange(nodes);
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
  copy->front()->plan = {};
  copy->front()->ties = 0;
  BeginRange(*copy);
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
