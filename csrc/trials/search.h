// A search by asking and telling: trials that are handed out, and nodes that they became.
//
// The trials are the whole state; what the chooser knows follows from them. They are only ever
// appended, and marked once with the event that finished them, so that the search as it was after any
// number of events can be read at any time, and gone on from by Fork(). A copy that is not changed
// costs nothing.
//
// A search trusts its caller: scores and actions were checked. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "trials/chooser.h"
#include "trials/settings.h"

namespace rts {

using TrialId = std::uint32_t;
using Version = std::uint32_t;  // events so far

enum class TrialStatus : std::uint8_t { kRunning, kComplete, kInvalid };

struct Trial {
  double score = 0;            // of a complete one
  std::int64_t created = 0;    // nanoseconds since 1970
  std::int64_t completed = 0;  // of one that does not run
  std::uint64_t salt = 0;      // tells trials of equal number in different copies apart
  Request request;
  Version asked_at = 0;
  Version finished_at = 0;
  std::uint16_t plan = 0;
  TrialStatus status = TrialStatus::kRunning;
};

class Search {
 public:
  // Equal seeds give equal choices; salts are for nothing but names.
  Search(const TrialSettings& settings, std::uint64_t seed, std::uint64_t salt);
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  // Actions are numbered in the order in which they are added; the prior is for AB-MCTS-A.
  void AddAction(const Prior& prior) { of_actions_.push_back(prior); }
  std::size_t num_actions() const { return of_actions_.size(); }
  bool HasPriors(const std::vector<Prior>& of_actions) const { return of_actions_ == of_actions; }

  // Hand out a trial, the `place`-th of a batch, among actions.
  TrialId Ask(std::span<const ActionId> actions, std::size_t place, std::int64_t now);
  // The last event was to ask for this trial, and is to be none.
  void Withdraw(TrialId trial);
  // False if the trial does not run: nothing happens then.
  bool Tell(TrialId trial, double score, std::int64_t now);

  Version version() const { return version_; }
  const TrialSettings& settings() const { return settings_; }

  // As of a version.
  std::size_t NumTrials(Version version) const;
  std::size_t NumNodes(Version version) const;  // without the root
  Trial TrialAt(TrialId trial, Version version) const;
  const Request& RequestOf(TrialId trial) const { return trials_[trial].request; }
  TrialId TrialOfNode(NodeId node) const { return nodes_[node - 1]; }
  double ScoreOfNode(NodeId node) const { return trials_[nodes_[node - 1]].score; }
  std::optional<Count> CountOf(NodeId node) { return chooser_->CountOf(node); }
  const Chooser& chooser() const { return *chooser_; }

  // The search as of a version, to be gone on with by itself, perhaps with other settings.
  std::unique_ptr<Search> Fork(Version version, const TrialSettings& settings,
                               std::vector<Prior> of_actions, std::uint64_t salt);

  // The same as numbers (search_words.cc), and back. Throws Error(kCorruptData).
  std::vector<std::uint64_t> ToWords();
  static std::unique_ptr<Search> FromWords(std::span<const std::uint64_t> words,
                                           const TrialSettings& settings,
                                           std::vector<Prior> of_actions, std::uint64_t salt);

 private:
  std::uint16_t PlanOf(std::span<const ActionId> actions);
  // Derive everything from trials, of which the complete ones are listed in nodes_.
  void Rebuild(std::span<const Count> counts);

  const TrialSettings settings_;
  std::uint64_t seed_;
  const std::uint64_t salt_;
  std::uint64_t forks_ = 0;
  std::vector<Prior> of_actions_;
  std::vector<Plan> plans_;
  std::vector<Trial> trials_;
  std::vector<TrialId> nodes_;    // the trial of each node but the root
  std::vector<TrialId> running_;
  Version version_ = 0;
  std::unique_ptr<Chooser> chooser_;
};

}  // namespace rts
