// The rules that weigh siblings, on numbers worked out by hand; sequential halving step by step.
#include "core/muzero.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "support/numeric.h"

namespace rts {
namespace {

using Family = std::vector<Sibling>;

bool Near(double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(1.0, std::abs(b)); }

// Two visited children, one that is closed besides, and two without visits.
Family Five() {
  return {
      {1, true, true, 0.25, 0.5, 4, 0},  {2, false, true, 0.125, 0.75, 2, 0},
      {3, true, true, 0.125, 0.25, 1, 0}, {4, true, false, 0.375, 0, 0, 0},
      {5, true, false, 0.125, 0, 0, 0},
  };
}

ScoreTerms Terms(double exploration, double mean) {
  return {exploration, mean, 1, 0, 1, nullptr};
}

void TestMuZeroMeasuresFromTheLowestToTheHighest() {
  Family siblings = Five();
  const Choice best = ChooseMuZero(siblings, Terms(1, 0.25));
  // the range is [0.25, 0.75]: the closed child counts
  CHECK(Near(siblings[0].score, 0.5 + 0.25 / 5));
  CHECK(Near(siblings[2].score, 0.0 + 0.125 / 2));
  CHECK(Near(siblings[3].score, 0.0 + 0.375));
  CHECK_EQ(best.id, 1u);
  CHECK_EQ(best.value, 0.5);
  CHECK_EQ(best.visits, 4.0);
}

void TestMuZeroCountsTheParentInTheRange() {
  Family siblings = Five();
  ChooseMuZero(siblings, Terms(1, -0.25));
  CHECK(Near(siblings[0].score, 0.75 + 0.25 / 5));
  CHECK(Near(siblings[3].score, 0.375));
  siblings = Five();
  ChooseMuZero(siblings, Terms(1, 1.25));
  CHECK(Near(siblings[0].score, 0.25 + 0.25 / 5));
}

void TestMuZeroOfEqualValuesDividesByNoZero() {
  Family siblings = Five();
  for (Sibling& sibling : siblings) sibling.value = 0.5;
  const Choice best = ChooseMuZero(siblings, Terms(1, 0.5));
  CHECK_EQ(best.id, 4u);
  CHECK(Near(best.score, 0.375));
}

void TestMuZeroTreeMeasuresOnTheScaleItIsGiven() {
  Family siblings = Five();
  const Choice best = ChooseMuZeroTree(siblings, Terms(1, 9), 0.3, {-0.5, 1.5}, 0.01, 0);
  CHECK(Near(siblings[0].score, 1.0 / 2 + 0.25 / 5));
  CHECK(Near(siblings[3].score, 0.8 / 2 + 0.375));
  CHECK_EQ(best.id, 4u);
  CHECK_EQ(best.value, 0.3);  // for the level below
  siblings = Five();
  ChooseMuZeroTree(siblings, Terms(1, 9), 0.3, {0.25, 0.5}, 2, 0);
  CHECK(Near(siblings[0].score, 0.25 / 2 + 0.25 / 5));  // no narrower than 2
  CHECK(Near(siblings[1].score, 0.5 / 2 + 0.125 / 3));
}

void TestMuZeroTreeKeepsValuesInTheUnitInterval() {
  Family siblings = Five();
  ChooseMuZeroTree(siblings, Terms(0, 9), -0.3, {0.3, 0.6}, 0, 0);
  CHECK_EQ(siblings[1].score, 1.0);
  CHECK_EQ(siblings[2].score, 0.0);
  CHECK_EQ(siblings[3].score, 0.0);
  siblings = Five();
  ChooseMuZeroTree(siblings, Terms(0, 9), 0.3, Range{}, 0, 0);  // no scale yet
  CHECK_EQ(siblings[1].score, 0.75);
  CHECK_EQ(siblings[3].score, 0.3);
}

void TestMuZeroTreeBreaksTiesByIdOrByChance() {
  Family siblings = Five();  // 1, 4 and 5 are open and tied, 3 is worse
  siblings[0].value = 0.4;
  siblings[2].value = 0.1;
  const Range range{0, 1};
  CHECK_EQ(ChooseMuZeroTree(siblings, Terms(0, 9), 0.4, range, 0, 0).id, 1u);
  siblings[3].value = siblings[4].value = 0;
  std::vector<int> count(6);
  Ties ties = TiesByChance(/*seed=*/7, /*place=*/0);
  for (int i = 0; i < 3000; ++i) {
    ties = NextTies(ties);
    ++count[ChooseMuZeroTree(siblings, Terms(0, 9), 0.4 - 1e-7, range, 0, TiesAt(ties, 9)).id];
  }
  CHECK_EQ(count[2] + count[3], 0);
  for (const int id : {1, 4, 5}) CHECK(count[static_cast<std::size_t>(id)] > 900);
}

// Of Five() with the raw value 1: (1 + 7 * (0.125 + 0.09375 + 0.03125) / 0.5) / 8.
constexpr double kMixed = (1.0 + 7 * 0.5) / 8;

double Logit(double prior, double value) {
  return std::log(prior) + (50 + 4) * 0.1 * (value - 0.25) / 0.5;
}

void TestGumbelCompletesValuesByTheMixture() {
  Family siblings = Five();
  const SearchParams params;
  const Choice best = ChooseGumbel(siblings, 1, params);
  CHECK(Near(siblings[3].value, kMixed));
  const double prior[] = {0.25, 0.125, 0.125, 0.375, 0.125};
  const double value[] = {0.5, 0.75, 0.25, kMixed, kMixed};
  const double visits[] = {4, 2, 1, 0, 0};
  double total = 0;
  for (int i = 0; i < 5; ++i) total += std::exp(Logit(prior[i], value[i]));
  for (std::size_t i = 0; i < 5; ++i) {
    const double wanted = std::exp(Logit(prior[i], value[i])) / total - visits[i] / 8;
    CHECK(Near(siblings[i].score, wanted));
  }
  CHECK_EQ(best.id, 4u);  // the second would be better and is closed
}

void TestGumbelRootTakesTheOnesWhoseTurnItIs() {
  const SearchParams params;
  // seven simulations are done, and four children get two each before half of them are left
  CHECK_EQ(ConsideredVisits(4, 20, 7), 1u);
  Family siblings = Five();
  CHECK_EQ(ChooseGumbelRoot(siblings, 1, params, {{}, 20, 4}).id, 3u);
  CHECK(Near(siblings[2].score, Logit(0.125, 0.25)));
  // were it closed, the best of all open ones would be next
  siblings = Five();
  siblings[2].is_open = false;
  CHECK_EQ(ChooseGumbelRoot(siblings, 1, params, {{}, 20, 4}).id, 4u);
  // noise is of the first children
  siblings = Five();
  siblings[2].is_open = false;
  CHECK_EQ(ChooseGumbelRoot(siblings, 1, params, {{9}, 20, 4}).id, 1u);
}

void TestGumbelRootLeavesPriorsOfZeroForLast() {
  Family siblings = Five();
  for (Sibling& sibling : siblings) sibling = {sibling.id, true, false, sibling.prior, 0, 0, 0};
  siblings[3].prior = 0;
  const SearchParams params;
  const GumbelPlan plan{{0, 0, 0, 100, 0}, 4, 16};
  const NodeId order[] = {1, 2, 3, 5};
  for (const NodeId id : order) {
    const Choice best = ChooseGumbelRoot(siblings, 1, params, plan);
    CHECK_EQ(best.id, id);
    for (Sibling& sibling : siblings) sibling.visits += sibling.id == id;
  }
  // four of five are possible: the second round is of those with one visit
  CHECK_EQ(ChooseGumbelRoot(siblings, 1, params, plan).id, 1u);
}

// Sequential halving as its authors write it, one simulation after the other.
std::vector<std::uint64_t> Halving(std::uint64_t considered, std::uint64_t num_simulations,
                                   std::size_t length) {
  std::vector<std::uint64_t> sequence;
  std::vector<std::uint64_t> visits(std::max<std::uint64_t>(considered, 1), 0);
  const double rounds = std::max(1.0, std::ceil(std::log2(static_cast<double>(considered))));
  std::uint64_t left = visits.size();
  while (sequence.size() < length) {
    const double share =
        static_cast<double>(num_simulations) / (rounds * static_cast<double>(left));
    const auto each = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(share));
    for (std::uint64_t i = 0; i < each; ++i) {
      for (std::uint64_t child = 0; child < left; ++child) sequence.push_back(visits[child]++);
    }
    left = std::min(left, std::max<std::uint64_t>(2, left / 2));
  }
  sequence.resize(length);
  return sequence;
}

void TestConsideredVisitsAreThoseOfSequentialHalving() {
  for (const std::uint64_t considered : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 16u, 17u, 100u}) {
    for (const std::uint64_t simulations : {1u, 2u, 7u, 16u, 50u, 200u, 1000u}) {
      const std::size_t length = 300;
      const auto wanted = Halving(considered, simulations, length);
      for (std::size_t i = 0; i < length; ++i) {
        CHECK_EQ(ConsideredVisits(considered, simulations, i), wanted[i]);
      }
    }
  }
  CHECK(ConsideredVisits(16, 1u << 30, 0x7FFFFFFF) > 1u << 28);
}

void TestExpIsThatOfTheLibraryToTheLastPlaces() {
  for (double x = 0; x > -708; x -= 0.0137) {
    CHECK(std::abs(ExpOf(x) - std::exp(x)) <= 1e-15 * std::exp(x));
  }
  CHECK_EQ(ExpOf(0), 1.0);
  CHECK_EQ(ExpOf(-709), 0.0);
  CHECK_EQ(ExpOf(-1e200), 0.0);
}

void TestLogIsThatOfTheLibraryToTheLastPlaces() {
  for (double x = 1e-38; x < 1e38; x *= 1.0137) {
    CHECK(std::abs(LogOf(x) - std::log(x)) <= 1e-15 * std::abs(std::log(x)));
  }
  CHECK_EQ(LogOf(1), 0.0);
}

}  // namespace
}  // namespace rts

int main() {
  using namespace rts;
  return check::RunAll(
      "muzero_test",
      {
          {"muzero's range", &TestMuZeroMeasuresFromTheLowestToTheHighest},
          {"muzero's parent", &TestMuZeroCountsTheParentInTheRange},
          {"muzero of equal values", &TestMuZeroOfEqualValuesDividesByNoZero},
          {"muzero's scale of the tree", &TestMuZeroTreeMeasuresOnTheScaleItIsGiven},
          {"muzero's unit interval", &TestMuZeroTreeKeepsValuesInTheUnitInterval},
          {"muzero's ties", &TestMuZeroTreeBreaksTiesByIdOrByChance},
          {"gumbel's mixture", &TestGumbelCompletesValuesByTheMixture},
          {"gumbel's root", &TestGumbelRootTakesTheOnesWhoseTurnItIs},
          {"gumbel and priors of zero", &TestGumbelRootLeavesPriorsOfZeroForLast},
          {"sequential halving", &TestConsideredVisitsAreThoseOfSequentialHalving},
          {"exp", &TestExpIsThatOfTheLibraryToTheLastPlaces},
          {"log", &TestLogIsThatOfTheLibraryToTheLastPlaces},
      });
}
