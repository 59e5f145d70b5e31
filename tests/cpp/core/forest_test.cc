// The batch interface: checks before changes, bytes, the pool, and threads.
#include "core/forest.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "core/error.h"

namespace rts {
namespace {

using Trees = std::vector<TreeId>;
using Ids = std::vector<NodeId>;
using Counts = std::vector<std::int32_t>;
using Floats = std::vector<float>;
using Flags = std::vector<std::uint8_t>;
using Values = std::vector<double>;

constexpr Rule kRules[] = {Rule::kUct,    Rule::kPuct,   Rule::kMctsG,      Rule::kBestFirst,
                           Rule::kMuZero, Rule::kGumbel, Rule::kMuZeroTree, Rule::kAlphaZero};

SearchParams Params(Rule rule, std::int64_t max_nodes = 4096) {
  SearchParams params;
  params.rule = rule;
  params.max_nodes = max_nodes;
  return params;
}

Ids Select(Forest& forest, const Trees& trees) {
  Ids leaves(trees.size());
  forest.Select(trees, leaves);
  return leaves;
}

Ids Expand(Forest& forest, const Trees& trees, const Ids& nodes, const Counts& counts,
           const Floats& priors = {}, const Flags& terminal = {}, const Floats& rewards = {}) {
  Ids first(trees.size());
  forest.Expand(trees, nodes, counts, priors, terminal, rewards, first);
  return first;
}

void Backup(Forest& forest, const Trees& trees, const Ids& nodes, const Values& values,
            bool release = false) {
  forest.Backup(trees, nodes, values, release);
}

// A tree with every kind of node: 10 of them, one terminal, two groups under the root.
void Grow(Forest& forest, TreeId tree) {
  Expand(forest, {tree}, {0}, {3}, {0.5f, 0.25f, 0.25f}, {0, 1, 0});
  Expand(forest, {tree, tree}, {1, 0}, {4, 2}, {}, {}, Floats(6, 0.5f));
  Backup(forest, {tree, tree, tree}, {4, 3, 9}, {1.0, 0.5, 0.25});
}

struct Snapshot {
  explicit Snapshot(Forest& forest) {
    for (TreeId tree = 0; tree < 2; ++tree) {
      signatures.push_back(forest.Signature(tree));
      for (const Node& node : forest.Nodes(tree)) {
        in_flight.push_back(node.in_flight);
        bits.push_back(node.bits);
      }
    }
  }
  std::vector<std::uint64_t> signatures;
  std::vector<std::uint32_t> in_flight;
  std::vector<std::uint32_t> bits;
};

void TestRefusedBatchesLeaveEveryTreeUnchanged() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const float nanf = std::numeric_limits<float>::quiet_NaN();
  const float inff = std::numeric_limits<float>::infinity();
  struct Case {
    Fault fault;
    std::function<void(Forest&)> call;
  };
  // Tree 0 is grown, with leaf 3 in flight; tree 1 is a root in flight; tree 2 was dropped. Each
  // batch starts with entries that are right.
  const std::vector<Case> cases = {
      {Fault::kUnknownTree, [](Forest& f) { Select(f, {0, 1, 2}); }},
      {Fault::kUnknownTree, [](Forest& f) { Select(f, {0, -1}); }},
      {Fault::kUnknownTree, [](Forest& f) { Select(f, {0, 99}); }},
      {Fault::kInvalidArgument,
       [](Forest& f) {
         Ids leaves(1);
         f.Select(Trees{0, 1}, leaves);
       }},
      {Fault::kUnknownNode, [](Forest& f) { Expand(f, {0, 1}, {4, 1}, {2, 2}); }},
      {Fault::kUnknownNode, [](Forest& f) { Expand(f, {0, 1}, {4, kNoNode}, {2, 2}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0, 1}, {4, 0}, {2, -1}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0, 1}, {4}, {2, 2}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0, 1}, {4, 0}, {2}); }},
      {Fault::kTreeState, [](Forest& f) { Expand(f, {1, 0}, {0, 2}, {2, 2}); }},
      {Fault::kArenaFull, [](Forest& f) { Expand(f, {1, 0}, {0, 4}, {2, 4096}); }},
      {Fault::kArenaFull, [](Forest& f) { Expand(f, {1, 0, 0}, {0, 4, 5}, {2, 4080, 10}); }},
      {Fault::kArenaFull,
       [](Forest& f) { Expand(f, Trees(3, 0), Ids(3, 4), Counts(3, 0x7FFFFFFF)); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0}, {4}, {2}, {0.5f}); }},
      {Fault::kInvalidArgument, [=](Forest& f) { Expand(f, {0}, {4}, {2}, {0.5f, nanf}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0}, {4}, {2}, {0.5f, 1.5f}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0}, {4}, {2}, {0.5f, -0.5f}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Expand(f, {0}, {4}, {2}, {}, {0, 0, 0}); }},
      {Fault::kInvalidArgument, [=](Forest& f) { Expand(f, {0}, {4}, {1}, {}, {}, {inff}); }},
      {Fault::kInvalidArgument, [=](Forest& f) { Backup(f, {0, 0}, {4, 5}, {0.5, nan}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Backup(f, {0, 0}, {4, 5}, {0.5, 1.5}); }},
      {Fault::kInvalidArgument, [](Forest& f) { Backup(f, {0, 0}, {4, 5}, {0.5}); }},
      {Fault::kUnknownNode, [](Forest& f) { Backup(f, {0, 0}, {4, 10}, {0.5, 0.5}); }},
      {Fault::kTreeState, [](Forest& f) { Backup(f, {0, 0}, {3, 4}, {0.5, 0.5}, true); }},
      {Fault::kTreeState, [](Forest& f) { Backup(f, {0, 0}, {3, 3}, {0.5, 0.5}, true); }},
      {Fault::kTreeState, [](Forest& f) { f.Release(Trees{1, 0, 1}, Ids{0, 3, 0}); }},
      {Fault::kTreeState, [](Forest& f) { f.Release(Trees{0, 0}, Ids{3, 5}); }},
      {Fault::kUnknownTree, [](Forest& f) { f.SetRewards(Trees{0, 2}, Ids{5, 0}, Floats(2)); }},
      {Fault::kUnknownNode, [](Forest& f) { f.SetRewards(Trees{0, 0}, Ids{5, 10}, Floats(2)); }},
      {Fault::kTreeState, [](Forest& f) { f.SetRewards(Trees{0, 0}, Ids{5, 0}, Floats(2)); }},
      {Fault::kTreeState, [](Forest& f) { f.SetRewards(Trees{0, 0}, Ids{5, 4}, Floats(2)); }},
      {Fault::kInvalidArgument, [](Forest& f) { f.SetRewards(Trees{0, 0}, Ids{5, 6}, Floats(1)); }},
      {Fault::kInvalidArgument,
       [=](Forest& f) { f.SetRewards(Trees{0, 0}, Ids{5, 6}, Floats{1, nanf}); }},
      {Fault::kUnknownTree, [](Forest& f) { f.SetGumbel(2, {}, 8, 4); }},
      {Fault::kInvalidArgument, [](Forest& f) { f.SetGumbel(0, Floats(4), 8, 4); }},
      {Fault::kInvalidArgument, [=](Forest& f) { f.SetGumbel(0, Floats(5, inff), 8, 4); }},
      {Fault::kInvalidArgument, [](Forest& f) { f.SetGumbel(0, Floats(5), 0, 4); }},
      {Fault::kInvalidArgument,
       [](Forest& f) { f.SetGumbel(0, Floats(5), 8, std::int64_t{1} << 31); }},
      {Fault::kTreeState, [](Forest& f) { f.Reroot(0, 1); }},
      {Fault::kUnknownNode, [](Forest& f) { f.Reroot(1, 1); }},
      {Fault::kUnknownTree, [](Forest& f) { f.DropTrees(Trees{0, 2}); }},
      {Fault::kUnknownTree, [](Forest& f) { f.DropTrees(Trees{0, 0}); }},
      {Fault::kInvalidArgument, [](Forest& f) { f.CreateTrees(-1); }},
      {Fault::kInvalidArgument, [](Forest& f) { f.CreateTrees(std::int64_t{1} << 40); }},
      {Fault::kCorruptData, [](Forest& f) { f.FromBytes({}); }},
      {Fault::kUnknownNode, [](Forest& f) { f.Children(0, 10); }},
      {Fault::kUnknownTree, [](Forest& f) { f.Signature(2); }},
  };
  for (const Rule rule : kRules) {
    Forest forest(Params(rule));
    forest.CreateTrees(3);
    forest.DropTrees(Trees{2});
    Grow(forest, 0);
    // Close everything but one leaf after the other until 3 is in flight, then open the others.
    Ids taken;
    while (taken.empty() || taken.back() != 3) taken.push_back(Select(forest, {0}).front());
    taken.pop_back();
    forest.Release(Trees(taken.size(), 0), taken);
    CHECK_EQ(Select(forest, {1}), Ids{0});
    const Snapshot before(forest);
    for (const Case& bad : cases) {
      CHECK_THROWS(bad.call(forest), bad.fault);
      const Snapshot after(forest);
      CHECK_EQ(after.signatures, before.signatures);
      CHECK_EQ(after.in_flight, before.in_flight);
      CHECK_EQ(after.bits, before.bits);
      forest.CheckInvariants(0);
      forest.CheckInvariants(1);
    }
    CHECK_EQ(forest.num_trees(), 2u);
    // What the refused batches claimed of the arena is not held against later ones.
    Expand(forest, {0}, {4}, {4096 - 10});
    CHECK_EQ(forest.NumNodes(0), 4096u);
    CHECK_THROWS(Expand(forest, {0}, {4}, {1}), Fault::kArenaFull);
    forest.CheckInvariants(0);
  }
}

void TestBadSettingsAreRefused() {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const auto refused = [](const auto& damage) {
    SearchParams params;
    damage(params);
    CHECK_THROWS(Forest{params}, Fault::kInvalidArgument);
  };
  for (const double bad : {nan, inf, -inf, 1e101}) {
    refused([=](SearchParams& p) { p.exploration = bad; });
    refused([=](SearchParams& p) { p.exploration_base = bad; });
    refused([=](SearchParams& p) { p.value_scale = bad; });
    refused([=](SearchParams& p) { p.maxvisit_init = bad; });
    refused([=](SearchParams& p) { p.first_play_value = bad; });
    refused([=](SearchParams& p) { p.virtual_loss = bad; });
    refused([=](SearchParams& p) { p.discount = bad; });
    refused([=](SearchParams& p) { p.value_min = bad; });
    refused([=](SearchParams& p) { p.value_max = bad; });
  }
  refused([](SearchParams& p) { p.exploration = -1; });
  refused([](SearchParams& p) { p.exploration_base = 0.5; });
  refused([](SearchParams& p) { p.value_scale = -1; });
  refused([](SearchParams& p) { p.maxvisit_init = -1; });
  refused([](SearchParams& p) { p.virtual_loss = -1; });
  for (const Rule rule : {Rule::kMuZero, Rule::kGumbel}) {
    refused([=](SearchParams& p) {
      p.rule = rule;
      p.first_play = FirstPlay::kParent;
    });
  }
  for (const Rule rule : {Rule::kMctsG, Rule::kBestFirst, Rule::kMuZero, Rule::kGumbel}) {
    refused([=](SearchParams& p) {
      p.rule = rule;
      p.first_play = FirstPlay::kReward;
    });
  }
  refused([](SearchParams& p) { p.value_max = p.value_min; });
  refused([](SearchParams& p) { p.max_nodes = 0; });
  refused([](SearchParams& p) { p.max_nodes = kMaxNodes + 1; });
}

void TestLargestSettingsGiveFiniteScores() {
  for (const Rule rule : kRules) {
    SearchParams params = Params(rule);
    params.exploration = params.virtual_loss = 1e100;
    params.value_min = -1e100;
    params.value_max = 1e100;
    params.exploration_base = params.value_scale = params.maxvisit_init = 1e100;
    if (!params.WeighsSiblings()) params.first_play = FirstPlay::kParent;
    Forest forest(params);
    forest.CreateTrees(1);
    Expand(forest, {0}, {0}, {8});
    for (int i = 0; i < 100; ++i) Backup(forest, {0, 0}, {1, 2}, {1e100, -1e100});
    Ids leaves = Select(forest, Trees(9, 0));
    CHECK_EQ(leaves.back(), kNoNode);
    leaves.pop_back();
    std::sort(leaves.begin(), leaves.end());
    CHECK_EQ(leaves, Ids({1, 2, 3, 4, 5, 6, 7, 8}));
    forest.CheckInvariants(0);
  }
}

void TestBatchOnAFreshTreeGivesItsRootOnce() {
  for (const Rule rule : kRules) {
    Forest forest(Params(rule));
    forest.CreateTrees(1);
    Ids wanted(64, kNoNode);
    wanted[0] = kRootId;
    CHECK_EQ(Select(forest, Trees(64, 0)), wanted);
  }
}

void TestEmptyBatchesDoNothing() {
  Forest forest(Params(Rule::kMctsG));
  CHECK_EQ(forest.CreateTrees(0), Trees{});
  CHECK_EQ(Select(forest, {}), Ids{});
  CHECK_EQ(Expand(forest, {}, {}, {}), Ids{});
  Backup(forest, {}, {}, {}, true);
  forest.Release({}, {});
  forest.DropTrees({});
  CHECK_EQ(forest.num_trees(), 0u);
}

void TestBytesGiveTheSameTree() {
  for (const Rule rule : kRules) {
    Forest forest(Params(rule));
    forest.CreateTrees(1);
    Grow(forest, 0);
    const auto bytes = forest.ToBytes(0);
    const TreeId copy = forest.FromBytes(bytes);
    CHECK_EQ(copy, 1);
    forest.CheckInvariants(copy);
    CHECK_EQ(forest.Signature(copy), forest.Signature(0));
    CHECK(forest.ToBytes(copy) == bytes);
    CHECK_EQ(forest.Children(copy, 0), forest.Children(0, 0));
    for (int i = 0; i < 10; ++i) CHECK_EQ(Select(forest, {copy}), Select(forest, {0}));
  }
}

void TestDamagedBytesAreRefused(Rule rule) {
  Forest forest(Params(rule));
  forest.CreateTrees(1);
  Grow(forest, 0);
  const std::vector<std::byte> good = forest.ToBytes(0);
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_THROWS(forest.FromBytes(std::span(good).first(size)), Fault::kCorruptData);
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const unsigned flip : {0x01u, 0x80u, 0xFFu}) {
      std::vector<std::byte> bad = good;
      bad[i] ^= static_cast<std::byte>(flip);
      CHECK_THROWS(forest.FromBytes(bad), Fault::kCorruptData);
    }
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  CHECK_THROWS(forest.FromBytes(longer), Fault::kCorruptData);
  CHECK_EQ(forest.num_trees(), 1u);
}

void TestDamagedBytesAreRefused() {
  for (const Rule rule : {Rule::kMctsG, Rule::kGumbel}) TestDamagedBytesAreRefused(rule);
}

// Mean values stand in for raw values that another rule did not keep; nobody else reads them.
void TestBytesOfAnotherRuleAreTaken() {
  Forest gumbel(Params(Rule::kGumbel));
  Forest uct(Params(Rule::kUct));
  gumbel.CreateTrees(1);
  uct.CreateTrees(1);
  Grow(gumbel, 0);
  Grow(uct, 0);
  CHECK_EQ(uct.FromBytes(gumbel.ToBytes(0)), 1);
  CHECK(uct.ToBytes(1) == uct.ToBytes(0));
  CHECK_EQ(gumbel.FromBytes(uct.ToBytes(0)), 1);
  gumbel.CheckInvariants(1);
  CHECK_EQ(gumbel.Signature(1), gumbel.Signature(0));
}

void TestRewardsAreSetBeforeTheFirstBackup() {
  for (const Rule rule : kRules) {
    Forest forest(Params(rule));
    forest.CreateTrees(2);
    Expand(forest, {0, 1}, {0, 0}, {3, 3}, {}, {}, {0.25f, 0.5f, 0.75f, 0, 0, 0});
    forest.SetRewards(Trees{1, 1, 1}, Ids{3, 1, 2}, Floats{0.75f, 0.25f, 0.5f});
    for (const TreeId tree : {0, 1}) Backup(forest, {tree, tree}, {1, 3}, {0.5, 0.5});
    CHECK_EQ(forest.Signature(1), forest.Signature(0));
    CHECK_EQ(forest.Nodes(1)[kRootId].value_sum, 2.0);
    forest.CheckInvariants(1);
  }
}

void TestLargerTreeThanTheArenaIsRefused() {
  Forest large(Params(Rule::kUct));
  large.CreateTrees(1);
  Grow(large, 0);
  Forest small(Params(Rule::kUct, 9));
  CHECK_THROWS(small.FromBytes(large.ToBytes(0)), Fault::kArenaFull);
  CHECK_EQ(small.num_trees(), 0u);
}

void TestIdsAreNewHoweverManyTreesWent() {
  Forest forest(Params(Rule::kUct));
  TreeId next = 0;
  const auto create = [&](std::int64_t count) {
    for (const TreeId tree : forest.CreateTrees(count)) CHECK(tree == next++);
  };
  create(600);
  Grow(forest, 300);
  Trees others;
  for (TreeId tree = 0; tree < next; ++tree) {
    if (tree != 300) others.push_back(tree);
  }
  forest.DropTrees(others);
  CHECK(forest.NumNodes(300) == 10);
  for (int i = 0; i < 600; ++i) {
    const TreeId tree = next;
    create(1);
    CHECK(forest.NumNodes(tree) == 1);
    forest.DropTrees(Trees{tree});
    CHECK_THROWS(forest.NumNodes(tree), Fault::kUnknownTree);
  }
  for (const TreeId tree : {0, 255, 256, 299, 301, 599, 600}) {
    CHECK_THROWS(forest.NumNodes(tree), Fault::kUnknownTree);
  }
  CHECK(forest.num_trees() == 1);
  CHECK(forest.NumNodes(300) == 10);
  create(2);
}

void TestDroppedTreesLendTheirMemoryToCleanNewOnes() {
  for (const Rule rule : kRules) {
    Forest forest(Params(rule));
    forest.CreateTrees(2);
    const std::uint64_t fresh = forest.Signature(1);
    for (int round = 0; round < 3; ++round) {
      const TreeId tree = forest.CreateTrees(1).front();
      CHECK_EQ(tree, 2 + round);  // ids are not used again
      CHECK_EQ(forest.Signature(tree), fresh);
      forest.CheckInvariants(tree);
      Grow(forest, tree);
      Select(forest, Trees(3, tree));  // dropped with leaves in flight
      forest.DropTrees(Trees{tree});
      CHECK_EQ(forest.num_trees(), 2u);
    }
  }
}

// One search from start to end; returns the signature.
std::uint64_t RunSearch(Forest& forest, int simulations) {
  const TreeId tree = forest.CreateTrees(1).front();
  for (int i = 0; i < simulations; ++i) {
    const Ids leaf = Select(forest, {tree});
    Expand(forest, {tree}, leaf, {3});
    Backup(forest, {tree}, leaf, {static_cast<double>((leaf[0] * 2654435761u) >> 8) * 0x1p-24},
           true);
  }
  const std::uint64_t signature = forest.Signature(tree);
  forest.CheckInvariants(tree);
  forest.DropTrees(Trees{tree});
  return signature;
}

void TestForestsAreIndependentAcrossThreads() {
  constexpr int kThreads = 4;
  for (const Rule rule : kRules) {
    Forest alone(Params(rule));
    const std::uint64_t wanted = RunSearch(alone, 500);
    std::vector<std::uint64_t> found(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&found, rule, i] {
        Forest forest(Params(rule));
        found[static_cast<std::size_t>(i)] = RunSearch(forest, 500);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::uint64_t signature : found) CHECK_EQ(signature, wanted);
  }
}

// Threads hammer one forest: each call works or is refused as concurrent use, and what is left is
// consistent. Run under TSan, this shows that no call touches a tree outside its turn.
void TestOneForestUnderManyThreadsRefusesOrWorks() {
  constexpr int kThreads = 8;
  Forest forest(Params(Rule::kMctsG, 1 << 16));
  forest.CreateTrees(2);
  std::atomic<std::uint32_t> backups{0};
  std::atomic<std::uint32_t> refusals{0};
  const auto attempt = [&](const auto& call) {
    try {
      call();
      return true;
    } catch (const Error& error) {
      CHECK_EQ(error.fault(), Fault::kConcurrentUse);
      ++refusals;
      return false;
    }
  };
  const auto insist = [&](const auto& call) {
    while (!attempt(call)) std::this_thread::yield();
  };
  const auto work = [&](int thread) {
    const Trees tree{thread % 2};
    for (int done = 0; done < 500;) {
      Ids leaf{kNoNode};
      insist([&] { leaf = Select(forest, tree); });
      if (leaf[0] == kNoNode) continue;  // the only open leaf is in another thread's hands
      attempt([&] { Expand(forest, tree, leaf, {2}); });
      attempt([&] { forest.Signature(tree[0]); });
      attempt([&] { forest.Nodes(tree[0]); });
      attempt([&] { forest.HasOpenLeaf(tree[0]); });
      attempt([&] {
        const Trees extra = forest.CreateTrees(1);
        insist([&] { forest.DropTrees(extra); });
      });
      CHECK(forest.num_trees() >= 2);
      insist([&] { Backup(forest, tree, leaf, {0.5}, true); });
      ++backups;
      ++done;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  std::uint32_t visits = 0;
  for (const TreeId tree : {0, 1}) {
    forest.CheckInvariants(tree);
    const Node root = forest.Nodes(tree)[kRootId];
    CHECK_EQ(root.in_flight, 0);
    visits += root.visit_count;
  }
  CHECK_EQ(visits, backups.load());
  CHECK_EQ(forest.num_trees(), 2u);
  std::cout << "one forest, " << kThreads << " threads: " << backups << " simulations, "
            << refusals << " calls refused\n";
}

}  // namespace
}  // namespace rts

int main() {
  using namespace rts;
  return check::RunAll(
      "forest_test",
      {
          {"refused batches", &TestRefusedBatchesLeaveEveryTreeUnchanged},
          {"bad settings", &TestBadSettingsAreRefused},
          {"largest settings", &TestLargestSettingsGiveFiniteScores},
          {"fresh tree", &TestBatchOnAFreshTreeGivesItsRootOnce},
          {"empty batches", &TestEmptyBatchesDoNothing},
          {"bytes", &TestBytesGiveTheSameTree},
          {"damaged bytes", [] { TestDamagedBytesAreRefused(); }},
          {"bytes of another rule", &TestBytesOfAnotherRuleAreTaken},
          {"rewards", &TestRewardsAreSetBeforeTheFirstBackup},
          {"large import", &TestLargerTreeThanTheArenaIsRefused},
          {"ids", &TestIdsAreNewHoweverManyTreesWent},
          {"pool", &TestDroppedTreesLendTheirMemoryToCleanNewOnes},
          {"separate forests", &TestForestsAreIndependentAcrossThreads},
          {"one forest, many threads", &TestOneForestUnderManyThreadsRefusesOrWorks},
      });
}
