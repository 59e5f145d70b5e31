"""Our searches as algorithms of its_hub: `AbstractScalingAlgorithm`, over its own models.

`BestOfN` and `BeamSearch` take the arguments of its_hub's; `MCTS` and `MCTS_G` are new there.
"""

from __future__ import annotations

from ..versions import require_version

require_version("its_hub", "1.2", "1.3")

# a version that is unknown is refused before anything of it is imported
from .beam_search import BeamSearch, BeamSearchResult  # noqa: E402
from .best_of_n import BestOfN, BestOfNResult  # noqa: E402
from .tree_search import MCTS, MCTS_G, TreeSearchResult  # noqa: E402

__all__ = [
    "MCTS",
    "MCTS_G",
    "BeamSearch",
    "BeamSearchResult",
    "BestOfN",
    "BestOfNResult",
    "TreeSearchResult",
]
