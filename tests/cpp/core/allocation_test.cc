// Every allocation fails once: of the heap, and of the pages that trees lie in.
//
// Each operation is tried with its first allocation failing, its second, and so on, until it passes
// with none left to fail; once with that one failing alone, and once with all after it, too. What
// failed must have left the forest as it was, and must work when it is tried again.
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "check.h"
#include "core/error.h"
#include "core/forest.h"
#include "support/arena.h"

namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

std::uint64_t allocations_before_failure = kNever;
bool does_failing_last = false;
bool has_failed = false;
std::int64_t reserved_bytes = 0;

void FailIfItIsTime() {
  if (allocations_before_failure == kNever || allocations_before_failure-- > 0) return;
  has_failed = true;
  allocations_before_failure = does_failing_last ? 0 : kNever;
  throw std::bad_alloc();
}

void* AllocateOrFail(std::size_t bytes) {
  FailIfItIsTime();
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return AllocateOrFail(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace rts {

// These take the place of arena.cc, which the linker then leaves out.
void* ReservePages(std::size_t bytes) {
  FailIfItIsTime();
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();
  reserved_bytes += static_cast<std::int64_t>(bytes);
  return address;
}

void ReleasePages(void* address, std::size_t bytes) noexcept {
  munmap(address, bytes);
  reserved_bytes -= static_cast<std::int64_t>(bytes);
}

namespace {

using Trees = std::vector<TreeId>;
using Ids = std::vector<NodeId>;
using Counts = std::vector<std::int32_t>;
using Values = std::vector<double>;

constexpr Rule kRules[] = {Rule::kUct,    Rule::kPuct,   Rule::kMctsG,      Rule::kBestFirst,
                           Rule::kMuZero, Rule::kGumbel, Rule::kMuZeroTree, Rule::kAlphaZero};
constexpr TreeId kBusy = 0;  // with two leaves in flight, the first of them expanded
constexpr TreeId kAtRest = 2;

void Expand(Forest& forest, const Trees& trees, const Ids& nodes, const Counts& counts) {
  Ids first(trees.size());
  forest.Expand(trees, nodes, counts, {}, {}, {}, first);
}

// Two trees with further groups of children, and the memory of a third one in the pool.
std::unique_ptr<Forest> Grown(Rule rule) {
  SearchParams params;
  params.rule = rule;
  params.max_nodes = 8192;
  auto forest = std::make_unique<Forest>(params);
  forest->CreateTrees(3);
  forest->DropTrees(Trees{1});
  for (const TreeId tree : {kBusy, kAtRest}) {
    Expand(*forest, {tree}, {kRootId}, {1100});
    Expand(*forest, {tree, tree, tree, tree}, {1, kRootId, 2, 1}, {3, 2, 2, 2});
    forest->Backup(Trees{tree, tree}, Ids{1102, 1104}, Values{0.5, 1.0}, false);
  }
  Ids leaves(2);
  forest->Select(Trees{kBusy, kBusy}, leaves);
  Expand(*forest, {kBusy}, {leaves[0]}, {2});
  return forest;
}

Ids Selected(Forest& forest) {
  Ids selected;
  const std::vector<Node> nodes = forest.Nodes(kBusy);
  for (NodeId id = 0; id < nodes.size(); ++id) {
    if (nodes[id].Has(Node::kSelected)) selected.push_back(id);
  }
  return selected;
}

// The leaf before the node that is expanded again, whose further children are then a group apart.
void AdvanceSelected(Forest& forest) {
  const Ids selected = Selected(forest);
  Ids nodes;
  for (const bool is_leaf : {true, false}) {
    for (const NodeId id : selected) {
      if (forest.Children(kBusy, id).empty() == is_leaf) nodes.push_back(id);
    }
  }
  Ids first(2);
  Ids leaves(2);
  forest.Advance(Trees{kBusy, kBusy}, nodes, Counts{2, 3}, Values{0.5, 1.0}, {}, {}, {}, first,
                 leaves);
}

// So that another child than before is the best of the root's.
void SetGumbel(Forest& forest) {
  std::vector<float> noise(forest.Children(kAtRest, kRootId).size());
  noise[7] = 5;
  if (forest.params().rule == Rule::kGumbel) {
    forest.SetGumbel(kAtRest, noise, 20, 4);
  } else {
    CHECK_THROWS(forest.SetGumbel(kAtRest, noise, 20, 4), Fault::kInvalidArgument);
  }
}

struct Snapshot {
  explicit Snapshot(Forest& forest) : num_trees(forest.num_trees()) {
    for (TreeId tree = 0; tree < 8; ++tree) {
      try {
        forest.CheckInvariants(tree);
      } catch (const Error& error) {
        CHECK_EQ(error.fault(), Fault::kUnknownTree);
        continue;
      }
      numbers.push_back(static_cast<std::uint64_t>(tree));
      numbers.push_back(forest.Signature(tree));
      for (const Node& node : forest.Nodes(tree)) {
        numbers.insert(numbers.end(), {node.in_flight, node.bits, node.link, node.open});
      }
      for (const NodeId child : forest.Children(tree, kRootId)) numbers.push_back(child);
      for (const std::byte byte : forest.ToBytes(tree)) {
        numbers.push_back(std::to_integer<std::uint64_t>(byte));
      }
      // What the plan of a root shows in. The frontier would not be as it was afterwards.
      if (!forest.params().IsGlobal()) AddNextLeaves(forest, tree);
    }
  }
  bool operator==(const Snapshot&) const = default;

  void AddNextLeaves(Forest& forest, TreeId tree) {
    Ids leaves(4);
    forest.Select(Trees(4, tree), leaves);
    numbers.insert(numbers.end(), leaves.begin(), leaves.end());
    std::erase(leaves, kNoNode);
    forest.Release(Trees(leaves.size(), tree), leaves);
  }

  std::size_t num_trees;
  std::vector<std::uint64_t> numbers;
};

struct Operation {
  const char* name;
  void (*run)(Forest&);
};

const Operation kOperations[] = {
    {"create", [](Forest& f) { f.CreateTrees(3); }},
    {"drop", [](Forest& f) { f.DropTrees(Trees{kBusy, kAtRest}); }},
    {"select",
     [](Forest& f) {
       Ids leaves(3);
       f.Select(Trees{kAtRest, kBusy, kAtRest}, leaves);
     }},
    {"expand an inner node", [](Forest& f) { Expand(f, {kBusy, kBusy}, {5, 1}, {4, 2}); }},
    {"expand two inner nodes twice",
     [](Forest& f) {
       Expand(f, {kBusy, kAtRest, kBusy, kAtRest, kBusy}, {1, 2, 2, 1, 1}, {2, 2, 2, 2, 2});
     }},
    {"expand a leaf twice",
     [](Forest& f) { Expand(f, {kBusy, kAtRest, kAtRest, kAtRest}, {4, 4, 5, 4}, {2, 2, 2, 2}); }},
    {"expand a leaf to many", [](Forest& f) { Expand(f, {kBusy, kAtRest}, {6, 7}, {2, 1500}); }},
    {"backup",
     [](Forest& f) { f.Backup(Trees{kBusy, kAtRest}, Ids{3, 1}, Values{0.5, 0.5}, false); }},
    {"advance", &AdvanceSelected},
    {"set gumbel", &SetGumbel},
    {"reroot", [](Forest& f) { f.Reroot(kAtRest, 1); }},
    {"reroot where it is", [](Forest& f) { f.Reroot(kAtRest, kRootId); }},
    {"export and import", [](Forest& f) { f.FromBytes(f.ToBytes(kAtRest)); }},
    {"views",
     [](Forest& f) {
       f.Signature(kBusy);
       f.Nodes(kBusy);
       f.Children(kBusy, kRootId);
       f.CheckInvariants(kBusy);
     }},
    {"refused release",
     [](Forest& f) {
       CHECK_THROWS(f.Release(Trees{kBusy, kAtRest}, Ids{3, 3}), Fault::kTreeState);
     }},
    {"refused advance",
     [](Forest& f) {
       Ids nodes{Selected(f).front(), 3};
       Ids first(2);
       Ids leaves(2);
       CHECK_THROWS(f.Advance(Trees{kBusy, kAtRest}, nodes, Counts{2, 2}, Values{0.5, 0.5}, {},
                              {}, {}, first, leaves),
                    Fault::kTreeState);
     }},
    {"refused reroot", [](Forest& f) { CHECK_THROWS(f.Reroot(kBusy, 1), Fault::kTreeState); }},
    {"refused expansion",
     [](Forest& f) {
       CHECK_THROWS(Expand(f, {kAtRest, kBusy}, {1, 2}, {3, 8192}), Fault::kArenaFull);
     }},
    {"refused import", [](Forest& f) { CHECK_THROWS(f.FromBytes({}), Fault::kCorruptData); }},
};

// Run with allocation number `index` failing; was there one?
bool FailsAt(std::uint64_t index, const Operation& operation, Forest& forest) {
  has_failed = false;
  allocations_before_failure = index;
  bool was_refused = false;
  try {
    operation.run(forest);
  } catch (const std::bad_alloc&) {
    was_refused = true;
  } catch (const Error& error) {
    was_refused = error.fault() == Fault::kArenaFull;  // no address space for a tree
  }
  allocations_before_failure = kNever;
  CHECK_EQ(was_refused, has_failed);
  return has_failed;
}

void TestFailedAllocationsLeaveTheForestAsItWas() {
  std::uint64_t failures = 0;
  for (const bool lasting : {false, true}) {
    does_failing_last = lasting;
    for (const Rule rule : kRules) {
      for (const Operation& operation : kOperations) {
        const auto undisturbed = Grown(rule);
        operation.run(*undisturbed);
        const Snapshot wanted(*undisturbed);
        for (std::uint64_t index = 0;; ++index) {
          const auto forest = Grown(rule);
          const Snapshot before(*forest);
          const bool has_failed_once = FailsAt(index, operation, *forest);
          if (has_failed_once) {
            ++failures;
            check::True(Snapshot(*forest) == before, operation.name, __FILE__, __LINE__);
            operation.run(*forest);
          }
          check::True(Snapshot(*forest) == wanted, operation.name, __FILE__, __LINE__);
          if (!has_failed_once) break;
        }
      }
    }
  }
  CHECK_EQ(reserved_bytes, 0);
  std::cout << "allocations that failed: " << failures << '\n';
}

}  // namespace
}  // namespace rts

int main() {
  return check::RunAll("allocation_test", {{"failed allocations",
                                            &rts::TestFailedAllocationsLeaveTheForestAsItWas}});
}
