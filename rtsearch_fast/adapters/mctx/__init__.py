"""mctx's MuZero and Gumbel MuZero policies over the core, in NumPy; neither mctx nor JAX is needed.

Names, arguments and results are those of mctx 0.0.71, whose trees these are to the last visit. A
`recurrent_fn` may be any Python function, one that asks a server for example.
"""

from .policies import gumbel_muzero_policy, muzero_policy
from .qtransforms import qtransform_by_parent_and_siblings, qtransform_completed_by_mix_value
from .tree import PolicyOutput, RecurrentFnOutput, RootFnOutput, SearchSummary, Tree

__all__ = [
    "PolicyOutput",
    "RecurrentFnOutput",
    "RootFnOutput",
    "SearchSummary",
    "Tree",
    "gumbel_muzero_policy",
    "muzero_policy",
    "qtransform_by_parent_and_siblings",
    "qtransform_completed_by_mix_value",
]
