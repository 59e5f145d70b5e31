#include "support/random_operations.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace rts {
namespace {

constexpr std::size_t kMostTrees = 6;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double RandomValue(const SearchParams& params, Choices& choices) {
  const double span = params.value_max - params.value_min;
  if (choices.OneIn(250)) {
    return choices.Of({double{kNan}, params.value_min - 0.1, params.value_max + 0.1, 1e300});
  }
  if (choices.OneIn(2)) return params.value_min + span * (choices.Below(1u << 31) * 0x1p-31);
  return params.value_min + span * choices.Of({0.0, 1.0, 0.5, 0.25, 1.0 / 3});
}

// Now and then one past the end, which is unknown.
NodeId RandomNode(Pair& pair, TreeId tree, Choices& choices) {
  return choices.Below(pair.core().NumNodes(tree) + (choices.OneIn(200) ? 1 : 0));
}

std::vector<TreeId> RandomTrees(Pair& pair, std::uint32_t count, Choices& choices) {
  const auto alive = static_cast<std::uint32_t>(pair.alive().size());
  std::vector<TreeId> trees;
  for (std::uint32_t i = 0; i < count; ++i) trees.push_back(pair.alive()[choices.Below(alive)]);
  return trees;
}

// Replace one tree by one that there is not.
void SpoilTrees(std::vector<TreeId>& trees, Choices& choices) {
  const auto place = choices.Below(static_cast<std::uint32_t>(trees.size()));
  trees[place] = choices.Of({-1, 1 << 30, 0});  // the first tree is often gone
}

// Children of the nodes of the batch.
void RandomChildren(Batch& batch, const SearchParams& params, Choices& choices) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < batch.nodes.size(); ++i) {
    const bool is_wide = choices.OneIn(200);
    batch.counts.push_back(is_wide ? static_cast<std::int32_t>(choices.Below(1100))
                                   : choices.Of({0, 1, 2, 3, 4, 4}));
    total += static_cast<std::size_t>(batch.counts.back());
  }
  if (choices.OneIn(2)) {
    for (std::size_t i = 0; i < total; ++i) {
      batch.priors.push_back(static_cast<float>(choices.Below(257)) / 256);
      if (params.first_play == FirstPlay::kPrior && choices.OneIn(4)) {
        batch.priors.back() = choices.Of({-1.5f, 3.25f, -0.0f, 1e30f});
      }
    }
  }
  if (choices.OneIn(2)) {
    for (std::size_t i = 0; i < total; ++i) batch.terminal.push_back(choices.OneIn(5));
  }
  if (choices.OneIn(3)) {
    for (std::size_t i = 0; i < total; ++i) {
      batch.rewards.push_back(choices.Of({0.0f, 0.5f, -0.25f, -0.0f}));
    }
  }
  if (batch.counts.empty() || !choices.OneIn(50)) return;
  const float bad = choices.Of({kNan, kInfinity, -0.5f, 1.5f});
  switch (choices.Below(4)) {
    case 0:
      batch.counts.back() = -1;
      break;
    case 1:
      batch.terminal.push_back(0);
      break;
    case 2:
      batch.priors.assign(total, bad);
      break;
    default:
      batch.rewards.assign(total, bad);
  }
}

void RandomExpand(Pair& pair, Batch& batch, Choices& choices) {
  const auto waiting = pair.Selected();
  for (TreeId& tree : batch.trees) {
    if (!waiting.empty() && !choices.OneIn(3)) {
      const auto [of, leaf] = waiting[choices.Below(static_cast<std::uint32_t>(waiting.size()))];
      tree = of;
      batch.nodes.push_back(leaf);
    } else {
      batch.nodes.push_back(RandomNode(pair, tree, choices));
    }
  }
  RandomChildren(batch, pair.core().params(), choices);
}

// A value of its own for each node of a path, now and then one too many.
void RandomPath(Pair& pair, TreeId tree, Choices& choices) {
  const NodeId node = RandomNode(pair, tree, choices);
  const std::vector<Node> nodes = pair.core().Nodes(tree);
  std::vector<double> values(choices.OneIn(50) ? 1 : 0, 0.0);
  for (NodeId id = node; id < nodes.size(); id = nodes[id].parent) {
    values.push_back(RandomValue(pair.core().params(), choices));
  }
  pair.BackupPath(tree, node, values);
}

// So many visits of one node that the tables of roots end (support/numeric.h).
void ManyVisits(Pair& pair, TreeId tree, Choices& choices) {
  Batch batch;
  batch.trees.assign(3000, tree);
  batch.nodes.assign(3000, choices.Below(pair.core().NumNodes(tree)));
  batch.values.assign(3000, pair.core().params().value_min);
  pair.Backup(batch, /*release=*/false);
}

// Release selected leaves: alone, with a backup, or with all of a step of a search. Sometimes one
// twice, or one that is not selected.
std::uint32_t RandomFinish(Pair& pair, Batch& batch, Choices& choices) {
  auto waiting = pair.Selected();
  const std::size_t wanted = batch.trees.size();
  const std::vector<TreeId> others = std::move(batch.trees);
  batch.trees.clear();
  while (batch.trees.size() < wanted && !waiting.empty()) {
    const auto place = choices.Below(static_cast<std::uint32_t>(waiting.size()));
    batch.trees.push_back(waiting[place].first);
    batch.nodes.push_back(waiting[place].second);
    waiting[place] = waiting.back();
    waiting.pop_back();
  }
  if (choices.OneIn(50)) {
    const bool is_twice = !batch.trees.empty() && choices.OneIn(2);
    batch.trees.push_back(is_twice ? batch.trees.front() : others.front());
    batch.nodes.push_back(is_twice ? batch.nodes.front() : kRootId);
  }
  const std::uint32_t kind = choices.Below(10);
  if (kind < 3) {
    pair.Release(batch);
  } else {
    for (std::size_t i = 0; i < batch.trees.size(); ++i) {
      batch.values.push_back(RandomValue(pair.core().params(), choices));
    }
    if (kind < 6) {
      pair.Backup(batch, /*release=*/true);
    } else {
      RandomChildren(batch, pair.core().params(), choices);
      pair.Advance(batch);
    }
  }
  return static_cast<std::uint32_t>(batch.trees.size());
}

// Of nodes without visits, but for a few that are refused.
std::uint32_t RandomRewards(Pair& pair, const std::vector<TreeId>& trees, Choices& choices) {
  Batch batch;
  for (const TreeId tree : trees) {
    const std::vector<Node> nodes = pair.core().Nodes(tree);
    std::vector<NodeId> unvisited;
    for (NodeId id = kRootId + 1; id < nodes.size(); ++id) {
      if (nodes[id].visit_count == 0) unvisited.push_back(id);
    }
    const bool is_any = choices.OneIn(200);
    if (unvisited.empty() && !is_any) continue;
    batch.trees.push_back(tree);
    batch.nodes.push_back(is_any ? RandomNode(pair, tree, choices)
                                 : unvisited[choices.Below(
                                       static_cast<std::uint32_t>(unvisited.size()))]);
    batch.rewards.push_back(choices.OneIn(200) ? choices.Of({kNan, kInfinity})
                                               : choices.Of({0.0f, 0.5f, -0.25f, -0.0f, 0.3f}));
  }
  pair.SetRewards(batch);
  return static_cast<std::uint32_t>(batch.trees.size());
}

void RandomGumbel(Pair& pair, TreeId tree, Choices& choices) {
  const std::size_t count = pair.core().Children(tree, kRootId).size() + choices.OneIn(20);
  std::vector<float> noise;
  for (std::size_t i = 0; i < count; ++i) {
    noise.push_back(choices.OneIn(4) ? 0 : static_cast<float>(choices.Below(256)) / 32 - 4);
  }
  if (count > 0 && choices.OneIn(20)) noise.back() = choices.Of({kNan, kInfinity});
  pair.SetGumbel(tree, noise, choices.Of({0, 1, 5, 20, 50, 200, 1 << 30}),
                 choices.Of({0, 1, 2, 3, 5, 16, 16}));
}

}  // namespace

SearchParams RandomParams(Choices& choices) {
  SearchParams params;
  params.rule = choices.Of({Rule::kUct, Rule::kPuct, Rule::kMctsG, Rule::kBestFirst,
                            Rule::kMuZero, Rule::kGumbel, Rule::kMuZeroTree, Rule::kAlphaZero});
  params.backup = choices.Of(
      {BackupMode::kMean, BackupMode::kMean, BackupMode::kMax, BackupMode::kLast});
  params.first_play = choices.Of({FirstPlay::kFirst, FirstPlay::kParent, FirstPlay::kValue,
                                  FirstPlay::kPrior, FirstPlay::kReward});
  // or it is refused
  if (params.WeighsSiblings()) params.first_play = FirstPlay::kFirst;
  if (params.TakesPriors() && params.first_play == FirstPlay::kPrior) {
    params.first_play = FirstPlay::kParent;
  }
  if (params.IsGlobal() && params.first_play == FirstPlay::kReward) {
    params.first_play = FirstPlay::kParent;
  }
  params.revisit_terminal = choices.OneIn(3);
  params.exploration = choices.Of({0.0, 0.2, 0.4, 1.0, 1.4});
  params.exploration_base = choices.Of({1.0, 20.0, 19652.0});
  params.value_scale = choices.Of({0.0, 0.1, 1.0});
  params.maxvisit_init = choices.Of({0.0, 50.0});
  params.first_play_value = choices.Of({0.0, 0.1, 0.5, -1.0});
  params.virtual_loss = choices.Of({0.0, 1.0, 1.0, 3.0, 0.5});
  params.least_span = choices.Of({0.0, 0.01, 2.0});
  params.discount = choices.Of({1.0, 1.0, 0.9, 0.0});
  if (params.WeighsSiblings() && choices.OneIn(4)) params.discount = -params.discount;
  params.value_min = choices.Of({0.0, 0.0, -1.0});
  params.value_max = choices.Of({1.0, 1.0, 5.0});
  params.max_nodes = choices.Of({1, 12, 60, 60, 300, 300, 3000});
  return params;
}

std::uint32_t RandomStep(Pair& pair, Choices& choices) {
  if (pair.alive().empty() || (pair.alive().size() < kMostTrees && choices.OneIn(50))) {
    pair.Create(static_cast<std::int64_t>(choices.Below(4)) - (choices.OneIn(20) ? 1 : 0));
    return 1;
  }
  const std::uint32_t kind = choices.Below(100);
  Batch batch;
  batch.trees = RandomTrees(pair, choices.Of({1u, 1u, 1u, 2u, 2u, 5u, 16u, 70u}), choices);
  const TreeId tree = batch.trees.front();
  const auto size = static_cast<std::uint32_t>(batch.trees.size());
  if (kind < 30) {
    if (choices.OneIn(200)) SpoilTrees(batch.trees, choices);
    pair.Select(batch);
  } else if (kind < 55) {
    RandomExpand(pair, batch, choices);
    if (choices.OneIn(200)) SpoilTrees(batch.trees, choices);
    pair.Expand(batch);
  } else if (kind < 60) {
    RandomPath(pair, tree, choices);
    return 1;
  } else if (kind < 65) {
    const auto margin = choices.Of({0.0, 0.0, 0.05, 0.5, double{kInfinity}, -1.0, double{kNan}});
    pair.Walk(tree, RandomNode(pair, tree, choices), margin);
    return 1;
  } else if (kind < 72) {
    for (const TreeId of : batch.trees) {
      batch.nodes.push_back(RandomNode(pair, of, choices));
      batch.values.push_back(RandomValue(pair.core().params(), choices));
    }
    if (choices.OneIn(200)) SpoilTrees(batch.trees, choices);
    pair.Backup(batch, /*release=*/false);
    if (choices.OneIn(100)) ManyVisits(pair, tree, choices);
  } else if (kind < 92) {
    return RandomFinish(pair, batch, choices);
  } else if (kind < 93) {
    pair.Reroot(tree, RandomNode(pair, tree, choices));
    return 1;
  } else if (kind < 94) {
    pair.Drop(choices.OneIn(20) ? -1 : tree);
    return 1;
  } else if (kind < 95) {
    pair.Replace(tree);
    return 1;
  } else if (kind < 97) {
    return RandomRewards(pair, batch.trees, choices);
  } else if (kind < 98) {
    if (choices.OneIn(2)) {
      RandomGumbel(pair, tree, choices);
    } else {
      pair.SetTies(batch, choices.OneIn(3) ? std::nullopt : std::optional{std::uint64_t{
                                                                choices.Below(1u << 31)}});
    }
    return 1;
  } else {
    pair.Check(tree);
    return 1;
  }
  return size;
}

}  // namespace rts
