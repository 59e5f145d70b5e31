// The fixed searches of tests/golden/test_signatures.py in C++, by the core and by its twin.
//
//   signatures_test RECORDED.json
//
// Both must reach the recorded signatures, whatever compiler, build and instruction set
// (RTSEARCH_ISA) this is. Exit status 77: the machine lacks that instruction set.
#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/forest.h"
#include "simd/select.h"
#include "support/reference_forest.h"

namespace rts {
namespace {

constexpr std::size_t kSimulations = 300;
constexpr std::int32_t kChildren = 4;

struct Search {
  SearchParams params;
  std::size_t in_flight;
};

std::map<std::string, Search> Searches() {
  const auto search = [](Rule rule, double exploration, std::size_t in_flight,
                         const auto& change) {
    SearchParams params;
    params.rule = rule;
    params.exploration = exploration;
    if (rule == Rule::kPuct || rule == Rule::kAlphaZero) params.first_play = FirstPlay::kParent;
    change(params);
    return Search{params, in_flight};
  };
  const auto as_it_is = [](SearchParams&) {};
  return {
      {"uct", search(Rule::kUct, 1.4, 1, as_it_is)},
      {"uct_batch_8", search(Rule::kUct, 1.4, 8, as_it_is)},
      {"uct_virtual_loss_0_batch_8",
       search(Rule::kUct, 1.4, 8, [](SearchParams& p) { p.virtual_loss = 0; })},
      {"uct_max", search(Rule::kUct, 0.4, 1, [](SearchParams& p) { p.backup = BackupMode::kMax; })},
      {"uct_discount", search(Rule::kUct, 1.4, 1, [](SearchParams& p) { p.discount = 0.9; })},
      {"uct_revisit_terminal",
       search(Rule::kUct, 0.2, 1, [](SearchParams& p) { p.revisit_terminal = true; })},
      {"puct", search(Rule::kPuct, 1.4, 1, as_it_is)},
      {"puct_batch_8",
       search(Rule::kPuct, 1.4, 8, [](SearchParams& p) { p.first_play_value = 0.1; })},
      {"mcts_g", search(Rule::kMctsG, 0.4, 1, as_it_is)},
      {"mcts_g_batch_8", search(Rule::kMctsG, 0.4, 8, as_it_is)},
      {"mcts_g_parent", search(Rule::kMctsG, 0.4, 1,
                               [](SearchParams& p) { p.first_play = FirstPlay::kParent; })},
      {"best_first", search(Rule::kBestFirst, 1.0, 1,
                            [](SearchParams& p) {
                              p.first_play = FirstPlay::kValue;
                              p.first_play_value = 0.6;
                            })},
      {"best_first_batch_8", search(Rule::kBestFirst, 1.0, 8,
                                    [](SearchParams& p) { p.first_play = FirstPlay::kParent; })},
      {"muzero", search(Rule::kMuZero, 1.25, 1, as_it_is)},
      {"muzero_discount_batch_8",
       search(Rule::kMuZero, 1.25, 8, [](SearchParams& p) { p.discount = 0.9; })},
      {"alphazero", search(Rule::kAlphaZero, 1.25, 1,
                           [](SearchParams& p) { p.exploration_base = 50; })},
      {"alphazero_reward_batch_8", search(Rule::kAlphaZero, 1.25, 8,
                                          [](SearchParams& p) {
                                            p.first_play = FirstPlay::kReward;
                                          })},
      {"gumbel", search(Rule::kGumbel, 1.0, 1, as_it_is)},
      {"gumbel_discount_batch_8",
       search(Rule::kGumbel, 1.0, 8, [](SearchParams& p) { p.discount = 0.9; })},
      {"muzero_tree", search(Rule::kMuZeroTree, 1.25, 1, as_it_is)},
      {"muzero_tree_two_players_batch_8", search(Rule::kMuZeroTree, 1.25, 8,
                                                 [](SearchParams& p) {
                                                   p.discount = -0.9;
                                                   p.value_min = -1;
                                                 })},
  };
}

// A number in [0, 1) that depends on the id alone: the evaluator of these searches.
double Hashed(NodeId id, std::uint64_t salt) {
  std::uint64_t word = (id + salt) * 0x9E3779B97F4A7C15ull;
  word = (word ^ (word >> 29)) * 0xBF58476D1CE4E5B9ull;
  return static_cast<double>(word >> 11) * 0x1p-53;
}

template <typename AnyForest>
std::uint64_t SignatureOf(const Search& search) {
  AnyForest forest(search.params);
  const TreeId tree = forest.CreateTrees(1).front();
  for (std::size_t done = 0; done < kSimulations;) {
    const std::size_t batch = std::min(search.in_flight, kSimulations - done);
    std::vector<NodeId> leaves(batch);
    forest.Select(std::vector<TreeId>(batch, tree), leaves);
    std::erase(leaves, kNoNode);
    const std::vector<Node> nodes = forest.Nodes(tree);
    std::vector<NodeId> parents;  // a terminal leaf that is revisited has nothing to expand
    for (const NodeId leaf : leaves) {
      if (!nodes[leaf].Has(Node::kTerminal)) parents.push_back(leaf);
    }
    std::vector<float> priors;
    std::vector<std::uint8_t> terminal;
    std::vector<float> rewards;
    std::vector<NodeId> judged;
    std::vector<double> values;
    const NodeId end = forest.NumNodes(tree) + static_cast<NodeId>(parents.size()) * kChildren;
    for (NodeId child = forest.NumNodes(tree); child < end; ++child) {
      priors.push_back(static_cast<float>(Hashed(child, 1)));
      terminal.push_back(Hashed(child, 2) < 0.1);
      rewards.push_back(static_cast<float>(Hashed(child, 3) * 0.25));
      if (Hashed(child, 4) >= 0.75) continue;
      judged.push_back(child);
      values.push_back(Hashed(child, 5));
    }
    std::vector<NodeId> first(parents.size());
    forest.Expand(std::vector<TreeId>(parents.size(), tree), parents,
                  std::vector<std::int32_t>(parents.size(), kChildren), priors, terminal, rewards,
                  first);
    forest.Backup(std::vector<TreeId>(judged.size(), tree), judged, values, /*release=*/false);
    values.clear();
    for (const NodeId leaf : leaves) values.push_back(Hashed(leaf, 5));
    forest.Backup(std::vector<TreeId>(leaves.size(), tree), leaves, values, /*release=*/true);
    if (done == 0 && search.params.rule == Rule::kGumbel) {
      std::vector<float> noise;
      for (NodeId i = 0; i < kChildren; ++i) noise.push_back(static_cast<float>(Hashed(i, 6) * 4));
      forest.SetGumbel(tree, noise, kSimulations, /*max_considered=*/3);
    }
    done += leaves.size();
  }
  return forest.Signature(tree);
}

// The flat object {"name": "16 digits", ...} of signatures.json.
std::map<std::string, std::uint64_t> Recorded(const char* path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::regex entry("\"(\\w+)\": \"([0-9a-f]{16})\"");
  std::map<std::string, std::uint64_t> recorded;
  for (std::sregex_iterator it(text.begin(), text.end(), entry), none; it != none; ++it) {
    recorded[(*it)[1]] = std::stoull((*it)[2], nullptr, 16);
  }
  return recorded;
}

int Compare(const char* path) {
  const auto recorded = Recorded(path);
  const auto searches = Searches();
  int wrong = 0;
  for (const auto& [name, signature] : recorded) {
    if (searches.contains(name)) continue;
    std::fprintf(stderr, "%s is recorded, but unknown here\n", name.c_str());
    ++wrong;
  }
  for (const auto& [name, search] : searches) {
    const std::uint64_t core = SignatureOf<Forest>(search);
    const std::uint64_t twin = SignatureOf<ReferenceForest>(search);
    const auto found = recorded.find(name);
    if (found != recorded.end() && found->second == core && core == twin) continue;
    std::fprintf(stderr, "%s: core %016" PRIx64 ", twin %016" PRIx64 ", not what is recorded\n",
                 name.c_str(), core, twin);
    ++wrong;
  }
  if (wrong == 0) std::printf("signatures_test: %zu searches as recorded\n", searches.size());
  return wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace rts

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: signatures_test RECORDED.json\n");
    return 2;
  }
  try {
    rts::BestIsa();
  } catch (const rts::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 77;
  }
  try {
    return rts::Compare(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "signatures_test: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
