"""treequest's algorithms on our core, with its interface and nothing else changed.

Examples
--------
::

    import treequest as tq
    from rtsearch_fast.adapters import treequest as fast

    algo = fast.StandardMCTS()  # was: tq.StandardMCTS()
    state = algo.init_tree()
    for _ in range(1000):
        state = algo.step(state, {"write": write}, inplace=True)
    best, score = tq.top_k(state, algo, k=1)[0]
"""

from __future__ import annotations

from ..versions import require_version

require_version("treequest", "0.3.3", "0.4")

from .ab_mcts import ABMCTSA  # noqa: E402
from .mcts import MCTS_G, StandardMCTS  # noqa: E402
from .state import SearchState  # noqa: E402
from .views import SearchView  # noqa: E402

__all__ = ["ABMCTSA", "MCTS_G", "SearchState", "SearchView", "StandardMCTS"]
