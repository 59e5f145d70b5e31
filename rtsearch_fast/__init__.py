"""Fast reward-guided tree search over LLM reasoning.

A policy model writes a solution step by step, a reward model judges it, and a tree search spends
more compute on one problem to find a better answer (MCTS, MCTS_G and their peers, after STILL-1,
arXiv 2411.11694). Importing this package needs NumPy alone; engines are imported when made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import SearchError
from .forest import NO_NODE, ROOT, Columns, Forest, SearchParams

if TYPE_CHECKING:
    from .policy.protocol import Policy, Sample, SampleRequest
    from .reward.protocol import Judgement, Reward
    from .search.methods import METHODS
    from .search.options import Budget, SearchOptions
    from .search.records import Candidate, Problem, SearchResult, SearchTree, Usage
    from .search.searcher import Searcher

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "NO_NODE",
    "ROOT",
    "Budget",
    "Candidate",
    "Columns",
    "Forest",
    "Judgement",
    "Policy",
    "Problem",
    "Reward",
    "Sample",
    "SampleRequest",
    "SearchError",
    "SearchOptions",
    "SearchParams",
    "SearchResult",
    "SearchTree",
    "Searcher",
    "Usage",
    "__version__",
]

# Who only wants the core should not wait for asyncio and the rest of the search to load.
_ON_FIRST_USE = {
    "METHODS": ".search.methods",
    "Budget": ".search.options",
    "Candidate": ".search.records",
    "Judgement": ".reward.protocol",
    "Policy": ".policy.protocol",
    "Problem": ".search.records",
    "Reward": ".reward.protocol",
    "Sample": ".policy.protocol",
    "SampleRequest": ".policy.protocol",
    "SearchOptions": ".search.options",
    "SearchResult": ".search.records",
    "SearchTree": ".search.records",
    "Searcher": ".search.searcher",
    "Usage": ".search.records",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ON_FIRST_USE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
