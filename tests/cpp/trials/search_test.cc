// Random asking, telling, forking and saving: searches go on from copies as they would have, and the
// rule of treequest's StandardMCTS is what its formula says, read from the root down.
#include "trials/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

// StandardMCTS as one would write it down.
class SlowTree {
 public:
  explicit SlowTree(double exploration) : exploration_(exploration), nodes_(1) {}

  NodeId Best() const {
    NodeId at = 0;
    while (!nodes_[at].children.empty()) {
      const std::vector<double> priors = Priors(nodes_[at].children);
      double best = -std::numeric_limits<double>::infinity();
      NodeId next = 0;
      for (std::size_t i = 0; i < priors.size(); ++i) {
        const Node& child = nodes_[nodes_[at].children[i]];
        const double bonus = std::sqrt(std::log(nodes_[at].visits) / child.visits);
        const double score = child.sum / child.visits + exploration_ * priors[i] * bonus;
        if (score > best) {
          best = score;
          next = nodes_[at].children[i];
        }
      }
      at = next;
    }
    return at;
  }

  void Add(NodeId parent, double score) {
    const auto id = static_cast<NodeId>(nodes_.size());
    nodes_.push_back({parent, score, 0, 0, {}});
    nodes_[parent].children.push_back(id);
    for (NodeId at = id;; at = nodes_[at].parent) {
      nodes_[at].sum += score;
      nodes_[at].visits += 1;
      if (at == 0) return;
    }
  }

 private:
  struct Node {
    NodeId parent = 0;
    double score = 0;
    double sum = 0;
    double visits = 0;
    std::vector<NodeId> children;
  };

  std::vector<double> Priors(const std::vector<NodeId>& children) const {
    double highest = 0;
    for (const NodeId id : children) highest = std::max(highest, nodes_[id].score);
    std::vector<double> priors;
    double sum = 0;
    for (const NodeId id : children) {
      priors.push_back(std::exp(nodes_[id].score - highest));
      sum += priors.back();
    }
    for (double& prior : priors) prior = children.size() == 1 ? 1 : prior / sum;
    return priors;
  }

  double exploration_;
  std::vector<Node> nodes_;
};

// With few different scores, siblings whose values differ in their last bit alone abound.
void TestSoftmaxWhenSteppedExpandsTheLeafOfTheFormula() {
  const double explorations[] = {std::sqrt(2.0), 0.1, 0.0, 1e300};
  for (std::uint32_t number = 0; number < 160; ++number) {
    std::mt19937 random(number);
    TrialSettings settings;
    settings.rule = TrialRule::kSoftmax;
    settings.samples = 1 + number % 4;
    settings.exploration = explorations[number / 4 % 4];
    const std::uint32_t levels = number % 5 == 0 ? 1'000'000 : 1 + number % 5;
    Search search(settings, 1, 2);
    std::vector<ActionId> actions;
    for (ActionId action = 0; action <= number / 16 % 2; ++action) {
      search.AddAction({});
      actions.push_back(action);
    }
    SlowTree slow(settings.exploration);
    const auto children = static_cast<int>(settings.samples * actions.size());
    // past the tables of logarithms and roots, once
    const int steps = number == 1 ? 6000 : 600;
    NodeId leaf = 0;
    for (int step = 0; step < steps; ++step) {
      if (step % children == 0) leaf = slow.Best();
      const TrialId trial = search.Ask(actions, 0, 0);
      CHECK_EQ(search.RequestOf(trial).node, leaf);
      const double score = static_cast<double>(random() % (levels + 1)) / levels;
      search.Tell(trial, score, 0);
      slow.Add(leaf, score);
    }
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
                           {"softmax", &TestSoftmaxWhenSteppedExpandsTheLeafOfTheFormula},
                           {"damaged words", &TestWordsWhenCutOrChangedAreRefused},
                       });
}
