#include "trials/search.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.h"
#include "trials/global_tree.h"
#include "trials/leaf_chooser.h"
#include "trials/softmax_tree.h"
#include "trials/thompson.h"

namespace rts {
namespace {

std::unique_ptr<Chooser> MakeChooser(const TrialSettings& settings, std::uint64_t seed,
                                     const std::vector<Prior>& of_actions) {
  switch (settings.rule) {
    case TrialRule::kSoftmax: return std::make_unique<LeafChooser<SoftmaxTree>>(settings);
    case TrialRule::kMctsG: return std::make_unique<LeafChooser<GlobalTree>>(settings);
    case TrialRule::kThompson: break;
  }
  return std::make_unique<Thompson>(settings, seed, of_actions);
}

// Lists are short: a call of the C library would take longer.
bool Equal(std::span<const ActionId> a, std::span<const ActionId> b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

}  // namespace

Search::Search(const TrialSettings& settings, std::uint64_t seed, std::uint64_t salt)
    : settings_(settings),
      seed_(seed),
      salt_(salt),
      chooser_(MakeChooser(settings_, seed_, of_actions_)) {
  trials_.reserve(kUsualNodes);
  nodes_.reserve(kUsualNodes);
}

std::uint16_t Search::PlanOf(std::span<const ActionId> actions) {
  for (std::size_t i = plans_.size(); i-- > 0;) {  // nearly always the last one
    const Plan& plan = plans_[i];
    if (plan.samples == settings_.samples && Equal(plan.actions, actions)) {
      return static_cast<std::uint16_t>(i);
    }
  }
  if (plans_.size() > 0xFFFF) {
    throw Error(Fault::kInvalidArgument,
                "65536 different lists of actions: ask with few, in the same order");
  }
  plans_.push_back({settings_.samples, {actions.begin(), actions.end()}});
  return static_cast<std::uint16_t>(plans_.size() - 1);
}

TrialId Search::Ask(std::span<const ActionId> actions, std::size_t place, std::int64_t now) {
  const auto id = static_cast<TrialId>(trials_.size());
  const std::uint16_t plan = PlanOf(actions);
  const Request request = chooser_->Choose(plans_[plan], place, id);
  trials_.push_back({.created = now,
                     .salt = salt_,
                     .request = request,
                     .asked_at = version_ + 1,
                     .plan = plan});
  try {
    running_.push_back(id);
    chooser_->Asked(request, plans_[plan]);
  } catch (...) {
    trials_.pop_back();
    if (!running_.empty() && running_.back() == id) running_.pop_back();
    throw;
  }
  ++version_;
  return id;
}

void Search::Withdraw(TrialId id) {
  chooser_->Withdrawn(trials_[id].request);
  trials_.pop_back();
  running_.pop_back();
  --version_;
}

bool Search::Tell(TrialId id, double score, std::int64_t now) {
  Trial& trial = trials_[id];
  if (trial.status != TrialStatus::kRunning) return false;
  nodes_.push_back(id);
  bool ends_others = false;
  try {
    ends_others = chooser_->Told(trial.request, score);
  } catch (...) {
    nodes_.pop_back();
    throw;
  }
  ++version_;
  const auto finish = [&](Trial& finished, TrialStatus status) {
    finished.status = status;
    finished.completed = now;
    finished.finished_at = version_;
  };
  trial.score = score;
  finish(trial, TrialStatus::kComplete);
  if (running_.size() == 1) {  // always, where a search goes step by step
    running_.clear();
    return true;
  }
  std::erase_if(running_, [&](TrialId other) {
    if (other == id) return true;
    if (!ends_others || trials_[other].request != trial.request) return false;
    finish(trials_[other], TrialStatus::kInvalid);
    return true;
  });
  return true;
}

std::size_t Search::NumTrials(Version version) const {
  if (version >= version_) return trials_.size();
  return static_cast<std::size_t>(
      std::ranges::upper_bound(trials_, version, {}, &Trial::asked_at) - trials_.begin());
}

std::size_t Search::NumNodes(Version version) const {
  if (version >= version_) return nodes_.size();
  const auto told_at = [&](TrialId id) { return trials_[id].finished_at; };
  return static_cast<std::size_t>(std::ranges::upper_bound(nodes_, version, {}, told_at) -
                                  nodes_.begin());
}

Trial Search::TrialAt(TrialId id, Version version) const {
  Trial trial = trials_[id];
  if (trial.finished_at > version) {
    trial.status = TrialStatus::kRunning;
    trial.score = 0;
    trial.completed = 0;
    trial.finished_at = 0;
  }
  return trial;
}

std::unique_ptr<Search> Search::Fork(Version version, const TrialSettings& settings,
                                     std::vector<Prior> of_actions, std::uint64_t salt) {
  auto fork = std::make_unique<Search>(settings, Mix(seed_, forks_ + 1), salt);
  fork->of_actions_ = std::move(of_actions);
  fork->plans_ = plans_;
  const auto num_trials = static_cast<TrialId>(NumTrials(version));
  for (TrialId id = 0; id < num_trials; ++id) fork->trials_.push_back(TrialAt(id, version));
  const auto num_nodes = static_cast<std::ptrdiff_t>(NumNodes(version));
  fork->nodes_.assign(nodes_.begin(), nodes_.begin() + num_nodes);
  fork->version_ = std::min(version, version_);
  fork->Rebuild({});
  ++forks_;
  return fork;
}

void Search::Rebuild(std::span<const Count> counts) {
  for (TrialId id = 0; id < trials_.size(); ++id) {
    if (trials_[id].status == TrialStatus::kRunning) running_.push_back(id);
  }
  std::vector<NodeId> parents;
  std::vector<double> scores;
  std::vector<std::uint32_t> children(nodes_.size() + 1);
  for (const TrialId id : nodes_) {
    parents.push_back(trials_[id].request.node);
    scores.push_back(trials_[id].score);
    ++children[parents.back()];
  }
  if (!counts.empty()) {
    std::vector<Expansion> open;
    std::vector<ActionId> order;
    std::vector<const Plan*> plans(nodes_.size() + 1);  // of the first trial at each node
    for (const Trial& trial : trials_) {
      const NodeId node = trial.request.node;
      if (plans[node] == nullptr) {
        plans[node] = &plans_[trial.plan];
        AddNew(order, *plans[node]);
      }
      const Plan& plan = *plans[node];
      if (children[node] >= plan.samples * plan.actions.size()) continue;
      auto e = std::ranges::find(open, node, &Expansion::node);
      if (e == open.end()) {
        Begin(open.emplace_back(), node, plan);
        e = open.end() - 1;
      }
      if (trial.status == TrialStatus::kRunning) ++e->asked[trial.request.action];
      if (trial.status != TrialStatus::kComplete) continue;
      --e->still;
      --e->wanted[trial.request.action];
    }
    if (chooser_->Load(parents, scores, counts, std::move(open), std::move(order))) return;
  }
  std::size_t told = 0;
  const auto tell_until = [&](Version version) {
    for (; told < nodes_.size() && trials_[nodes_[told]].finished_at < version; ++told) {
      chooser_->Told(trials_[nodes_[told]].request, scores[told]);
    }
  };
  for (const Trial& trial : trials_) {
    tell_until(trial.asked_at);
    chooser_->Asked(trial.request, plans_[trial.plan]);
  }
  tell_until(version_ + 1);
}

}  // namespace rts
