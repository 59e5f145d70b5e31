"""What `treequest.render` shows of our searches besides nodes and trials."""

from __future__ import annotations

from typing import Any

from treequest.algos.standard_mcts import MCTSState
from treequest.algos.tree import Node, Tree
from treequest.vis import register_adapter
from treequest.vis.algo_adapters.standard_mcts import StandardMCTSAdapter

from .state import SearchState

__all__ = ["SearchView"]


class SearchView:
    """treequest's protocol VisualizerAdapter for SearchState."""

    def get_algorithm_name(self, algo_state: SearchState) -> str:
        return type(algo_state.algorithm()).__name__

    def extract_node_metrics(self, algo_state: SearchState, node: Node) -> dict[str, Any]:
        """The metrics that treequest shows of its own search of this kind."""
        ours = node.expand_idx + 1
        if (beliefs := algo_state.beliefs(ours)) is not None:
            arms, children = beliefs
            lines = [
                f"{name} ~ {_belief(belief)}"
                for arm in arms
                for name, belief in zip(("GEN", "CONT", "action"), arm, strict=True)
            ]
            lines += [f"{child - 1} ~ {_belief(belief)}" for child, belief in children]
            items = "".join(f"<li>{line}</li>" for line in lines)
            return {
                "action_probas": {
                    "display_name": "Action Probabilities",
                    "display_value": f"<ul>{items}</ul>",
                }
            }
        return _counts(algo_state, node)


def _counts(algo_state: SearchState, node: Node) -> dict[str, Any]:
    """By treequest's own adapter, of a state that knows this node and its parent alone."""
    known = MCTSState(tree=Tree.with_root_node())
    for each in (node, node.parent):
        if each is None or (count := algo_state.count(each.expand_idx + 1)) is None:
            continue
        visits, value_sum, prior = count
        known.visit_counts[each.expand_idx] = visits
        known.value_sums[each.expand_idx] = value_sum
        if each is node and node.parent is not None and len(node.parent.children) > 1:
            known.priors[each.expand_idx] = prior
    weight = getattr(algo_state.algorithm(), "exploration_weight", 0.0)
    metrics: dict[str, Any] = StandardMCTSAdapter(weight).extract_node_metrics(known, node)
    return metrics


def _belief(numbers: list[float]) -> str:
    return ", ".join(f"{number:.3f}" for number in numbers if number)


register_adapter(SearchState.__name__, SearchView())
