// Choosers that take a leaf and give it so many children of each action, whatever their scores.
//
// One leaf at a time, as treequest does: a batch may ask for more children than are wanted, and those
// that are told last are superfluous. Or, with settings.distinct, as many leaves at once as a batch
// asks for; only where none is open it asks again for what is in flight.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "trials/chooser.h"
#include "trials/settings.h"

namespace rts {

// The expansion of a leaf before anything was asked.
inline void Begin(Expansion& e, NodeId node, const Plan& plan) {
  const std::size_t size = 1 + *std::max_element(plan.actions.begin(), plan.actions.end());
  e.node = node;
  e.total = e.still = plan.samples * static_cast<std::uint32_t>(plan.actions.size());
  e.wanted.assign(size, 0);
  e.asked.assign(size, 0);
  for (const ActionId action : plan.actions) e.wanted[action] += plan.samples;
}

// Actions have their turn in the order in which leaves first wanted them.
inline void AddNew(std::vector<ActionId>& order, const Plan& plan) {
  for (const ActionId action : plan.actions) {
    if (std::ranges::find(order, action) == order.end()) order.push_back(action);
  }
}

template <typename Tree>
class LeafChooser final : public Chooser {
 public:
  explicit LeafChooser(const TrialSettings& settings)
      : tree_(settings), distinct_(settings.distinct) {}

  Request Choose(const Plan& plan, std::size_t place, std::uint64_t) override {
    if (!distinct_ && num_open_ > 0) return {places_[0].node, ActionAt(places_[0], place)};
    for (const Expansion& e : std::span(places_).first(num_open_)) {
      for (const ActionId action : order_) {
        if (WantedOf(e, action) > 0 && e.asked[action] < e.wanted[action]) return {e.node, action};
      }
    }
    const NodeId leaf = tree_.Best();
    if (leaf != kNoNode) {
      AddNew(order_, plan);
      return {leaf, *std::ranges::find_first_of(order_, plan.actions)};
    }
    const Expansion& e = places_[place % num_open_];
    return {e.node, ActionAt(e, place)};
  }

  void Asked(const Request& request, const Plan& plan) override {
    auto e = Find(request.node);
    if (e == End()) {
      AddNew(order_, plan);
      if (e == places_.end()) {
        places_.emplace_back();
        e = places_.end() - 1;
      }
      Begin(*e, request.node, plan);
      tree_.Hold(request.node, e->total);
      ++num_open_;
    }
    ++e->asked[request.action];
  }

  void Withdrawn(const Request& request) override {
    const auto e = Find(request.node);
    --e->asked[request.action];
    const bool is_untouched = e->still == e->total &&
                              std::all_of(e->asked.begin(), e->asked.end(),
                                          [](std::uint32_t count) { return count == 0; });
    if (is_untouched) Close(e);
  }

  bool Told(const Request& request, double score) override {
    tree_.Add(request.node, score);
    const auto e = Find(request.node);
    --e->asked[request.action];
    --e->still;
    const bool is_last = --e->wanted[request.action] == 0;
    if (e->still == 0) Close(e);
    return is_last;
  }

  std::optional<Count> CountOf(NodeId node) override { return tree_.CountOf(node); }

  bool Load(std::span<const NodeId> parents, std::span<const double> scores,
            std::span<const Count> counts, std::vector<Expansion> open,
            std::vector<ActionId> order) override {
    if (!tree_.Load(parents, scores, counts)) return false;
    order_ = std::move(order);
    places_ = std::move(open);
    num_open_ = places_.size();
    for (const Expansion& e : places_) tree_.Hold(e.node, e.still);
    return true;
  }

 private:
  using Place = std::vector<Expansion>::iterator;

  Place End() { return places_.begin() + static_cast<std::ptrdiff_t>(num_open_); }

  Place Find(NodeId node) {
    return std::find_if(places_.begin(), End(),
                        [&](const Expansion& e) { return e.node == node; });
  }

  void Close(Place e) {
    tree_.Free(e->node, e->still);
    if (num_open_ > 1) std::rotate(e, e + 1, End());
    --num_open_;
  }

  // What the `place`-th trial of a batch is to do, if all that is wanted is asked for in turn.
  ActionId ActionAt(const Expansion& e, std::size_t place) const {
    if (place >= e.still) place %= e.still;  // a division takes longer than all the rest
    auto action = order_.begin();
    while (place >= WantedOf(e, *action)) place -= WantedOf(e, *action++);
    return *action;
  }

  static std::uint32_t WantedOf(const Expansion& e, ActionId action) {
    return action < e.wanted.size() ? e.wanted[action] : 0;
  }

  Tree tree_;
  const bool distinct_;
  // The first ones are open, in the order in which they were chosen; the others are memory for more.
  std::vector<Expansion> places_;
  std::size_t num_open_ = 0;
  std::vector<ActionId> order_;
};

}  // namespace rts
