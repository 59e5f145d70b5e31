#include "support/pair.h"

#include <algorithm>
#include <bit>
#include <sstream>

#include "check.h"

namespace rts {
namespace {

template <typename T>
std::string Text(const std::variant<Fault, T>& outcome) {
  std::ostringstream out;
  if (const Fault* fault = std::get_if<Fault>(&outcome)) {
    out << "fault " << static_cast<int>(*fault);
  } else {
    check::Print(out, std::get<T>(outcome));
  }
  return out.str();
}

template <typename Call, typename F>
auto OutcomeOf(const Call& call, F& forest) {
  std::variant<Fault, decltype(call(forest))> outcome;
  try {
    outcome = call(forest);
  } catch (const Error& error) {
    outcome = error.fault();
  }
  return outcome;
}

// Of equal bits, as far as a twin can know them.
bool IsSame(const Node& a, const Node& b) {
  constexpr int kFlags = Node::kTerminal | Node::kExpanded | Node::kSelected;
  return std::bit_cast<std::uint64_t>(a.value_sum) == std::bit_cast<std::uint64_t>(b.value_sum) &&
         a.visit_count == b.visit_count && a.in_flight == b.in_flight &&
         (a.bits & kFlags) == (b.bits & kFlags) && a.parent == b.parent &&
         std::bit_cast<std::uint32_t>(a.prior) == std::bit_cast<std::uint32_t>(b.prior) &&
         std::bit_cast<std::uint32_t>(a.edge_reward) ==
             std::bit_cast<std::uint32_t>(b.edge_reward);
}

}  // namespace

// The common outcome, a result or a fault.
template <typename Call>
auto Pair::Both(const char* name, const Call& call) {
  auto core = OutcomeOf(call, core_);
  if (const auto twin = OutcomeOf(call, twin_); core != twin) {
    throw Divergence(std::string(name) + ": core " + Text(core) + ", twin " + Text(twin));
  }
  return core;
}

void Pair::Create(std::int64_t count) {
  const auto made = Both("create", [&](auto& forest) { return forest.CreateTrees(count); });
  if (made.index() == 0) return;
  for (const TreeId tree : std::get<1>(made)) alive_.push_back(tree);
  selected_.resize(selected_.size() + std::get<1>(made).size());
}

void Pair::Drop(TreeId tree) {
  const auto dropped = Both("drop", [&](auto& forest) {
    forest.DropTrees(std::vector{tree});
    return forest.num_trees();
  });
  if (dropped.index() == 1) Forget(tree);
}

void Pair::Select(const Batch& batch) {
  const auto leaves = Both("select", [&](auto& forest) {
    std::vector<NodeId> found(batch.trees.size());
    forest.Select(batch.trees, found);
    return found;
  });
  if (leaves.index() == 1) PutIn(batch, std::get<1>(leaves));
}

void Pair::Expand(const Batch& batch) {
  Both("expand", [&](auto& forest) {
    std::vector<NodeId> first(batch.trees.size());
    forest.Expand(batch.trees, batch.nodes, batch.counts, batch.priors, batch.terminal,
                  batch.rewards, first);
    return first;
  });
}

void Pair::Backup(const Batch& batch, bool release) {
  const auto done = Both("backup", [&](auto& forest) {
    forest.Backup(batch.trees, batch.nodes, batch.values, release);
    return true;
  });
  if (done.index() == 1 && release) TakeOut(batch);
}

void Pair::BackupPath(TreeId tree, NodeId node, const std::vector<double>& values) {
  Both("backup path", [&](auto& forest) {
    forest.BackupPath(tree, node, values);
    return true;
  });
}

void Pair::Walk(TreeId tree, NodeId node, double margin) {
  Both("walk", [&](auto& forest) { return forest.Walk(tree, node, margin); });
}

void Pair::Advance(const Batch& batch) {
  const auto outcome = Both("advance", [&](auto& forest) {
    std::vector<NodeId> first(batch.trees.size());
    std::vector<NodeId> leaves(batch.trees.size());
    forest.Advance(batch.trees, batch.nodes, batch.counts, batch.values, batch.priors,
                   batch.terminal, batch.rewards, first, leaves);
    return std::vector{first, leaves};
  });
  if (outcome.index() == 0) return;
  TakeOut(batch);
  PutIn(batch, std::get<1>(outcome).back());
}

void Pair::Release(const Batch& batch) {
  const auto done = Both("release", [&](auto& forest) {
    forest.Release(batch.trees, batch.nodes);
    return true;
  });
  if (done.index() == 1) TakeOut(batch);
}

void Pair::SetRewards(const Batch& batch) {
  Both("set rewards", [&](auto& forest) {
    forest.SetRewards(batch.trees, batch.nodes, batch.rewards);
    return true;
  });
}

void Pair::SetGumbel(TreeId tree, const std::vector<float>& noise, std::int64_t num_simulations,
                     std::int64_t max_considered) {
  Both("set gumbel", [&](auto& forest) {
    forest.SetGumbel(tree, noise, num_simulations, max_considered);
    return true;
  });
}

void Pair::SetTies(const Batch& batch, std::optional<std::uint64_t> seed) {
  Both("set ties", [&](auto& forest) {
    forest.SetTies(batch.trees, seed);
    return true;
  });
}

void Pair::Reroot(TreeId tree, NodeId node) {
  Both("reroot", [&](auto& forest) { return forest.Reroot(tree, node); });
}

void Pair::Replace(TreeId tree) {
  const std::vector<std::byte> bytes = core_.ToBytes(tree);
  const TreeId copy = core_.FromBytes(bytes);
  if (twin_.Copy(tree) != copy) throw Divergence("import: ids differ");
  if (core_.ToBytes(copy) != bytes) throw Divergence("import: the copy exports other bytes");
  alive_.push_back(copy);
  selected_.emplace_back();
  Drop(tree);
}

void Pair::Check(TreeId tree) {
  core_.CheckInvariants(tree);
  Both("signature", [&](auto& forest) { return forest.Signature(tree); });
  Both("open leaf", [&](auto& forest) { return forest.HasOpenLeaf(tree); });
  const std::vector<Node> nodes = core_.Nodes(tree);
  const std::vector<Node> twins = twin_.Nodes(tree);
  for (NodeId id = 0; id < nodes.size(); ++id) {
    if (!IsSame(nodes[id], twins[id])) throw Divergence("node " + std::to_string(id) + " differs");
    Both("children", [&](auto& forest) { return forest.Children(tree, id); });
  }
}

void Pair::CheckAll() {
  for (const TreeId tree : alive_) Check(tree);
}

std::vector<std::pair<TreeId, NodeId>> Pair::Selected() const {
  std::vector<std::pair<TreeId, NodeId>> selected;
  for (const TreeId tree : alive_) {
    for (const NodeId leaf : selected_[static_cast<std::size_t>(tree)]) {
      selected.emplace_back(tree, leaf);
    }
  }
  return selected;
}

void Pair::Forget(TreeId tree) {
  std::erase(alive_, tree);
  selected_[static_cast<std::size_t>(tree)].clear();
}

void Pair::PutIn(const Batch& batch, const std::vector<NodeId>& leaves) {
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i] == kNoNode) continue;
    selected_[static_cast<std::size_t>(batch.trees[i])].push_back(leaves[i]);
  }
}

void Pair::TakeOut(const Batch& batch) {
  for (std::size_t i = 0; i < batch.trees.size(); ++i) {
    std::erase(selected_[static_cast<std::size_t>(batch.trees[i])], batch.nodes[i]);
  }
}

}  // namespace rts
