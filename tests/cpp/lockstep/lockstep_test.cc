// Random searches in step: what they count adds up, and calls that are refused leave no trace.
#include "lockstep/lockstep.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

#include "check.h"
#include "core/error.h"

namespace rts {
namespace {

using Method = Lockstep::Method;

constexpr int kSimulations = 20;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// What a model says of some states.
struct Answer {
  std::vector<float> rewards, values;
  std::vector<std::vector<float>> logits;

  Rows rows() const { return {logits.begin(), logits.end()}; }
};

// A model, the shape of the searches that ask it, and the searches.
class Problem {
 public:
  Problem(std::uint32_t number, Method method)
      : method_(method), random_(number), size_(1 + number % 3), actions_(1 + number % 5) {
    const bool are_two = method == Method::kMuZero && number % 2 == 1;
    players_.assign(size_, are_two ? 1 : -1);
    if (number % 4 == 3) ties_ = number;
    std::vector<std::vector<std::int32_t>> legal(size_);
    for (auto& some : legal) {
      for (std::int32_t a = 0; number % 3 != 0 && a < actions_; ++a) {
        if (random_() % 3 != 0) some.push_back(a);
      }
      count_.push_back(some.empty() ? actions_ : static_cast<std::int32_t>(some.size()));
    }
    search_.emplace(method, std::move(legal));
  }

  Answer Ask() {
    Answer answer;
    for (std::size_t i = 0; i < size_; ++i) {
      answer.rewards.push_back(Number());
      answer.values.push_back(Number());
      std::vector<float>& row = answer.logits.emplace_back();
      for (std::int32_t a = 0; a < actions_; ++a) row.push_back(Number());
    }
    return answer;
  }

  void Prepare(const Answer& answer) {
    const std::vector<float> none(size_);
    const auto values = method_ == Method::kGumbel ? answer.values : std::vector<float>();
    search_->Prepare(0, {}, none, values, answer.rows(), players_);
  }
  void Traverse(float discount, const std::vector<std::int32_t>& players) {
    if (method_ == Method::kMuZero) {
      search_->Traverse({19652, 1.25f, discount, 0.01f}, players, ties_);
    } else {
      search_->Traverse(kSimulations, 4, discount, players);
    }
  }
  void Traverse() { Traverse(kDiscount, players_); }
  void BackPropagate(std::int32_t x, const Answer& answer) {
    search_->BackPropagate(x, kDiscount, answer.rewards, answer.values, answer.rows(),
                           search_->leaves().player);
  }

  // All calls that are wrong at this moment.
  void Err(std::int32_t x, const Answer& answer) {
    CHECK_THROWS(Prepare(answer), Fault::kInvalidArgument);  // a second time
    CHECK_THROWS(Traverse(kNaN, players_), Fault::kInvalidArgument);
    CHECK_THROWS(Traverse(kDiscount, {}), Fault::kInvalidArgument);
    CHECK_THROWS(Traverse(kDiscount, std::vector<std::int32_t>(size_, 3)), Fault::kInvalidArgument);
    for (int kind = 0; kind < 6; ++kind) {
      Answer wrong = answer;
      if (kind == 0) wrong.values.back() = kNaN;
      if (kind == 1) wrong.rewards.back() = 1e30f;
      if (kind == 2) wrong.values.pop_back();
      if (kind == 3) wrong.logits.pop_back();
      if (kind == 4) wrong.logits.back().clear();
      if (kind == 5) wrong.logits.back().assign(2, kNaN);
      CHECK_THROWS(BackPropagate(x, wrong), Fault::kInvalidArgument);
    }
  }

  Lockstep& search() { return *search_; }
  std::size_t num_actions() const { return static_cast<std::size_t>(actions_); }
  const std::vector<std::int32_t>& count() const { return count_; }

  static constexpr float kDiscount = 0.9f;

 private:
  float Number() { return static_cast<float>(random_() % 17) / 8 - 1; }

  const Method method_;
  std::mt19937 random_;
  const std::size_t size_;
  const std::int32_t actions_;
  std::vector<std::int32_t> players_, count_;
  std::optional<std::uint64_t> ties_;
  std::optional<Lockstep> search_;
};

template <typename Body>
void ForEachProblem(Body body) {
  for (std::uint32_t number = 0; number < 60; ++number) {
    body(number, Method::kMuZero);
    body(number, Method::kGumbel);
  }
}

void TestSearchWhenCallsAreRefusedGoesOnAsWithoutThem() {
  ForEachProblem([](std::uint32_t number, Method method) {
    Problem calm(number, method), disturbed(number, method);
    calm.Prepare(calm.Ask());
    disturbed.Prepare(disturbed.Ask());
    for (std::int32_t x = 1; x <= kSimulations; ++x) {
      calm.Traverse();
      disturbed.Traverse();
      CHECK_EQ(disturbed.search().leaves().action, calm.search().leaves().action);
      CHECK_EQ(disturbed.search().leaves().depth, calm.search().leaves().depth);
      const Answer answer = calm.Ask();
      CHECK_EQ(disturbed.Ask().values, answer.values);
      disturbed.Err(x, answer);
      calm.BackPropagate(x, answer);
      disturbed.BackPropagate(x, answer);
      CHECK_THROWS(disturbed.BackPropagate(x, answer), Fault::kInvalidArgument);
    }
    CHECK_EQ(disturbed.search().Distributions(), calm.search().Distributions());
    CHECK_EQ(disturbed.search().Values(), calm.search().Values());
    CHECK_EQ(disturbed.search().Trajectories(), calm.search().Trajectories());
  });
}

void TestVisitsWhenAddedAreTheSimulations() {
  ForEachProblem([](std::uint32_t number, Method method) {
    Problem problem(number, method);
    problem.Prepare(problem.Ask());
    for (std::int32_t x = 1; x <= kSimulations; ++x) {
      problem.Traverse();
      for (const std::int32_t above : problem.search().leaves().x) CHECK(above >= 0 && above < x);
      problem.BackPropagate(x, problem.Ask());
      const auto visits = problem.search().Distributions();
      for (std::size_t i = 0; i < visits.size(); ++i) {
        CHECK_EQ(std::accumulate(visits[i].begin(), visits[i].end(), 0), x);
        CHECK_EQ(static_cast<std::int32_t>(visits[i].size()), problem.count()[i]);
      }
    }
    if (method == Method::kMuZero) return;
    for (const auto& policy :
         problem.search().Policies(Problem::kDiscount, problem.num_actions())) {
      CHECK(std::abs(std::accumulate(policy.begin(), policy.end(), 0.0) - 1) < 1e-12);
    }
  });
}

void TestTraverseWhenRepeatedTakesTheLeavesBack() {
  ForEachProblem([](std::uint32_t number, Method method) {
    if (number % 4 == 3) return;  // ties go by chance
    Problem problem(number, method);
    problem.Prepare(problem.Ask());
    for (std::int32_t x = 1; x <= 5; ++x) {
      problem.Traverse();
      const std::vector<std::int32_t> before = problem.search().leaves().action;
      problem.Traverse();
      CHECK_EQ(problem.search().leaves().action, before);
      problem.BackPropagate(x, problem.Ask());
    }
  });
}

void TestSearchWhenItHasNoTreesHasNothingToTell() {
  Lockstep search(Method::kGumbel, {{0, 2}, {1}});
  const auto has_nothing = [&] {
    const std::vector<std::int32_t> players{-1, -1};
    CHECK_THROWS(search.Traverse(4, 2, 1.0f, players), Fault::kInvalidArgument);
    CHECK_THROWS(search.Policies(1.0f, 3), Fault::kInvalidArgument);
    CHECK_THROWS(search.ChildrenValues(1.0f, 3), Fault::kInvalidArgument);
    CHECK_EQ(search.Values(), std::vector<double>(2));
    CHECK_EQ(search.Trajectories(), std::vector<std::vector<std::int32_t>>(2));
  };
  has_nothing();
  const std::vector<float> zeros(2), row(3);
  search.Prepare(0, {}, zeros, zeros, {row, row}, std::vector<std::int32_t>{-1, -1});
  CHECK_EQ(search.Policies(1.0f, 3).size(), std::size_t{2});
  CHECK_THROWS(search.Policies(1.0f, 2), Fault::kInvalidArgument);
  search.Clear();
  has_nothing();
  search.Clear();
  CHECK_THROWS(Lockstep(Method::kMuZero, {{0, 1, 0}}), Fault::kInvalidArgument);
}

}  // namespace
}  // namespace rts

int main() {
  using namespace rts;
  return check::RunAll("lockstep_test",
                       {
                           {"refused calls", &TestSearchWhenCallsAreRefusedGoesOnAsWithoutThem},
                           {"visits", &TestVisitsWhenAddedAreTheSimulations},
                           {"repeated ways", &TestTraverseWhenRepeatedTakesTheLeavesBack},
                           {"no trees", &TestSearchWhenItHasNoTreesHasNothingToTell},
                       });
}
