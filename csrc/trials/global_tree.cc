#include "trials/global_tree.h"

#include <string>
#include <vector>

#include "core/error.h"

namespace rts {
namespace {

SearchParams ParamsFor(const TrialSettings& settings) {
  SearchParams params;
  params.rule = Rule::kMctsG;
  params.exploration = settings.exploration;
  params.max_nodes = settings.max_nodes;
  return params;
}

}  // namespace

GlobalTree::GlobalTree(const TrialSettings& settings)
    : forest_(ParamsFor(settings)), tree_(forest_.CreateTrees(1).front()) {}

NodeId GlobalTree::Select() {
  NodeId leaf = kNoNode;
  forest_.Select({&tree_, 1}, {&leaf, 1});
  return leaf;
}

NodeId GlobalTree::Best() {
  const NodeId leaf = Select();
  if (leaf != kNoNode) forest_.Release({&tree_, 1}, {&leaf, 1});
  return leaf;
}

void GlobalTree::Hold(NodeId leaf, std::uint32_t) {
  // It is the best one, unless the search was recorded with other settings.
  std::vector<NodeId> others;
  for (NodeId best = Select(); best != leaf; best = Select()) {
    if (best == kNoNode) {
      throw Error(Fault::kCorruptData, "node " + std::to_string(leaf) + " is no open leaf");
    }
    others.push_back(best);
  }
  for (const NodeId other : others) Free(other, 0);
}

void GlobalTree::Free(NodeId leaf, std::uint32_t) { forest_.Release({&tree_, 1}, {&leaf, 1}); }

void GlobalTree::Add(NodeId parent, double score) {
  const std::int32_t one = 1;
  NodeId child = kNoNode;
  forest_.Expand({&tree_, 1}, {&parent, 1}, {&one, 1}, {}, {}, {}, {&child, 1});
  forest_.Backup({&tree_, 1}, {&child, 1}, {&score, 1}, /*release=*/false);
}

Count GlobalTree::CountOf(NodeId id) {
  const Node node = forest_.NodeOf(tree_, id);
  return {node.visit_count, node.value_sum, 1};
}

}  // namespace rts
