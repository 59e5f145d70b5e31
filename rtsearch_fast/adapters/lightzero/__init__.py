"""LightZero's search trees (``lzero.mcts.ctree``) over the core; LightZero itself is not needed.

`muzero` stands for ``ctree_muzero.mz_tree`` and `gumbel` for ``ctree_gumbel_muzero.gmz_tree`` of
LightZero 0.2.0: the same names and arguments, the same trees, values and policies.
"""

from . import gumbel, muzero

__all__ = ["gumbel", "muzero"]
