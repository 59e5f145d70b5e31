"""Our searches under the interface of llm-reasoners: change one import.

``from reasoners.algorithm import MCTS, BeamSearch`` becomes
``from rtsearch_fast.adapters.llm_reasoners import MCTS, BeamSearch``; `MCTS_G` takes the place of
MCTS and chooses among all open leaves of the tree.
"""

from ..versions import require_version

require_version("llm-reasoners", "1.0.2", "1.1")

from .beam import BeamSearch  # noqa: E402
from .mcts import MCTS, MCTS_G  # noqa: E402
from .node import Node  # noqa: E402

__all__ = ["MCTS", "MCTS_G", "BeamSearch", "Node"]
