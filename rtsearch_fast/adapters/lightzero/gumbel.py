"""What ``lzero.mcts.ctree.ctree_gumbel_muzero.gmz_tree`` has for a search, over the core.

Lists and arrays as in `rtsearch_fast.adapters.lightzero.muzero`.

Examples
--------
>>> roots = Roots(1, [[0, 1, 2]])
>>> roots.prepare_no_noise([0.0], [0.5], [[0.1, 0.5, 0.2]], [-1])
>>> statistics, results = MinMaxStatsList(1), ResultsWrapper(num=1)
>>> batch_traverse(roots, 8, 2, 0.997, results, [-1])
([0], [0], [0], [-1])
>>> batch_back_propagate(1, 0.997, [0.0], [1.0], [[0.0] * 3], statistics, results, [-1])
>>> [round(p, 3) for p in roots.get_policies(0.997, 3)[0]]
[0.987, 0.007, 0.006]
"""

from ..._core import GumbelRoots as Roots
from ..._core import MinMaxStatsList, ResultsWrapper
from ..._core import gumbel_batch_back_propagate as batch_back_propagate
from ..._core import gumbel_batch_traverse as batch_traverse

__all__ = ["MinMaxStatsList", "ResultsWrapper", "Roots", "batch_back_propagate", "batch_traverse"]
