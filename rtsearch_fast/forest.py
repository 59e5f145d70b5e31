"""Many search trees in one object: the Python face of the C++ core.

Nothing here loops over nodes, and the methods are the core's own (csrc/bindings): a wrapper is dear
beside a simulation. Arguments are NumPy arrays of exactly the documented dtype; another
dtype is refused rather than converted, because a silent conversion costs more than the call.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgumentError

try:
    from . import _core
except ImportError as error:  # the source folder shadows the installed package
    raise ImportError(
        "rtsearch_fast is imported from its source folder, where the compiled core is missing: "
        "install it with `pip install -e .`, or start Python from another folder"
    ) from error

__all__ = ["NODE_BYTES", "NO_NODE", "ROOT", "Columns", "Forest", "SearchParams"]

#: The root of every tree.
ROOT = 0
#: What `Forest.select` returns where no leaf is open, and the parent of a root.
NO_NODE: int = _core.NO_NODE
#: Memory of one node, in bytes. Rules that look at all open leaves add 12 bytes a sibling group.
NODE_BYTES: int = _core.NODE_BYTES


@dataclass(frozen=True, slots=True)
class SearchParams:
    """Settings of a forest.

    Attributes
    ----------
    rule : {"uct", "puct", "mcts_g", "best_first", "muzero", "gumbel", "muzero_tree", "alphazero"}
        How a leaf is chosen. "uct" and "puct" descend from the root; "mcts_g" takes the best UCT
        score among all open leaves of the tree (STILL-1, arXiv 2411.11694), "best_first" the
        highest value among them. "muzero" (arXiv 1911.08265) and "gumbel" (Danihelka et al., ICLR
        2022) descend, and weigh each child against its siblings; `Forest.set_gumbel` plans the
        search of a root. "muzero_tree" is MuZero with values on the scale of the whole tree, as
        LightZero has it; "alphazero" is "puct" with a c that grows as that of "muzero" does. The
        formulas stand in `rtsearch_fast.reference`.
    exploration : float
        c of the rule, >= 0; MuZero's own is 1.25. "best_first" and "gumbel" have none.
    exploration_base : float
        Visits at which c of "muzero", "muzero_tree" and "alphazero" has grown by ln 2, >= 1.
    value_scale, maxvisit_init : float
        "gumbel" weighs values by value_scale * (maxvisit_init + visits of the most visited child)
        against log-priors, both >= 0.
    least_span : float
        Least width of the scale of "muzero_tree", >= 0.
    backup : {"mean", "max", "last"}
        What a node keeps of the values backed up through it. "last" is for callers who make a value
        of all that came before.
    first_play : {"first", "parent", "value", "prior", "reward"}, optional
        First-play urgency, the value of a child without visits: "first" tries every child once
        before any is tried twice; "parent" takes the parent's mean less `first_play_value` (not
        below value_min); "value" takes `first_play_value` itself; "prior" the child's own prior,
        which may be any finite number then (not with "puct" and "alphazero"); "reward" the reward
        of the edge to it, for models that judge children when they make them (rules that descend).
        None means "parent" for "puct" and "alphazero", whose priors decide, and "first" for the
        others. "muzero", "gumbel" and "muzero_tree" have a first play of their own and take none.
    first_play_value : float
    virtual_loss : float
        Lost visits (of value value_min) that each simulation in flight counts for, >= 0. 0 counts
        it as a visit in the exploration term only (WU-UCT).
    discount : float
        Factor in [0, 1] on a child's value on its way to the parent. For an edge that ends an
        episode (discount 0), leave the node below it a leaf and back 0 up from it. "muzero",
        "gumbel" and "muzero_tree" take [-1, 1]: a negative one is for two players in turn, each of
        whom counts his own wins; a virtual loss is then of value value_max.
    value_min, value_max : float
        Range of the values that may be backed up.
    revisit_terminal : bool
        May a terminal node be selected again? Off, a judged solution is not judged twice.
    max_nodes : int
        Most nodes of one tree, in [1, 2**32 - 2]. Memory is taken as nodes are made; max_nodes
        only reserves address space.

    Examples
    --------
    >>> SearchParams(rule="mcts_g", exploration=0.4).rule
    'mcts_g'
    """

    rule: Literal[
        "uct", "puct", "mcts_g", "best_first", "muzero", "gumbel", "muzero_tree", "alphazero"
    ] = "uct"
    exploration: float = 1.0
    exploration_base: float = 19652.0
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    least_span: float = 0.0
    backup: Literal["mean", "max", "last"] = "mean"
    first_play: Literal["first", "parent", "value", "prior", "reward"] | None = None
    first_play_value: float = 0.0
    virtual_loss: float = 1.0
    discount: float = 1.0
    value_min: float = 0.0
    value_max: float = 1.0
    revisit_terminal: bool = False
    max_nodes: int = 1 << 20

    def __post_init__(self) -> None:
        if self.first_play is None:
            by_prior = self.rule in ("puct", "alphazero")
            object.__setattr__(self, "first_play", "parent" if by_prior else "first")
        self.to_core()

    def to_core(self) -> _core.SearchParams:
        """The same settings for the core, checked there."""
        return _core.SearchParams(
            rule=_member(_core.Rule, "rule", self.rule),
            backup=_member(_core.BackupMode, "backup", self.backup),
            first_play=_member(_core.FirstPlay, "first_play", self.first_play),
            revisit_terminal=self.revisit_terminal,
            exploration=self.exploration,
            exploration_base=self.exploration_base,
            value_scale=self.value_scale,
            maxvisit_init=self.maxvisit_init,
            least_span=self.least_span,
            first_play_value=self.first_play_value,
            virtual_loss=self.virtual_loss,
            discount=self.discount,
            value_min=self.value_min,
            value_max=self.value_max,
            max_nodes=self.max_nodes,
        )


_Member = TypeVar("_Member", bound=enum.Enum)


def _member(choices: type[_Member], name: str, value: object) -> _Member:
    try:
        return choices[str(value)]
    except KeyError:
        names = ", ".join(choices.__members__)
        raise InvalidArgumentError(f"{name}={value!r}: choose one of {names}") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """Copies of all fields of a tree's nodes; entry i of each array is node i.

    Attributes
    ----------
    parent : uint32 [N]
        NO_NODE for the root. Parents have lower ids than their children.
    visit_count : uint32 [N]
        Backups that passed through.
    value_sum : float64 [N]
        Sum of the backed-up values (with ``backup="max"`` their maximum, with "last" the last).
    prior, edge_reward : float32 [N]
    in_flight : uint16 [N]
        Selected leaves at or below the node that are not released.
    terminal, expanded : bool [N]
    """

    parent: NDArray[np.uint32]
    visit_count: NDArray[np.uint32]
    value_sum: NDArray[np.float64]
    prior: NDArray[np.float32]
    edge_reward: NDArray[np.float32]
    in_flight: NDArray[np.uint16]
    terminal: NDArray[np.bool_]
    expanded: NDArray[np.bool_]


class Forest(_core.Forest):
    """Search trees that are selected from, expanded and backed up in batches.

    A batch is checked as a whole before anything happens: a call that raises leaves every tree as
    it was. All methods raise UnknownTreeError, UnknownNodeError, InvalidArgumentError (NaN, value
    out of range, wrong length), TypeError (wrong dtype) or ConcurrentUseError (another thread is
    inside this forest; different forests are independent). No thread may change the arrays that are
    passed until the call returns.

    `select`, `expand`, `backup`, `advance` and `release` also take one tree, node, count and value
    as plain numbers, and give numbers: for searches that go one by one that is several times faster
    than arrays of one.

    Parameters
    ----------
    params : SearchParams

    Examples
    --------
    >>> import numpy as np
    >>> forest = Forest(SearchParams(rule="uct"))
    >>> trees = forest.create_trees(1)
    >>> leaves = forest.select(trees)                       # the root
    >>> first = forest.expand(trees, leaves, np.array([2], np.int32))
    >>> forest.backup(np.repeat(trees, 2), first + np.arange(2, dtype=np.uint32),
    ...               np.array([0.25, 0.75]))
    >>> forest.release(trees, leaves)
    >>> forest.select(trees).tolist()                       # the better child
    [2]
    >>> forest.backup(0, 2, 0.5, release=True)              # one by one
    >>> forest.select(0)
    2
    """

    __slots__ = ("params",)

    def __init__(self, params: SearchParams | None = None) -> None:
        self.params = params if params is not None else SearchParams()
        super().__init__(self.params.to_core())

    def columns(self, tree: int) -> Columns:
        """Copy all fields of all nodes."""
        return Columns(**self._columns(tree))
