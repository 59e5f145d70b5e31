// One tree: moves, availability, the frontier, groups of children, re-rooting, columns.
#include "core/tree.h"

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "core/bytes.h"
#include "core/error.h"
#include "core/signature.h"

namespace rts {
namespace {

// The forest's role in miniature: what trees share outlives the tree.
struct Fixture {
  explicit Fixture(Rule rule, std::int64_t max_nodes = 4096, bool revisit_terminal = false)
      : shared(Make(rule, max_nodes, revisit_terminal)), params(shared.params), tree(New()) {}

  static SearchParams Make(Rule rule, std::int64_t max_nodes, bool revisit_terminal) {
    SearchParams params;
    params.rule = rule;
    params.max_nodes = max_nodes;
    params.revisit_terminal = revisit_terminal;
    return params;
  }
  Tree New() const {
    return Tree(TreeStorage(params), shared);
  }
  NodeId Expand(NodeId id, std::uint32_t count) {
    return tree.Expand(id, count, nullptr, nullptr, nullptr);
  }
  void Release(NodeId id) {
    CHECK(tree.TakeSelected(id));
    tree.Release(id);
  }

  const Shared shared;
  const SearchParams& params;
  Tree tree;
};

constexpr Rule kRules[] = {Rule::kUct,    Rule::kPuct,   Rule::kMctsG,      Rule::kBestFirst,
                           Rule::kMuZero, Rule::kGumbel, Rule::kMuZeroTree, Rule::kAlphaZero};

std::vector<NodeId> Range(NodeId first, NodeId end) {
  std::vector<NodeId> ids;
  for (NodeId id = first; id < end; ++id) ids.push_back(id);
  return ids;
}

void TestNewTreeIsOneUnvisitedRoot() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    CHECK_EQ(f.tree.size(), 1u);
    CHECK_EQ(f.tree.node(kRootId).parent, kNoNode);
    CHECK_EQ(f.tree.node(kRootId).visit_count, 0u);
    CHECK(f.tree.HasOpenLeaf());
    f.tree.CheckInvariants();
  }
}

void TestSelectClosesTheLeafAndReleaseOpensIt() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    CHECK_EQ(f.tree.Select(), kRootId);
    CHECK_EQ(f.tree.Select(), kNoNode);
    CHECK(!f.tree.HasOpenLeaf());
    f.tree.CheckInvariants();
    f.Release(kRootId);
    CHECK(!f.tree.TakeSelected(kRootId));
    CHECK_EQ(f.tree.Select(), kRootId);
    f.tree.CheckInvariants();
  }
}

void TestEachOpenLeafIsHandedOutOnce() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    f.Expand(kRootId, 3);
    f.Expand(1, 2);
    // Of equal leaves the lower id comes first; in a descent, node 1 is tried once like 2 and 3.
    std::vector<NodeId> leaves;
    for (NodeId leaf = f.tree.Select(); leaf != kNoNode; leaf = f.tree.Select()) {
      leaves.push_back(leaf);
      f.tree.CheckInvariants();
    }
    using Ids = std::vector<NodeId>;
    // MuZero over the tree leaves the first simulation below a node out of its count: a tie again.
    CHECK_EQ(leaves, f.params.IsGlobal()            ? Ids({2, 3, 4, 5})
                     : rule == Rule::kMuZeroTree ? Ids({4, 5, 2, 3})
                                                 : Ids({4, 2, 3, 5}));
    CHECK_EQ(f.tree.node(kRootId).in_flight, 4);
    CHECK_EQ(f.tree.node(1).in_flight, 2);
    CHECK(!f.tree.HasOpenLeaf());
    for (const NodeId leaf : leaves) f.Release(leaf);
    CHECK_EQ(f.tree.node(kRootId).in_flight, 0);
    f.tree.CheckInvariants();
  }
}

void TestBackupAddsUpTheWholePath() {
  Fixture f(Rule::kUct);
  f.Expand(kRootId, 2);
  f.Expand(2, 1);
  f.tree.Backup(3, 0.25);
  f.tree.Backup(2, 0.5);
  CHECK_EQ(f.tree.node(3).value_sum, 0.25);
  CHECK_EQ(f.tree.node(2).value_sum, 0.75);
  CHECK_EQ(f.tree.node(kRootId).value_sum, 0.75);
  CHECK_EQ(f.tree.node(kRootId).visit_count, 2u);
  CHECK_EQ(f.tree.node(1).visit_count, 0u);
  f.tree.CheckInvariants();
}

void TestTerminalLeavesAreClosedUnlessRevisited() {
  const std::uint8_t terminal[] = {1, 0};
  for (const Rule rule : kRules) {
    for (const bool revisit : {false, true}) {
      Fixture f(rule, 16, revisit);
      f.tree.Expand(kRootId, 2, nullptr, terminal, nullptr);
      CHECK_EQ(f.tree.Select(), revisit ? 1u : 2u);
      CHECK_EQ(f.tree.Select(), revisit ? 2u : kNoNode);
      f.tree.CheckInvariants();
    }
  }
}

void TestDeadEndClosesItsAncestors() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    f.Expand(kRootId, 2);
    f.Expand(1, 1);
    CHECK_EQ(f.Expand(3, 0), 4u);
    // The frontier does without: closed inner nodes are the business of rules that descend.
    if (!f.params.IsGlobal()) CHECK(f.tree.node(1).Has(Node::kUnavailable));
    CHECK_EQ(f.tree.Select(), 2u);
    CHECK(!f.tree.HasOpenLeaf());
    // New children of a dead end open the way to it again.
    CHECK_EQ(f.Expand(3, 1), 4u);
    CHECK_EQ(f.tree.Select(), 4u);
    f.tree.CheckInvariants();
  }
}

void TestSelectedLeafMayBeExpandedBeforeItIsReleased() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    CHECK_EQ(f.tree.Select(), kRootId);
    f.Expand(kRootId, 2);
    f.tree.CheckInvariants();
    CHECK_EQ(f.tree.Select(), 1u);
    f.tree.Backup(kRootId, 0.5);
    f.Release(kRootId);
    CHECK_EQ(f.tree.node(kRootId).in_flight, 1);
    f.tree.CheckInvariants();
  }
}

void TestFrontierHoldsTheBestLeafOfEachGroup() {
  Fixture f(Rule::kBestFirst);
  f.Expand(kRootId, 2);
  f.Expand(1, 3);  // 3, 4, 5
  f.Expand(2, 3);  // 6, 7, 8
  const double values[] = {0.2, 0.9, 0.4, 0.8, 0.1, 0.6};
  for (NodeId id = 3; id <= 8; ++id) f.tree.Backup(id, values[id - 3]);
  std::vector<NodeId> leaves;
  for (int i = 0; i < 6; ++i) leaves.push_back(f.tree.Select());
  CHECK_EQ(leaves, std::vector<NodeId>({4, 6, 8, 5, 3, 7}));
  f.Release(8);
  CHECK_EQ(f.tree.Select(), 8u);
  f.tree.CheckInvariants();
}

void TestMoreChildrenThanOneGroupHolds() {
  for (const Rule rule : kRules) {
    Fixture f(rule, 10'000);
    CHECK_EQ(f.Expand(kRootId, 3000), 1u);  // 1023 in the node, the others in a further group
    f.Expand(1, 2);
    f.Expand(kRootId, 5);
    f.Expand(kRootId, 5);
    f.Expand(2, 1);
    f.Expand(kRootId, 1000);
    std::vector<NodeId> wanted = Range(1, 3001);
    for (const NodeId id : Range(3003, 3013)) wanted.push_back(id);
    for (const NodeId id : Range(3014, 4014)) wanted.push_back(id);
    CHECK_EQ(f.tree.Children(kRootId), wanted);
    f.tree.CheckInvariants();
    f.tree.Backup(4013, 1.0);
    f.tree.Backup(3000, 0.5);
    f.tree.CheckInvariants();
    const auto columns = f.tree.ToColumns();
    Tree copy = f.New();
    copy.FromColumns(columns);
    copy.CheckInvariants();
    CHECK_EQ(copy.Children(kRootId), wanted);
    CHECK_EQ(Signature(copy), Signature(f.tree));
  }
}

void TestChildrenAddedAtOnceExtendTheFirstGroup() {
  Fixture f(Rule::kMctsG);
  f.Expand(kRootId, 2);
  f.Expand(kRootId, 2);
  CHECK(!f.tree.node(kRootId).Has(Node::kMoreChildren));
  CHECK_EQ(f.tree.Children(kRootId), Range(1, 5));
  f.tree.CheckInvariants();
}

void TestExactly1023ChildrenNeedNoFurtherGroup() {
  Fixture f(Rule::kMctsG);
  f.Expand(kRootId, kMaxInlineChildren);
  CHECK(!f.tree.node(kRootId).Has(Node::kMoreChildren));
  f.Expand(kRootId, 1);
  CHECK(f.tree.node(kRootId).Has(Node::kMoreChildren));
  CHECK_EQ(f.tree.Children(kRootId), Range(1, 1025));
  f.tree.CheckInvariants();
}

void TestRerootKeepsTheSubtreeAndDropsTheRest() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    f.Expand(kRootId, 2);  // 1, 2
    f.Expand(1, 2);        // 3, 4
    f.Expand(2, 2);        // 5, 6
    f.Expand(5, 1);        // 7
    f.Expand(2, 1);        // 8: a second group of 2
    f.tree.Backup(7, 0.5);
    f.tree.Backup(8, 0.25);
    f.tree.Backup(3, 1.0);
    std::vector<NodeId> mapping(f.tree.size());
    f.tree.Reroot(2, mapping.data());
    const NodeId none = kNoNode;
    CHECK_EQ(mapping, std::vector<NodeId>({none, none, 0, none, none, 1, 2, 3, 4}));
    CHECK_EQ(f.tree.size(), 5u);
    CHECK_EQ(f.tree.Children(kRootId), std::vector<NodeId>({1, 2, 4}));
    CHECK_EQ(f.tree.Children(1), std::vector<NodeId>({3}));
    CHECK_EQ(f.tree.node(kRootId).parent, kNoNode);
    CHECK_EQ(f.tree.node(kRootId).visit_count, 2u);
    CHECK_EQ(f.tree.node(kRootId).value_sum, 0.75);
    CHECK_EQ(f.tree.node(4).value_sum, 0.25);
    f.tree.CheckInvariants();
    // The freed ids are used again.
    CHECK_EQ(f.Expand(4, 2), 5u);
    f.tree.CheckInvariants();
  }
}

void TestRerootAtALeafLeavesOneNode() {
  for (const Rule rule : kRules) {
    Fixture f(rule);
    f.Expand(kRootId, 3);
    std::vector<NodeId> mapping(4);
    f.tree.Reroot(2, mapping.data());
    CHECK_EQ(f.tree.size(), 1u);
    CHECK_EQ(f.tree.Select(), kRootId);
    f.tree.CheckInvariants();
  }
}

void TestInFlightStopsAt65535() {
  for (const Rule rule : {Rule::kUct, Rule::kMctsG}) {
    Fixture f(rule, 70'000);
    // Groups of 16 under one level of inner nodes: a scan of 65,536 siblings per selection would
    // be the test of something else.
    f.Expand(kRootId, 64);
    for (NodeId id = 1; id <= 64; ++id) f.Expand(id, 64);
    const NodeId end = f.tree.size();
    for (NodeId id = 65; id < end; ++id) f.Expand(id, 16);
    for (std::uint32_t i = 0; i < kMaxInFlight; ++i) CHECK(f.tree.Select() != kNoNode);
    CHECK(f.tree.HasOpenLeaf());
    CHECK_EQ(f.tree.Select(), kNoNode);
    CHECK_EQ(f.tree.node(kRootId).in_flight, 0xFFFF);
    f.tree.CheckInvariants();
    NodeId selected = f.tree.size() - 1;
    while (!f.tree.node(selected).Has(Node::kSelected)) --selected;
    f.Release(selected);
    CHECK(f.tree.Select() != kNoNode);
    CHECK_EQ(f.tree.Select(), kNoNode);
  }
}

void TestColumnsThatContradictThemselvesAreRefused() {
  Fixture f(Rule::kMctsG, 8);
  f.Expand(kRootId, 2);
  f.Expand(1, 1);
  f.tree.Backup(3, 0.5);
  const Tree::Columns good = f.tree.ToColumns();
  const std::uint64_t before = Signature(f.tree);
  const auto refused = [&](Fault fault, const auto& damage) {
    Tree::Columns bad = good;
    damage(bad);
    CHECK_THROWS(f.tree.FromColumns(bad), fault);
    CHECK_EQ(Signature(f.tree), before);
    f.tree.CheckInvariants();
  };
  using C = Tree::Columns;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const float nanf = std::numeric_limits<float>::quiet_NaN();
  const Fault corrupt = Fault::kCorruptData;
  refused(corrupt, [](C& c) { c = C{}; });
  refused(corrupt, [](C& c) { c.parent[0] = 0; });
  refused(corrupt, [](C& c) { c.parent[2] = 2; });
  refused(corrupt, [](C& c) { c.parent[2] = kNoNode; });
  refused(corrupt, [](C& c) { c.parent[3] = 2; });  // a leaf
  refused(corrupt, [](C& c) { c.flags[2] = 4; });
  refused(corrupt, [](C& c) { c.flags[0] = 3; });
  refused(corrupt, [&](C& c) { c.value_sum[1] = nan; });
  refused(corrupt, [](C& c) { c.value_sum[1] = 1.5; });
  refused(corrupt, [](C& c) { c.value_sum[1] = -0.5; });
  refused(corrupt, [](C& c) { c.prior[1] = 1.5f; });
  refused(corrupt, [&](C& c) { c.prior[1] = nanf; });
  refused(corrupt, [&](C& c) { c.edge_reward[1] = nanf; });
  refused(corrupt, [](C& c) { c.visit_count[3] = 2; });
  refused(Fault::kArenaFull, [](C& c) {
    c.parent.resize(9, 0);
    c.visit_count.resize(9);
    c.value_sum.resize(9);
    c.prior.resize(9);
    c.edge_reward.resize(9);
    c.flags.resize(9);
  });
}

void TestImportedSumsWhoseScoresWouldOverflowAreRefused() {
  SearchParams params;
  params.backup = BackupMode::kMax;
  const Shared shared(params);
  Tree tree(TreeStorage(params), shared);
  tree.Expand(kRootId, 2, nullptr, nullptr, nullptr);
  tree.Backup(1, 1.0);
  Tree::Columns columns = tree.ToColumns();
  columns.value_sum[0] = columns.value_sum[1] = 1e308;
  CHECK_THROWS(tree.FromColumns(columns), Fault::kCorruptData);
}

// A drive of all moves with the invariants checked on the way; the differential tests compare the
// answers with the reference, this one runs under sanitizers without Python.
void TestRandomMovesKeepTheInvariants() {
  std::mt19937_64 random(7);
  const auto below = [&](std::uint64_t n) { return static_cast<std::uint32_t>(random() % n); };
  for (int round = 0; round < 64; ++round) {
    Fixture f(kRules[round % 7], 600, round % 3 == 0);
    std::vector<NodeId> selected;
    for (int step = 0; step < 300; ++step) {
      const std::uint32_t move = below(10);
      if (move < 4) {
        const NodeId leaf = f.tree.Select();
        if (leaf != kNoNode) selected.push_back(leaf);
      } else if (move < 6) {
        const NodeId id = below(f.tree.size());
        const std::uint32_t count = below(6);
        const std::uint8_t terminal[] = {0, 1, 0, 0, 1};
        if (f.tree.node(id).Has(Node::kTerminal) || f.tree.size() + count > 600) continue;
        f.tree.Expand(id, count, nullptr, round % 2 ? terminal : nullptr, nullptr);
      } else if (move < 8) {
        f.tree.Backup(below(f.tree.size()), below(5) * 0.25);
      } else if (move < 9 && !selected.empty()) {
        const std::uint32_t i = below(selected.size());
        f.Release(selected[i]);
        selected.erase(selected.begin() + i);
      } else if (selected.empty() && below(4) == 0) {
        std::vector<NodeId> mapping(f.tree.size());
        f.tree.Reroot(below(f.tree.size()), mapping.data());
      }
      if (step % 16 == 0) f.tree.CheckInvariants();
    }
    f.tree.CheckInvariants();
  }
}

}  // namespace
}  // namespace rts

int main() {
  using namespace rts;
  return check::RunAll(
      "tree_test",
      {
          {"new tree", &TestNewTreeIsOneUnvisitedRoot},
          {"select and release", &TestSelectClosesTheLeafAndReleaseOpensIt},
          {"each leaf once", &TestEachOpenLeafIsHandedOutOnce},
          {"backup", &TestBackupAddsUpTheWholePath},
          {"terminal leaves", &TestTerminalLeavesAreClosedUnlessRevisited},
          {"dead ends", &TestDeadEndClosesItsAncestors},
          {"expand while selected", &TestSelectedLeafMayBeExpandedBeforeItIsReleased},
          {"frontier", &TestFrontierHoldsTheBestLeafOfEachGroup},
          {"many children", &TestMoreChildrenThanOneGroupHolds},
          {"children added at once", &TestChildrenAddedAtOnceExtendTheFirstGroup},
          {"1023 children", &TestExactly1023ChildrenNeedNoFurtherGroup},
          {"reroot", &TestRerootKeepsTheSubtreeAndDropsTheRest},
          {"reroot at a leaf", &TestRerootAtALeafLeavesOneNode},
          {"65,535 in flight", &TestInFlightStopsAt65535},
          {"bad columns", &TestColumnsThatContradictThemselvesAreRefused},
          {"large sums", &TestImportedSumsWhoseScoresWouldOverflowAreRefused},
          {"random moves", &TestRandomMovesKeepTheInvariants},
      });
}
