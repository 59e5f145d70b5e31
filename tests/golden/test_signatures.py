"""Fixed searches whose signatures are recorded: a change of one bit of one node fails here.

A change that means to alter the search prints the new signatures with
``python tests/golden/test_signatures.py``; put them in signatures.json and say why in the commit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtsearch_fast.forest import NO_NODE, Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest

RECORDED = Path(__file__).with_name("signatures.json")
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
    "gumbel": ({"rule": "gumbel"}, 1),
    "gumbel_discount_batch_8": ({"rule": "gumbel", "discount": 0.9}, 8),
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


def test_recorded_signatures_when_listed_are_those_of_the_searches() -> None:
    assert sorted(json.loads(RECORDED.read_text("utf-8"))) == sorted(SEARCHES)


@pytest.mark.parametrize("forest_class", [Forest, ReferenceForest], ids=["core", "reference"])
@pytest.mark.parametrize("name", SEARCHES)
def test_search_when_repeated_has_the_recorded_signature(
    name: str, forest_class: type[Forest | ReferenceForest]
) -> None:
    settings, batch = SEARCHES[name]
    recorded = json.loads(RECORDED.read_text("utf-8"))
    assert search(forest_class(SearchParams(**settings)), batch) == recorded[name]


if __name__ == "__main__":
    print(
        json.dumps(
            {
                name: search(Forest(SearchParams(**settings)), batch)
                for name, (settings, batch) in SEARCHES.items()
            },
            indent=2,
        )
    )
