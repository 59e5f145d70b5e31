// Many searches in step, in the terms of code that runs a model over batches: what it keeps is named
// by the backup that brought it (x) and the place in that batch (y), children by actions, policies
// are logits. The names are LightZero's, whose two ways to search these are.
//
//   MuZero   the rule muzero_tree; the root counts one visit of value 0
//   Gumbel   the rule gumbel, on what LightZero takes for logits: the priors themselves
//
// A call that throws leaves all searches as they were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/forest.h"

namespace rts {

// A row of numbers for each search.
using Rows = std::vector<std::span<const float>>;

class Lockstep {
 public:
  enum class Method : std::uint8_t { kMuZero, kGumbel };

  // actions[i] are those that search i may begin with; none for all.
  Lockstep(Method method, std::vector<std::vector<std::int32_t>> actions);
  ~Lockstep();
  Lockstep(const Lockstep&) = delete;
  Lockstep& operator=(const Lockstep&) = delete;

  std::size_t size() const { return searches_.size(); }

  // Begin all searches. `noises` (one row for each search, in the order of its actions) goes into the
  // priors with noise_weight; no rows for none. `values` are of the roots (Gumbel; else left out).
  void Prepare(float noise_weight, const Rows& noises, std::span<const float> rewards,
               std::span<const float> values, const Rows& logits,
               std::span<const std::int32_t> players);

  // Go from each root to a leaf. MuZero breaks ties by `ties`, a seed, or without one in favour of the
  // action that was named first. Leaves that no backup has followed are taken back.
  struct MuZeroTerms {
    std::int32_t base;
    float init;
    float discount;
    float least_span;
  };
  void Traverse(const MuZeroTerms& terms, std::span<const std::int32_t> players,
                std::optional<std::uint64_t> ties);
  void Traverse(std::int32_t num_simulations, std::int32_t max_considered, float discount,
                std::span<const std::int32_t> players);

  // Of the last Traverse(): the state above each leaf, the action that leads from there to it, its
  // depth, and the player whose turn it is there.
  struct Leaves {
    std::vector<std::int32_t> x, y, action, depth, player;
  };
  const Leaves& leaves() const { return leaves_; }
  // How many times Traverse() was called; a backup answers the last one.
  std::uint64_t traversals() const { return traversals_; }

  // Expand the leaves, whose states are kept as number x, and back the values up.
  void BackPropagate(std::int32_t x, float discount, std::span<const float> rewards,
                     std::span<const float> values, const Rows& logits,
                     std::span<const std::int32_t> players);

  // --- of each root ------------------------------------------------------------------

  std::vector<std::vector<std::int32_t>> Distributions() const;  // visits, by its actions
  std::vector<double> Values() const;
  // Actions to where the last search went.
  std::vector<std::vector<std::int32_t>> Trajectories() const;
  // Gumbel: completed and weighted Q, and the policy that they improve; of `num_actions` each, -inf
  // and 0 for those that are not legal.
  std::vector<std::vector<double>> ChildrenValues(float discount, std::size_t num_actions) const;
  std::vector<std::vector<double>> Policies(float discount, std::size_t num_actions) const;
  // Drop the trees.
  void Clear();

 private:
  struct Expansion {
    NodeId parent;
    NodeId first;
    std::int32_t x;
    std::int32_t y;
  };
  struct Search {
    std::vector<std::int32_t> actions;
    std::vector<float> priors;  // of the root, as LightZero has them
    std::vector<Expansion> expansions{};  // by `first`
    std::int32_t player = -1;   // of the root
  };

  const Expansion& Above(const Search& search, NodeId node) const;
  std::int32_t ActionOf(const Search& search, const Expansion& above, NodeId node) const;
  void CheckPrepared() const;
  void CheckLength(const char* name, std::size_t have) const;
  void CheckPlayers(std::span<const std::int32_t> players) const;
  void CheckDiscount(float discount) const;
  void CheckFinite(const char* name, std::span<const float> values) const;
  // Priors of the legal ones among the actions of all rows, one after the other, in priors_ (as
  // LightZero has them), and in told_ as the core wants them.
  void ReadLogits(const Rows& logits, bool is_root, float noise_weight, const Rows& noises);
  void Begin(const SearchParams& params);
  void Go(std::span<const std::int32_t> players);
  std::vector<double> Completed(std::size_t i, float discount) const;

  const Method method_;
  std::vector<Search> searches_;
  bool is_prepared_ = false;
  std::optional<float> discount_;
  std::vector<float> root_values_;
  std::unique_ptr<Forest> forest_;  // from the first Traverse() on
  std::vector<TreeId> trees_;
  std::vector<NodeId> nodes_;  // the leaves
  bool is_waiting_ = false;    // for the backup of the leaves
  bool by_chance_ = false;
  std::uint64_t traversals_ = 0;
  std::int32_t simulations_ = 0;  // of the plan
  std::int32_t considered_ = 0;
  Leaves leaves_;
  // scratch
  std::vector<float> priors_, told_;
  std::vector<std::int32_t> counts_;
  std::vector<double> doubles_;
  std::vector<NodeId> first_;
};

}  // namespace rts
