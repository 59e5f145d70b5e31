"""search-and-learn (huggingface/search-and-learn, module ``sal``): our searches as its approaches.

An approach is a function ``fn(x, config, llm, prm)`` that its script maps over a dataset;
`APPROACHES` has ours by the names that stand in a recipe's ``approach``. Its recipes load
unchanged. All problems of a batch are searched at once.

Of the framework nothing is imported but the two long texts that are its recipes' defaults, and
only where a recipe leaves them out; `config` is anything with the fields of its ``Config``.
"""

from __future__ import annotations

from .approaches import (
    APPROACHES,
    rtsearch_beam_search,
    rtsearch_best_of_n,
    rtsearch_mcts,
    rtsearch_mcts_g,
)
from .recipe import Plan, load_recipe, options_of
from .rows import to_rows, write_rows

__all__ = [
    "APPROACHES",
    "Plan",
    "load_recipe",
    "options_of",
    "rtsearch_beam_search",
    "rtsearch_best_of_n",
    "rtsearch_mcts",
    "rtsearch_mcts_g",
    "to_rows",
    "write_rows",
]
