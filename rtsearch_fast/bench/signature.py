"""Fixed searches, by a hash as evaluator, and the signatures of the trees that they must grow.

A core that was built by any compiler, for any instruction set, must reach them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..forest import NO_NODE, Forest, SearchParams

if TYPE_CHECKING:
    from ..reference import ReferenceForest

__all__ = ["SEARCHES", "recorded_signatures", "search", "signatures"]

SIMULATIONS = 300
CHILDREN = 4

# Name of the search: settings of the forest, and how many simulations are in flight at once.
SEARCHES: dict[str, tuple[dict[str, Any], int]] = {
    "uct": ({"rule": "uct", "exploration": 1.4}, 1),
    "uct_batch_8": ({"rule": "uct", "exploration": 1.4}, 8),
    "uct_virtual_loss_0_batch_8": ({"rule": "uct", "exploration": 1.4, "virtual_loss": 0.0}, 8),
    "uct_max": ({"rule": "uct", "exploration": 0.4, "backup": "max"}, 1),
    "uct_discount": ({"rule": "uct", "exploration": 1.4, "discount": 0.9}, 1),
    "uct_revisit_terminal": ({"rule": "uct", "exploration": 0.2, "revisit_terminal": True}, 1),
    "puct": ({"rule": "puct", "exploration": 1.4}, 1),
    "puct_batch_8": ({"rule": "puct", "exploration": 1.4, "first_play_value": 0.1}, 8),
    "mcts_g": ({"rule": "mcts_g", "exploration": 0.4}, 1),
    "mcts_g_batch_8": ({"rule": "mcts_g", "exploration": 0.4}, 8),
    "mcts_g_parent": ({"rule": "mcts_g", "exploration": 0.4, "first_play": "parent"}, 1),
    "best_first": ({"rule": "best_first", "first_play": "value", "first_play_value": 0.6}, 1),
    "best_first_batch_8": ({"rule": "best_first", "first_play": "parent"}, 8),
    "muzero": ({"rule": "muzero", "exploration": 1.25}, 1),
    "muzero_discount_batch_8": ({"rule": "muzero", "exploration": 1.25, "discount": 0.9}, 8),
    "alphazero": ({"rule": "alphazero", "exploration": 1.25, "exploration_base": 50.0}, 1),
    "alphazero_reward_batch_8": (
        {"rule": "alphazero", "exploration": 1.25, "first_play": "reward"},
        8,
    ),
    "gumbel": ({"rule": "gumbel"}, 1),
    "gumbel_discount_batch_8": ({"rule": "gumbel", "discount": 0.9}, 8),
    "muzero_tree": ({"rule": "muzero_tree", "exploration": 1.25}, 1),
    "muzero_tree_two_players_batch_8": (
        {"rule": "muzero_tree", "exploration": 1.25, "discount": -0.9, "value_min": -1.0},
        8,
    ),
}


def hashed(ids: Any, salt: int) -> Any:
    """Numbers in [0, 1) that depend on the id alone: the evaluator of these searches."""
    words = (ids.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def search(forest: Forest | ReferenceForest, batch: int) -> str:
    """Grow one tree by SIMULATIONS; every new child is judged at once, as STILL-1 does."""
    (tree,) = forest.create_trees(1)
    done = 0
    while done < SIMULATIONS:
        leaves = forest.select(np.full(min(batch, SIMULATIONS - done), tree, np.int32))
        leaves = leaves[leaves != NO_NODE]
        trees = np.full(len(leaves), tree, np.int32)
        children = forest.num_nodes(tree) + np.arange(len(leaves) * CHILDREN, dtype=np.uint32)
        is_terminal = forest.columns(tree).terminal[leaves]  # revisited: nothing to expand
        open_leaves = leaves[~is_terminal]
        children = children[: len(open_leaves) * CHILDREN]
        forest.expand(
            trees[: len(open_leaves)],
            open_leaves,
            np.full(len(open_leaves), CHILDREN, np.int32),
            priors=hashed(children, 1).astype(np.float32),
            terminal=hashed(children, 2) < 0.1,
            rewards=(hashed(children, 3) * 0.25).astype(np.float32),
        )
        judged = children[hashed(children, 4) < 0.75]
        forest.backup(np.full(len(judged), tree, np.int32), judged, hashed(judged, 5))
        forest.backup(trees, leaves, hashed(leaves, 5), release=True)
        if done == 0 and forest.params.rule == "gumbel":
            noise = (hashed(np.arange(CHILDREN), 6) * 4).astype(np.float32)
            forest.set_gumbel(int(tree), noise, num_simulations=SIMULATIONS, max_considered=3)
        done += len(leaves)
    return f"{forest.signature(tree):016x}"


def signatures() -> dict[str, str]:
    """Run all searches on the core."""
    return {
        name: search(Forest(SearchParams(**settings)), batch)
        for name, (settings, batch) in SEARCHES.items()
    }


def recorded_signatures() -> dict[str, str]:
    """What they must be."""
    text = Path(__file__).with_name("signatures.json").read_text("utf-8")
    return dict(json.loads(text))
