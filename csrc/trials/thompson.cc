#include "trials/thompson.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/numeric.h"

namespace rts {
namespace {

// The first of the items with the highest score.
template <typename Items, typename Score>
auto Best(const Items& items, const Score& score) {
  auto best = *items.begin();
  double highest = -std::numeric_limits<double>::infinity();
  for (const auto& item : items) {
    const double value = score(item);
    if (value > highest) {
      highest = value;
      best = item;
    }
  }
  return best;
}

template <typename T>
T& At(std::vector<T>& items, std::size_t i) {
  if (i >= items.size()) items.resize(i + 1);
  return items[i];
}

}  // namespace

void Belief::See(double score) {
  count_ += 1;
  sum_ += score;
  const double deviation = score - mean_;
  mean_ += deviation / count_;
  squares_ += deviation * (score - mean_);
}

std::array<double, 4> Belief::Posterior(const Prior& prior) const {
  if (prior.is_beta) return {prior.a + sum_, prior.b + (count_ - sum_), 0, 0};
  const double kappa = prior.kappa + count_;
  const double nu = prior.nu + count_;
  const double m = (prior.kappa * prior.m + count_ * mean_) / kappa;
  const double off = prior.m - mean_;
  const double spread = prior.nu * prior.tau_square + squares_ +
                        count_ * prior.kappa * off * off / kappa;
  return {m, kappa, nu, spread / nu};
}

double Belief::Draw(const Prior& prior, Draws& draws) const {
  const auto [m, kappa, nu, tau_square] = Posterior(prior);
  if (prior.is_beta) return draws.Beta(m, kappa);
  const double variance = nu * tau_square / 2 / draws.Gamma(nu / 2);
  return m + draws.Normal() * std::sqrt(variance / kappa);
}

Thompson::Thompson(const TrialSettings& settings, std::uint64_t seed,
                   const std::vector<Prior>& of_actions)
    : settings_(settings), seed_(seed), of_actions_(of_actions), nodes_(1) {}

Thompson::Arm& Thompson::ArmOf(Node& node, ActionId action) { return At(node.arms, action); }

ActionId Thompson::BestAction(const std::vector<ActionId>& actions, Draws& draws) const {
  if (actions.size() == 1) return actions.front();
  const auto seen = [&](ActionId action) {
    return action < of_all_.size() ? of_all_[action] : Belief();
  };
  if (settings_.choice == ActionChoice::kThompson) {
    return Best(actions, [&](ActionId action) {
      return seen(action).Draw(of_actions_[action], draws);
    });
  }
  double total = 0;
  for (const Belief& belief : of_all_) total += belief.count();
  return Best(actions, [&](ActionId action) {
    const Belief belief = seen(action);
    if (belief.count() == 0) return std::numeric_limits<double>::infinity();
    return belief.mean() + std::sqrt(2 * LogOf(total) / belief.count());
  });
}

Request Thompson::Choose(const Plan& plan, std::size_t, std::uint64_t draw) {
  Draws draws(seed_, draw);
  const Prior& prior = settings_.prior;
  for (NodeId at = kRootId;;) {
    Node& node = nodes_[at];
    ActionId action = 0;
    if (IsStack()) {
      action = Best(plan.actions, [&](ActionId a) {
        return ArmOf(node, a).action.Draw(of_actions_[a], draws);
      });
    }
    const auto is_candidate = [&](NodeId child) {
      return !IsStack() || nodes_[child].action == action;
    };
    const Arm& arm = SharedArm(node, action);
    const double gen = arm.gen.Draw(prior, draws);
    const double cont = arm.cont.Draw(prior, draws);
    if (gen >= cont || std::none_of(node.children.begin(), node.children.end(), is_candidate)) {
      return {at, IsStack() ? action : BestAction(plan.actions, draws)};
    }
    at = Best(node.children, [&](NodeId child) {
      return is_candidate(child) ? nodes_[child].own.Draw(prior, draws)
                                 : -std::numeric_limits<double>::infinity();
    });
  }
}

bool Thompson::Told(const Request& request, double score) {
  const auto id = static_cast<NodeId>(nodes_.size());
  const ActionId action = request.action;
  At(of_all_, action);
  ActionId taken = action;
  for (NodeId at = request.node; at != kNoNode; at = nodes_[at].parent) {
    ArmOf(nodes_[at], taken);
    taken = nodes_[at].action;
  }
  nodes_[request.node].children.reserve(nodes_[request.node].children.size() + 1);
  nodes_.emplace_back();
  // nothing below needs memory
  Node& fresh = nodes_.back();
  fresh.parent = request.node;
  fresh.action = action;
  fresh.own.See(score);
  nodes_[request.node].children.push_back(id);
  of_all_[action].See(score);
  SharedArm(nodes_[request.node], action).gen.See(score);
  ArmOf(nodes_[request.node], action).action.See(score);
  for (NodeId at = request.node; nodes_[at].parent != kNoNode; at = nodes_[at].parent) {
    Node& child = nodes_[at];
    Node& above = nodes_[child.parent];
    child.own.See(score);
    SharedArm(above, child.action).cont.See(score);
    ArmOf(above, child.action).action.See(score);
  }
  return false;
}

}  // namespace rts
