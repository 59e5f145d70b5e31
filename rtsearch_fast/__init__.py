"""Fast reward-guided tree search over LLM reasoning.

A policy model writes a solution step by step, a reward model judges it, and a tree search spends
more compute on one problem to find a better answer (MCTS, MCTS_G and their peers, after STILL-1,
arXiv 2411.11694). Importing this package needs NumPy alone; engines are imported when made.
"""

from __future__ import annotations

from .errors import SearchError
from .forest import NO_NODE, ROOT, Columns, Forest, SearchParams
from .policy.protocol import Policy, Sample, SampleRequest
from .reward.protocol import Judgement, Reward
from .search.methods import METHODS
from .search.options import Budget, SearchOptions
from .search.records import Candidate, Problem, SearchResult, Usage
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
    "Searcher",
    "Usage",
    "__version__",
]
