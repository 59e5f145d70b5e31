// AB-MCTS-A (arXiv 2503.04412): at each node, Thompson sampling decides whether it gets a new child
// (GEN) or the search goes on to one that it has (CONT), to which one, and by which action.
//
// Beliefs are conjugate posteriors of the scores seen: GEN of those of a node's own children, CONT of
// those below them, each child of its own and those below it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "trials/chooser.h"
#include "trials/draws.h"
#include "trials/settings.h"

namespace rts {

// The scores that were seen of something, and what follows from them.
class Belief {
 public:
  void See(double score);
  // (m, kappa, nu, tau_square), or (a, b, 0, 0).
  std::array<double, 4> Posterior(const Prior& prior) const;
  // Of the mean of the scores.
  double Draw(const Prior& prior, Draws& draws) const;
  double count() const { return count_; }
  double mean() const { return mean_; }

 private:
  double count_ = 0;
  double mean_ = 0;
  double squares_ = 0;  // sum of squared deviations from the mean
  double sum_ = 0;
};

class Thompson final : public Chooser {
 public:
  Thompson(const TrialSettings& settings, std::uint64_t seed, const std::vector<Prior>& of_actions);

  Request Choose(const Plan& plan, std::size_t place, std::uint64_t draw) override;
  void Asked(const Request&, const Plan&) override {}
  void Withdrawn(const Request&) override {}
  bool Told(const Request& request, double score) override;

  // What one node believes: of GEN and CONT (of each action where it is chosen first, else in all), of
  // each action, and of each child.
  struct Arm {
    Belief gen;
    Belief cont;
    Belief action;
  };
  struct Node {
    NodeId parent = kNoNode;
    ActionId action = 0;  // that made it
    Belief own;
    std::vector<Arm> arms;
    std::vector<NodeId> children;
  };
  const Node& node(NodeId id) const { return nodes_[id]; }
  const Prior& PriorOf(ActionId action) const { return of_actions_[action]; }

 private:
  bool IsStack() const { return settings_.choice == ActionChoice::kStack; }
  Arm& ArmOf(Node& node, ActionId action);
  Arm& SharedArm(Node& node, ActionId action) { return ArmOf(node, IsStack() ? action : 0); }
  ActionId BestAction(const std::vector<ActionId>& actions, Draws& draws) const;

  const TrialSettings settings_;
  const std::uint64_t seed_;
  const std::vector<Prior>& of_actions_;
  std::vector<Node> nodes_;
  std::vector<Belief> of_all_;  // by action, over the whole tree
};

}  // namespace rts
