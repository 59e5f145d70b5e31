// A search as numbers: "RTSTRIAL", format version, checksum of what follows; then version and seed,
// plans, trials (seven words each), nodes, and the counts of each node if the chooser keeps them.
#include <bit>
#include <string>
#include <utility>

#include "core/error.h"
#include "support/mix.h"
#include "trials/search.h"

namespace rts {
namespace {

constexpr std::uint64_t kMagic = 0x4C41495254535452;  // "RTSTRIAL"
constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kHeader = 3;
constexpr std::size_t kTrialWords = 7;

using Words = std::vector<std::uint64_t>;

std::uint64_t Checksum(std::span<const std::uint64_t> words) {
  std::uint64_t state = Mix(kMixSeed, words.size());
  for (const std::uint64_t word : words) state = Mix(state, word);
  return state;
}

[[noreturn]] void Fail(const std::string& what) { throw Error(Fault::kCorruptData, what); }

std::uint64_t Pair(std::uint64_t low, std::uint64_t high) { return low | high << 32; }
std::uint32_t Low(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
std::uint32_t High(std::uint64_t word) { return static_cast<std::uint32_t>(word >> 32); }

class Reader {
 public:
  explicit Reader(std::span<const std::uint64_t> words) : words_(words) {}
  std::uint64_t Next() {
    if (words_.empty()) Fail("the saved search was cut short");
    const std::uint64_t word = words_.front();
    words_ = words_.subspan(1);
    return word;
  }
  // How many items of so many words follow.
  std::size_t Count(std::size_t words_each) {
    const std::uint64_t count = Next();
    if (count > words_.size() / words_each) Fail("the saved search was cut short");
    return static_cast<std::size_t>(count);
  }
  bool at_end() const { return words_.empty(); }

 private:
  std::span<const std::uint64_t> words_;
};

void Check(bool holds) {
  if (!holds) Fail("the saved search contradicts itself: the bytes were damaged");
}

}  // namespace

std::vector<std::uint64_t> Search::ToWords() {
  Words words{kMagic, kFormat, 0, version_, seed_};
  words.push_back(plans_.size());
  for (const Plan& plan : plans_) {
    words.push_back(plan.samples);
    words.push_back(plan.actions.size());
    words.insert(words.end(), plan.actions.begin(), plan.actions.end());
  }
  words.push_back(trials_.size());
  for (const Trial& trial : trials_) {
    words.insert(words.end(), {std::bit_cast<std::uint64_t>(trial.score),
                               static_cast<std::uint64_t>(trial.created),
                               static_cast<std::uint64_t>(trial.completed), trial.salt,
                               Pair(trial.request.node, trial.request.action),
                               Pair(trial.asked_at, trial.finished_at),
                               Pair(trial.plan, static_cast<std::uint64_t>(trial.status))});
  }
  words.push_back(nodes_.size());
  words.insert(words.end(), nodes_.begin(), nodes_.end());
  const std::size_t num_counts = chooser_->CountOf(kRootId) ? nodes_.size() + 1 : 0;
  words.push_back(num_counts);
  for (NodeId node = 0; node < num_counts; ++node) {
    const Count count = *chooser_->CountOf(node);
    words.push_back(count.visits);
    words.push_back(std::bit_cast<std::uint64_t>(count.value_sum));
  }
  words[2] = Checksum(std::span(words).subspan(kHeader));
  return words;
}

std::unique_ptr<Search> Search::FromWords(std::span<const std::uint64_t> words,
                                          const TrialSettings& settings,
                                          std::vector<Prior> of_actions, std::uint64_t salt) {
  if (words.size() < kHeader || words[0] != kMagic) Fail("these bytes are not a saved search");
  if (words[1] != kFormat) {
    Fail("the search was saved in format " + std::to_string(words[1]) +
         ", this version reads format " + std::to_string(kFormat));
  }
  if (words[2] != Checksum(words.subspan(kHeader))) {
    Fail("the checksum of the saved search does not match: the bytes were damaged");
  }
  Reader in(words.subspan(kHeader));
  const auto version = static_cast<Version>(in.Next());
  auto search = std::make_unique<Search>(settings, in.Next(), salt);
  search->version_ = version;
  search->of_actions_ = std::move(of_actions);
  const std::size_t num_actions = search->num_actions();
  for (std::size_t i = in.Count(2); i > 0; --i) {
    Plan plan{static_cast<std::uint32_t>(in.Next()), {}};
    for (std::size_t j = in.Count(1); j > 0; --j) {
      plan.actions.push_back(static_cast<ActionId>(in.Next()));
      Check(plan.actions.back() < num_actions);
    }
    Check(plan.samples >= 1 && plan.samples <= 0xFFFF && !plan.actions.empty());
    search->plans_.push_back(std::move(plan));
  }
  std::vector<Trial>& trials = search->trials_;
  Version before = 0;
  for (std::size_t i = in.Count(kTrialWords); i > 0; --i) {
    Trial trial;
    trial.score = std::bit_cast<double>(in.Next());
    trial.created = static_cast<std::int64_t>(in.Next());
    trial.completed = static_cast<std::int64_t>(in.Next());
    trial.salt = in.Next();
    const std::uint64_t request = in.Next();
    const std::uint64_t events = in.Next();
    const std::uint64_t rest = in.Next();
    trial.request = {Low(request), High(request)};
    trial.asked_at = Low(events);
    trial.finished_at = High(events);
    trial.plan = static_cast<std::uint16_t>(rest);
    trial.status = static_cast<TrialStatus>(High(rest));
    const bool runs = trial.status == TrialStatus::kRunning;
    Check(trial.plan < search->plans_.size() && trial.request.action < num_actions);
    Check(trial.status <= TrialStatus::kInvalid && trial.asked_at > before);
    Check(runs ? trial.finished_at == 0
               : trial.finished_at > trial.asked_at && trial.finished_at <= version);
    Check(trial.score >= 0 && trial.score <= 1);
    before = trial.asked_at;
    trials.push_back(trial);
  }
  Check(before <= version);
  std::vector<TrialId>& nodes = search->nodes_;
  before = 0;
  for (std::size_t i = in.Count(1); i > 0; --i) {
    const auto id = static_cast<TrialId>(in.Next());
    Check(id < trials.size() && trials[id].status == TrialStatus::kComplete &&
          trials[id].finished_at > before && trials[id].request.node <= nodes.size());
    before = trials[id].finished_at;
    nodes.push_back(id);
  }
  for (const Trial& trial : trials) Check(trial.request.node <= nodes.size());
  std::vector<Count> counts;
  for (std::size_t i = in.Count(2); i > 0; --i) {
    const auto visits = static_cast<std::uint32_t>(in.Next());
    counts.push_back({visits, std::bit_cast<double>(in.Next()), 1});
  }
  Check(in.at_end() && (counts.empty() || counts.size() == nodes.size() + 1));
  search->Rebuild(counts);
  return search;
}

}  // namespace rts
