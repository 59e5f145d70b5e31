// Random asking, telling, forking and saving: searches go on from copies as they would have.
#include "trials/search.h"

#include <random>
#include <vector>

#include "check.h"
#include "core/error.h"

namespace rts {
namespace {

TrialSettings SettingsOf(std::uint32_t number) {
  TrialSettings settings;
  settings.rule = static_cast<TrialRule>(number % 3);
  settings.distinct = number % 2 == 1 || settings.rule == TrialRule::kMctsG;
  settings.choice = static_cast<ActionChoice>(number / 3 % 3);
  settings.prior.is_beta = number % 2 == 1;
  settings.samples = 1 + number % 4;
  settings.max_nodes = 4096;
  return settings;
}

// The state of a search as far as anybody can tell.
std::vector<std::uint64_t> Seen(Search& search) {
  std::vector<std::uint64_t> seen{search.version()};
  for (TrialId id = 0; id < search.NumTrials(search.version()); ++id) {
    const Trial trial = search.TrialAt(id, search.version());
    seen.insert(seen.end(), {trial.request.node, trial.request.action,
                             static_cast<std::uint64_t>(trial.status), trial.finished_at});
  }
  for (NodeId node = 0; node <= search.NumNodes(search.version()); ++node) {
    if (const auto count = search.CountOf(node)) seen.push_back(count->visits);
  }
  return seen;
}

void Grow(Search& search, std::mt19937& random, int events) {
  const std::vector<ActionId> both{0, 1};
  for (int i = 0; i < events; ++i) {
    const auto trials = static_cast<std::uint32_t>(search.NumTrials(search.version()));
    if (trials == 0 || random() % 2 == 0) {
      const TrialId id = search.Ask(both, random() % 5, 1);
      if (random() % 8 == 0) search.Withdraw(id);
    } else {
      const auto id = static_cast<TrialId>(random() % 3 == 0 ? random() % trials : trials - 1);
      search.Tell(id, static_cast<double>(random() % 5) / 4, 2);
    }
  }
}

void TestSearchWhenCopiedGoesOnAlike() {
  for (std::uint32_t number = 0; number < 180; ++number) {
    std::mt19937 random(number);
    const TrialSettings settings = SettingsOf(number);
    const std::vector<Prior> priors{settings.prior, settings.prior};
    Search search(settings, 7, 1);
    for (const Prior& prior : priors) search.AddAction(prior);
    Grow(search, random, 80);
    const Version middle = search.version();
    const std::vector<std::uint64_t> seen = Seen(search);
    const auto loaded = Search::FromWords(search.ToWords(), settings, priors, 2);
    CHECK_EQ(Seen(*loaded), seen);
    std::mt19937 same = random;
    Grow(search, random, 80);
    Grow(*loaded, same, 80);
    CHECK_EQ(Seen(*loaded), Seen(search));
    CHECK_EQ(Seen(*search.Fork(middle, settings, priors, 3)), seen);
  }
}

void TestWordsWhenCutOrChangedAreRefused() {
  const TrialSettings settings = SettingsOf(0);
  Search search(settings, 7, 1);
  search.AddAction(settings.prior);
  search.AddAction(settings.prior);
  std::mt19937 random(1);
  Grow(search, random, 60);
  const std::vector<std::uint64_t> words = search.ToWords();
  const std::vector<Prior> priors(2);
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::vector<std::uint64_t> changed = words;
    changed[i] ^= 1;
    CHECK_THROWS(Search::FromWords(changed, settings, priors, 1), Fault::kCorruptData);
    changed.resize(i);
    CHECK_THROWS(Search::FromWords(changed, settings, priors, 1), Fault::kCorruptData);
  }
}

}  // namespace
}  // namespace rts

int main() {
  using namespace rts;
  return check::RunAll("search_test",
                       {
                           {"copies", &TestSearchWhenCopiedGoesOnAlike},
                           {"damaged words", &TestWordsWhenCutOrChangedAreRefused},
                       });
}
