"""What goes into a policy and comes out of it, with mctx's names.

Shapes: B batch, N = 1 + num_simulations nodes, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

__all__ = ["PolicyOutput", "RecurrentFnOutput", "RootFnOutput", "SearchSummary", "Tree"]


class RootFnOutput(NamedTuple):
    """A model's view of the states to search from.

    Attributes
    ----------
    prior_logits : [B, A]
    value : [B]
    embedding : array of shape [B, ...], or tuples, lists and dicts of such
    """

    prior_logits: Any
    value: Any
    embedding: Any


class RecurrentFnOutput(NamedTuple):
    """A model's view of actions and of the states that they lead to.

    Attributes
    ----------
    reward, value : [B]
    discount : [B]
        The same number in [-1, 1] wherever it is not 0, which ends the episode: -1 for two players
        in turn.
    prior_logits : [B, A]
    """

    reward: Any
    discount: Any
    prior_logits: Any
    value: Any


class SearchSummary(NamedTuple):
    """Of the roots: visit_counts, visit_probs and qvalues [B, A], value [B]."""

    visit_counts: Any
    visit_probs: Any
    value: Any
    qvalues: Any


@dataclass(frozen=True)
class Tree:
    """A finished search; node 1 + i is what simulation i came to first.

    The slot of a simulation that came to a known node again, which is at max_depth or the end of an
    episode, stays empty. mctx goes on below the end of an episode, to no effect; this does not.

    Attributes
    ----------
    node_visits, raw_values, node_values, parents, action_from_parent : [B, N]
    children_index, children_prior_logits, children_visits, children_rewards, children_discounts,
    children_values : [B, N, A]
    embeddings : like RootFnOutput's, [B, N, ...]
    root_invalid_actions : [B, A]
    extra_data : [B, A] or None
        The Gumbel noise of the roots.
    """

    node_visits: Any
    raw_values: Any
    node_values: Any
    parents: Any
    action_from_parent: Any
    children_index: Any
    children_prior_logits: Any
    children_visits: Any
    children_rewards: Any
    children_discounts: Any
    children_values: Any
    embeddings: Any
    root_invalid_actions: Any
    extra_data: Any

    ROOT_INDEX: ClassVar[int] = 0
    NO_PARENT: ClassVar[int] = -1
    UNVISITED: ClassVar[int] = -1

    @property
    def num_actions(self) -> int:
        return int(self.children_index.shape[-1])

    @property
    def num_simulations(self) -> int:
        return int(self.node_visits.shape[-1]) - 1

    def qvalues(self, indices: Any) -> Any:
        """Q of the actions of node indices[b] of each tree b, [B, A]; one index is for all."""
        row = np.arange(len(self.node_visits))
        return (
            self.children_rewards[row, indices]
            + self.children_discounts[row, indices] * self.children_values[row, indices]
        )

    def summary(self) -> SearchSummary:
        """What was found at the roots."""
        value = self.node_values[:, self.ROOT_INDEX]
        counts = self.children_visits[:, self.ROOT_INDEX].astype(value.dtype)
        total = counts.sum(-1, keepdims=True)
        probs = np.where(total > 0, counts / np.maximum(total, 1), 1 / self.num_actions)
        return SearchSummary(
            counts, probs.astype(value.dtype), value, self.qvalues(self.ROOT_INDEX)
        )


class PolicyOutput(NamedTuple):
    """action : int32 [B]; action_weights : [B, A], targets of a policy; search_tree : Tree."""

    action: Any
    action_weights: Any
    search_tree: Tree
