"""StandardMCTS of treequest, and MCTS_G beside it."""

from __future__ import annotations

from math import sqrt

from .algorithm import AskTellAlgorithm

__all__ = ["MCTS_G", "StandardMCTS"]


class StandardMCTS(AskTellAlgorithm):
    """The twin of `treequest.StandardMCTS`: the same nodes in the same order, to the last bit.

    From the root down goes the search to the first child with the highest

        V + c * P * sqrt(ln N(parent) / N),

    V the mean score of the child and all nodes below it, N their number, P the softmax of the
    scores of the siblings (1 for an only child). That is what treequest 0.3.3 computes; its
    docstring has P at V instead. The leaf where this ends gets `samples_per_action` children of
    each action before the next one is chosen.

    Parameters
    ----------
    samples_per_action : int
        In [1, 65535].
    exploration_weight : float
        c, finite, >= 0.
    virtual_loss : bool
        How `ask_batch` hands out more trials than the leaf still wants. False asks again for the
        same children, as treequest does: the first to be told count, the others become INVALID and
        their work is lost. True goes on to other leaves, each child that is asked for counting as a
        visit of value 0 until it is told; then no trial is lost, and a batch of one is as before.
        Only where every leaf is being expanded it asks twice. It is a parameter of the algorithm
        and off unless asked for, because it changes the tree.

    Raises
    ------
    InvalidArgumentError
        A parameter is out of range.
    """

    def __init__(
        self,
        *,
        samples_per_action: int = 2,
        exploration_weight: float = sqrt(2),
        virtual_loss: bool = False,
    ) -> None:
        self._set_up(
            "softmax",
            {
                "samples_per_action": samples_per_action,
                "exploration_weight": exploration_weight,
                "virtual_loss": virtual_loss,
            },
            samples=samples_per_action,
            exploration=exploration_weight,
            distinct=virtual_loss,
        )

    @property
    def samples_per_action(self) -> int:
        return int(self._arguments["samples_per_action"])

    @property
    def exploration_weight(self) -> float:
        return float(self._arguments["exploration_weight"])


class MCTS_G(AskTellAlgorithm):
    """MCTS_G (STILL-1, arXiv 2411.11694) with treequest's interface.

    The leaf with the highest V + c * sqrt(ln N(parent) / N) of the whole tree is expanded next,
    wherever it is. `ask_batch` always hands out different leaves as long as there are any: the best
    of those that are not being expanded.

    Parameters
    ----------
    samples_per_action : int
        Children of each action that a leaf gets, in [1, 65535].
    exploration_weight : float
        c, finite, >= 0.

    Raises
    ------
    InvalidArgumentError
        A parameter is out of range.
    """

    def __init__(self, *, samples_per_action: int = 2, exploration_weight: float = 0.4) -> None:
        self._set_up(
            "mcts_g",
            {"samples_per_action": samples_per_action, "exploration_weight": exploration_weight},
            samples=samples_per_action,
            exploration=exploration_weight,
            distinct=True,
        )

    @property
    def samples_per_action(self) -> int:
        return int(self._arguments["samples_per_action"])

    @property
    def exploration_weight(self) -> float:
        return float(self._arguments["exploration_weight"])
