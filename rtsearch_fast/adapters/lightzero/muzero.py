"""What ``lzero.mcts.ctree.ctree_muzero.mz_tree`` has, over the core.

Lists are taken as there. NumPy arrays are faster: float32 ones of shape [B] and [B, A] are read in
place, and whoever passes the players as an array gets arrays back.

Each search has Roots and a MinMaxStatsList of its own, and keeps the discount and the constants
that it begins with. A call that raises leaves all trees as they were.

Without `deterministic`, ties are broken by chance, as there; `seed_ties` makes that chance repeat
itself. With it, the action that was named first wins, as in LightZero from 0.2.1 on.

Examples
--------
>>> roots = Roots(2, [[0, 1, 2], [1, 2]])  # legal actions; an empty list for all
>>> roots.prepare_no_noise([0.0, 0.0], [[0.1, 0.5, 0.2], [0.4, 0.3, 0.0]], [-1, -1])
>>> statistics = MinMaxStatsList(2)
>>> statistics.set_delta(0.01)
>>> results = ResultsWrapper(num=2)
>>> batch_traverse(roots, 19652, 1.25, 0.997, statistics, results, [-1, -1], True)
([0, 0], [0, 1], [0, 1], [-1, -1])
>>> batch_backpropagate(
...     1, 0.997, [0.0, 0.5], [1.0, 0.25], [[0.0] * 3] * 2, statistics, results, [-1, -1]
... )
>>> roots.get_distributions()
[[1, 0, 0], [1, 0]]
"""

from ..._core import MinMaxStatsList, ResultsWrapper, seed_ties
from ..._core import MuZeroRoots as Roots
from ..._core import muzero_batch_backpropagate as batch_backpropagate
from ..._core import muzero_batch_traverse as batch_traverse

__all__ = [
    "MinMaxStatsList",
    "ResultsWrapper",
    "Roots",
    "batch_backpropagate",
    "batch_traverse",
    "seed_ties",
]
