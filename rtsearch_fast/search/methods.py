"""The registry of search methods: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import InvalidArgumentError
from .beam import Beam
from .mcts import TreeSearch
from .options import Budget, SearchOptions
from .sampling import Sampling
from .task import Method

__all__ = ["METHODS", "make_method"]

#: Name -> maker of the method. Beam search judges prefixes, whatever `options.value` says.
METHODS: dict[str, Callable[[SearchOptions, Budget], Method]] = {
    "cot": lambda options, budget: Sampling("best", greedy=True),
    "best_of_n": lambda options, budget: Sampling("best"),
    "majority": lambda options, budget: Sampling("majority"),
    "weighted_majority": lambda options, budget: Sampling("weighted"),
    "beam": lambda options, budget: Beam(options),
    "mcts": lambda options, budget: TreeSearch("uct", options, budget),
    "mcts_g": lambda options, budget: TreeSearch("mcts_g", options, budget),
}


def make_method(name: str, options: SearchOptions, budget: Budget) -> tuple[Method, SearchOptions]:
    """Make a method by name, and the options as the method needs them.

    Raises
    ------
    InvalidArgumentError
        Unknown name, or options that do not go with the method.

    Examples
    --------
    >>> method, _ = make_method("mcts_g", SearchOptions(), Budget(tokens=1000))
    >>> method.vote
    'weighted'
    """
    if name not in METHODS:
        raise InvalidArgumentError(f"method={name!r}: choose one of {', '.join(METHODS)}")
    if options.vote == "path" and name not in ("mcts", "mcts_g"):
        raise InvalidArgumentError(
            f"vote='path' needs a tree, and {name} has none: choose weighted, majority or best"
        )
    if (budget.tokens, budget.simulations, budget.seconds) == (None, None, None) and (
        name not in ("mcts", "mcts_g")
    ):
        raise InvalidArgumentError(
            f"budget nodes={budget.nodes}: {name} has no tree, so nothing would end it; give "
            "tokens, simulations or seconds, too"
        )
    if name == "beam":
        options = replace(options, value="prefix")
    return METHODS[name](options, budget), options
