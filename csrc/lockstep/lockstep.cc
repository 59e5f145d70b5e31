#include "lockstep/lockstep.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <string>
#include <utility>

#include "core/error.h"
#include "support/numeric.h"

namespace rts {
namespace {

// LightZero's scale of values goes no further.
constexpr double kLargestValue = 1e6;
// Of a tree, in nodes that an expansion makes: more than anybody searches.
constexpr std::int64_t kMostSimulations = 1 << 14;
constexpr float kGumbelScale = 10;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

[[noreturn]] void Refuse(const std::string& what) { throw Error(Fault::kInvalidArgument, what); }

std::string At(std::size_t i) { return " at position " + std::to_string(i); }

// Forests whose trees are over. A search makes its trees anew and is soon done with them, and their
// memory is faulted in by then.
class Pool {
 public:
  std::unique_ptr<Forest> Take(const SearchParams& params) {
    const std::lock_guard lock(mutex_);
    for (auto& idle : idle_) {
      if (!(idle->params() == params)) continue;
      std::swap(idle, idle_.back());
      std::unique_ptr<Forest> forest = std::move(idle_.back());
      idle_.pop_back();
      return forest;
    }
    return nullptr;
  }
  void Give(std::unique_ptr<Forest> forest) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() == kMost) idle_.erase(idle_.begin());
    idle_.push_back(std::move(forest));
  }

 private:
  static constexpr std::size_t kMost = 4;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Forest>> idle_;
};

Pool& IdleForests() {
  static Pool pool;
  return pool;
}

// Forests remember where each of their trees was, so none serves for ever.
constexpr TreeId kLastTree = 1 << 20;

// exp(x - highest) / sum, in LightZero's order and precision.
void Softmax(std::span<float> x) {
  float highest = -kInfinity;
  for (const float value : x) highest = std::max(highest, value);
  float sum = 0;
  for (float& value : x) {
    value = static_cast<float>(ExpOf(value - highest));
    sum += value;
  }
  for (float& value : x) value /= sum;
}

void Softmax(std::vector<double>& x) {
  const double highest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& value : x) {
    value = ExpOf(value - highest);
    sum += value;
  }
  for (double& value : x) value /= sum;
}

// LightZero's luck is always this.
std::vector<float> GumbelNoise(std::size_t count) {
  std::mt19937 random(0);
  std::vector<float> noise;
  for (std::size_t i = 0; i < count; ++i) {
    const float below_one = std::min(static_cast<float>(random()) / 4294967296.0f,
                                     std::nextafter(1.0f, 0.0f));
    const double exponential = std::max(-LogOf(1.0f - below_one), 1e-38);
    noise.push_back(kGumbelScale * static_cast<float>(-LogOf(exponential)));
  }
  return noise;
}

}  // namespace

Lockstep::Lockstep(Method method, std::vector<std::vector<std::int32_t>> actions)
    : method_(method) {
  searches_.reserve(actions.size());
  for (auto& legal : actions) {
    std::vector<std::int32_t> sorted = legal;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
      Refuse("action " + std::to_string(*twice) + " of root " + std::to_string(searches_.size()) +
             " is named twice: name each legal action once");
    }
    searches_.push_back({std::move(legal), {}});
  }
}

Lockstep::~Lockstep() { Clear(); }

void Lockstep::Clear() {
  is_prepared_ = false;
  is_waiting_ = false;
  if (forest_ == nullptr) return;
  const TreeId last = trees_.empty() ? 0 : trees_.back();
  forest_->DropTrees(trees_);
  trees_.clear();
  if (last < kLastTree) IdleForests().Give(std::move(forest_));
  forest_.reset();
}

// --- what is told ----------------------------------------------------------------------

void Lockstep::CheckPrepared() const {
  if (is_prepared_) return;
  Refuse("these Roots are not prepared: call prepare or prepare_no_noise first");
}

void Lockstep::CheckLength(const char* name, std::size_t have) const {
  if (have == size()) return;
  Refuse(std::string(name) + " has " + std::to_string(have) + " entries for " +
         std::to_string(size()) + " roots");
}

void Lockstep::CheckFinite(const char* name, std::span<const float> values) const {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::abs(values[i]) <= kLargestValue) continue;
    Refuse(std::string(name) + " has " + std::to_string(values[i]) + At(i) +
           ": must be in [-1e6, 1e6]");
  }
}

void Lockstep::CheckPlayers(std::span<const std::int32_t> players) const {
  CheckLength("to_play_batch", players.size());
  for (std::size_t i = 0; i < players.size(); ++i) {
    if (players[i] != -1 && players[i] != 1 && players[i] != 2) {
      Refuse("to_play " + std::to_string(players[i]) + At(i) +
             ": must be -1 (one player), 1 or 2");
    }
    if (players[i] != -1 && method_ == Method::kGumbel) {
      Refuse("to_play " + std::to_string(players[i]) + At(i) +
             ": Gumbel MuZero is for one player (-1), as in LightZero");
    }
    if ((players[i] == -1) != (players[0] == -1)) {
      Refuse("to_play " + std::to_string(players[i]) + At(i) +
             " beside " + std::to_string(players[0]) +
             ": games of one and of two players need Roots of their own");
    }
  }
}

void Lockstep::CheckDiscount(float discount) const {
  if (!(discount >= 0 && discount <= 1)) {
    Refuse("discount " + std::to_string(discount) + ": must be in [0, 1]");
  }
  if (discount_ && *discount_ != discount) {
    Refuse("discount " + std::to_string(discount) + ": this search began with " +
           std::to_string(*discount_) + ", another one needs new Roots");
  }
}

void Lockstep::ReadLogits(const Rows& logits, bool is_root, float noise_weight,
                          const Rows& noises) {
  priors_.clear();
  counts_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::span<const float> row = logits[i];
    const std::span<const std::int32_t> legal =
        is_root ? std::span<const std::int32_t>(searches_[i].actions)
                : std::span<const std::int32_t>();
    const std::size_t begin = priors_.size();
    for (std::size_t a = 0; legal.empty() && a < row.size(); ++a) priors_.push_back(row[a]);
    for (const std::int32_t a : legal) {
      if (a < 0 || static_cast<std::size_t>(a) >= row.size()) {
        Refuse("action " + std::to_string(a) + " of root " + std::to_string(i) +
               " has no logit: there are " + std::to_string(row.size()));
      }
      priors_.push_back(row[static_cast<std::size_t>(a)]);
    }
    const std::span<float> fresh(priors_.data() + begin, priors_.size() - begin);
    float highest = -kInfinity;
    for (const float logit : fresh) {
      if (std::isnan(logit) || logit == kInfinity) {
        Refuse("policy logit " + std::to_string(logit) + At(i) +
               ": must be finite, or -inf for a policy of 0");
      }
      highest = std::max(highest, logit);
    }
    if (highest == -kInfinity) {
      Refuse("policy logits" + At(i) + ": one at least must be finite");
    }
    Softmax(fresh);
    if (!noises.empty()) {
      if (noises[i].size() < fresh.size()) {
        Refuse("noises" + At(i) + " has " + std::to_string(noises[i].size()) +
               " entries for " + std::to_string(fresh.size()) + " legal actions");
      }
      for (std::size_t k = 0; k < fresh.size(); ++k) {
        fresh[k] = fresh[k] * (1 - noise_weight) + noises[i][k] * noise_weight;
        if (fresh[k] >= 0 && fresh[k] <= 1) continue;
        Refuse("noises" + At(i) + " makes a prior of " + std::to_string(fresh[k]) +
               ": noises and their weight must be in [0, 1]");
      }
    }
    counts_.push_back(static_cast<std::int32_t>(fresh.size()));
  }
  told_ = priors_;
  if (method_ == Method::kMuZero) return;
  std::size_t begin = 0;
  for (const std::int32_t count : counts_) {
    const auto size = static_cast<std::size_t>(count);
    Softmax(std::span<float>(told_.data() + begin, size));
    begin += size;
  }
}

void Lockstep::Prepare(float noise_weight, const Rows& noises, std::span<const float> rewards,
                       std::span<const float> values, const Rows& logits,
                       std::span<const std::int32_t> players) {
  if (is_prepared_) Refuse("these Roots were prepared before: make new ones for a new search");
  CheckLength("value_prefix_pool", rewards.size());
  CheckLength("policy_logits_pool", logits.size());
  if (!noises.empty()) CheckLength("noises", noises.size());
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (rewards[i] == 0) continue;
    Refuse("value_prefix_pool has " + std::to_string(rewards[i]) + At(i) +
           ": no edge leads to a root, pass 0");
  }
  if (method_ == Method::kGumbel) {
    CheckLength("value_pool", values.size());
    CheckFinite("value_pool", values);
  }
  CheckPlayers(players);
  ReadLogits(logits, /*is_root=*/true, noise_weight, noises);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    Search& search = searches_[i];
    const auto count = static_cast<std::size_t>(counts_[i]);
    search.priors.assign(priors_.begin() + static_cast<std::ptrdiff_t>(begin),
                         priors_.begin() + static_cast<std::ptrdiff_t>(begin + count));
    begin += count;
    if (search.actions.empty()) {
      for (std::int32_t a = 0; a < counts_[i]; ++a) search.actions.push_back(a);
    }
    search.player = players[i];
    search.expansions.assign(1, {kRootId, kRootId + 1, 0, static_cast<std::int32_t>(i)});
  }
  root_values_.assign(size(), 0.0f);
  std::copy(values.begin(), values.end(), root_values_.begin());
  is_prepared_ = true;
}

void Lockstep::Begin(const SearchParams& wanted) {
  SearchParams params = wanted;
  params.value_min = -kLargestValue;
  params.value_max = kLargestValue;
  std::size_t most = 1;
  for (const Search& search : searches_) {
    const std::int32_t last = *std::max_element(search.actions.begin(), search.actions.end());
    most = std::max(most, static_cast<std::size_t>(last) + 1);
  }
  // one size for all games of as many actions, so that their forests are found again
  params.max_nodes = std::min(kMaxNodes, 1 + static_cast<std::int64_t>(most) * kMostSimulations);
  std::unique_ptr<Forest> forest = IdleForests().Take(params);
  if (forest == nullptr) forest = std::make_unique<Forest>(params);
  const std::vector<TreeId> trees = forest->CreateTrees(static_cast<std::int64_t>(size()));
  told_.clear();
  counts_.clear();
  for (const Search& search : searches_) {
    const std::size_t begin = told_.size();
    told_.insert(told_.end(), search.priors.begin(), search.priors.end());
    if (method_ == Method::kGumbel) {
      Softmax(std::span<float>(told_.data() + begin, search.priors.size()));
    }
    counts_.push_back(static_cast<std::int32_t>(search.priors.size()));
  }
  nodes_.assign(size(), kNoNode);
  first_.assign(size(), kNoNode);
  doubles_.assign(root_values_.begin(), root_values_.end());
  forest->Select(trees, nodes_);
  forest->Expand(trees, nodes_, counts_, told_, {}, {}, first_);
  forest->Backup(trees, nodes_, doubles_, /*release=*/true);
  trees_ = trees;
  forest_ = std::move(forest);
  by_chance_ = false;
}

// --- the way down and the way up -----------------------------------------------------------

const Lockstep::Expansion& Lockstep::Above(const Search& search, NodeId node) const {
  const auto behind = std::upper_bound(
      search.expansions.begin(), search.expansions.end(), node,
      [](NodeId id, const Expansion& expansion) { return id < expansion.first; });
  return *std::prev(behind);
}

std::int32_t Lockstep::ActionOf(const Search& search, const Expansion& above, NodeId node) const {
  const NodeId place = node - above.first;
  return above.parent == kRootId ? search.actions[place] : static_cast<std::int32_t>(place);
}

void Lockstep::Traverse(const MuZeroTerms& terms, std::span<const std::int32_t> players,
                        std::optional<std::uint64_t> ties) {
  CheckPrepared();
  CheckDiscount(terms.discount);
  CheckPlayers(players);
  if (forest_ == nullptr) {
    SearchParams params;
    params.rule = Rule::kMuZeroTree;
    params.exploration = terms.init;
    params.exploration_base = terms.base;
    params.least_span = terms.least_span;
    const bool are_two = !players.empty() && players[0] != -1;
    params.discount = are_two ? -double{terms.discount} : double{terms.discount};
    Begin(params);
    discount_ = terms.discount;
  } else if (forest_->params().exploration != terms.init ||
             forest_->params().exploration_base != terms.base ||
             forest_->params().least_span != terms.least_span) {
    Refuse("pb_c_base, pb_c_init or the value_delta_max of the statistics changed: another search "
           "needs new Roots");
  }
  if (ties ? !by_chance_ : by_chance_) {
    forest_->SetTies(trees_, ties);
    by_chance_ = ties.has_value();
  }
  Go(players);
}

void Lockstep::Traverse(std::int32_t num_simulations, std::int32_t max_considered, float discount,
                        std::span<const std::int32_t> players) {
  CheckPrepared();
  if (num_simulations < 1 || max_considered < 1) {
    Refuse("num_simulations=" + std::to_string(num_simulations) +
           ", max_num_considered_actions=" + std::to_string(max_considered) +
           ": both must be 1 at least");
  }
  CheckDiscount(discount);
  CheckPlayers(players);
  if (forest_ == nullptr) {
    SearchParams params;
    params.rule = Rule::kGumbel;
    params.discount = discount;
    Begin(params);
    discount_ = discount;
    simulations_ = 0;
  }
  if (simulations_ != num_simulations || considered_ != max_considered) {
    std::vector<float> noise;
    for (std::size_t i = 0; i < size(); ++i) {
      const std::size_t count = searches_[i].actions.size();
      if (noise.size() < count) noise = GumbelNoise(count);
      forest_->SetGumbel(trees_[i], std::span(noise).first(count), num_simulations,
                         std::min(max_considered, num_simulations));
    }
    simulations_ = num_simulations;
    considered_ = max_considered;
  }
  Go(players);
}

void Lockstep::Go(std::span<const std::int32_t> players) {
  for (std::size_t i = 0; i < size(); ++i) {
    if (players[i] == searches_[i].player) continue;
    Refuse("to_play " + std::to_string(players[i]) + At(i) + ": the root was prepared with " +
           std::to_string(searches_[i].player));
  }
  if (is_waiting_) forest_->Release(trees_, nodes_);
  forest_->Select(trees_, nodes_);
  is_waiting_ = true;
  ++traversals_;
  for (auto* column : {&leaves_.x, &leaves_.y, &leaves_.action, &leaves_.depth, &leaves_.player}) {
    column->resize(size());
  }
  for (std::size_t i = 0; i < size(); ++i) {
    const Search& search = searches_[i];
    const Expansion* above = &Above(search, nodes_[i]);
    leaves_.x[i] = above->x;
    leaves_.y[i] = above->y;
    leaves_.action[i] = ActionOf(search, *above, nodes_[i]);
    std::int32_t depth = 1;
    for (; above->parent != kRootId; ++depth) above = &Above(search, above->parent);
    leaves_.depth[i] = depth;
    const bool is_other = search.player != -1 && depth % 2 == 1;
    leaves_.player[i] = is_other ? 3 - search.player : search.player;
  }
}

void Lockstep::BackPropagate(std::int32_t x, float discount, std::span<const float> rewards,
                             std::span<const float> values, const Rows& logits,
                             std::span<const std::int32_t> players) {
  if (!is_waiting_) Refuse("no leaves wait for a backup: call batch_traverse first");
  CheckDiscount(discount);
  CheckLength("value_prefixs", rewards.size());
  CheckLength("values", values.size());
  CheckLength("policies", logits.size());
  CheckLength("to_play_batch", players.size());
  CheckFinite("value_prefixs", rewards);
  CheckFinite("values", values);
  for (std::size_t i = 0; i < size(); ++i) {
    if (players[i] == leaves_.player[i]) continue;
    Refuse("to_play " + std::to_string(players[i]) + At(i) + ": at that leaf it is " +
           std::to_string(leaves_.player[i]) + ", as batch_traverse returned it");
  }
  ReadLogits(logits, /*is_root=*/false, 0, {});
  for (Search& search : searches_) {
    auto& expansions = search.expansions;
    if (expansions.size() == expansions.capacity()) expansions.reserve(2 * expansions.size());
  }
  doubles_.assign(values.begin(), values.end());
  try {
    forest_->Expand(trees_, nodes_, counts_, told_, {}, {}, first_);
  } catch (const Error& error) {
    if (error.fault() != Fault::kArenaFull) throw;
    throw Error(Fault::kArenaFull, "a search has at most " + std::to_string(kMostSimulations) +
                                       " simulations: begin another one with new Roots");
  }
  forest_->SetRewards(trees_, nodes_, rewards);
  forest_->Backup(trees_, nodes_, doubles_, /*release=*/true);
  for (std::size_t i = 0; i < size(); ++i) {
    searches_[i].expansions.push_back({nodes_[i], first_[i], x, static_cast<std::int32_t>(i)});
  }
  is_waiting_ = false;
}

// --- what was found ------------------------------------------------------------------------

std::vector<std::vector<std::int32_t>> Lockstep::Distributions() const {
  std::vector<std::vector<std::int32_t>> found(size());
  for (std::size_t i = 0; i < size(); ++i) {
    found[i].resize(searches_[i].priors.size());
    if (forest_ == nullptr) continue;
    for (std::size_t k = 0; k < found[i].size(); ++k) {
      const Node child = forest_->NodeOf(trees_[i], static_cast<NodeId>(kRootId + 1 + k));
      found[i][k] = static_cast<std::int32_t>(child.visit_count);
    }
  }
  return found;
}

std::vector<double> Lockstep::Values() const {
  std::vector<double> found(size());
  for (std::size_t i = 0; forest_ != nullptr && i < size(); ++i) {
    const Node root = forest_->NodeOf(trees_[i], kRootId);
    found[i] = (root.value_sum - double{root_values_[i]}) / root.visit_count;
  }
  return found;
}

std::vector<std::vector<std::int32_t>> Lockstep::Trajectories() const {
  std::vector<std::vector<std::int32_t>> found(size());
  for (std::size_t i = 0; forest_ != nullptr && i < size(); ++i) {
    for (NodeId node = nodes_[i]; node != kRootId;) {
      const Expansion& above = Above(searches_[i], node);
      found[i].push_back(ActionOf(searches_[i], above, node));
      node = above.parent;
    }
    std::reverse(found[i].begin(), found[i].end());
  }
  return found;
}

std::vector<double> Lockstep::Completed(std::size_t i, float discount) const {
  std::vector<double> values(searches_[i].priors.size());
  std::vector<bool> is_visited(values.size());
  double visits = 0;
  double most = 0;
  double priors = 0;
  double weighted = 0;
  for (std::size_t k = 0; forest_ != nullptr && k < values.size(); ++k) {
    const Node child = forest_->NodeOf(trees_[i], static_cast<NodeId>(kRootId + 1 + k));
    if (child.visit_count == 0) continue;
    is_visited[k] = true;
    values[k] = child.edge_reward + double{discount} * (child.value_sum / child.visit_count);
    visits += child.visit_count;
    most = std::max<double>(most, child.visit_count);
    priors += child.prior;
    weighted += child.prior * values[k];
  }
  const double mixed = priors > 0 ? visits * (weighted / priors) : 0.0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (!is_visited[k]) values[k] = (root_values_[i] + mixed) / (visits + 1);
  }
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double lowest = *low;
  const double span = std::max(*high - lowest, 1e-8);
  for (double& value : values) value = (value - lowest) / span * (50 + most) * 0.1;
  return values;
}

std::vector<std::vector<double>> Lockstep::ChildrenValues(float discount,
                                                          std::size_t num_actions) const {
  CheckPrepared();
  CheckDiscount(discount);
  std::vector<std::vector<double>> found(size());
  for (std::size_t i = 0; i < size(); ++i) {
    const std::vector<double> completed = Completed(i, discount);
    found[i].assign(num_actions, -double{kInfinity});
    for (std::size_t k = 0; k < completed.size(); ++k) {
      const auto action = static_cast<std::size_t>(searches_[i].actions[k]);
      if (action >= num_actions) {
        Refuse("action_space_size=" + std::to_string(num_actions) + ": action " +
               std::to_string(action) + " of root " + std::to_string(i) + " is legal");
      }
      found[i][action] = completed[k];
    }
  }
  return found;
}

std::vector<std::vector<double>> Lockstep::Policies(float discount,
                                                    std::size_t num_actions) const {
  std::vector<std::vector<double>> found = ChildrenValues(discount, num_actions);
  for (std::size_t i = 0; i < size(); ++i) {
    for (std::size_t k = 0; k < searches_[i].priors.size(); ++k) {
      found[i][static_cast<std::size_t>(searches_[i].actions[k])] += searches_[i].priors[k];
    }
    Softmax(found[i]);
  }
  return found;
}

}  // namespace rts
