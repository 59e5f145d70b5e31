"""Many search trees in one object: the Python face of the C++ core.

Nothing here loops over nodes. Arguments are NumPy arrays of exactly the documented dtype; another
dtype is refused rather than converted, because a silent conversion costs more than the call.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal, TypeVar, overload

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

TreeIds = NDArray[np.int32]
NodeIds = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class SearchParams:
    """Settings of a forest.

    Attributes
    ----------
    rule : {"uct", "puct", "mcts_g", "best_first", "muzero", "gumbel"}
        How a leaf is chosen. "uct" and "puct" descend from the root; "mcts_g" takes the best UCT
        score among all open leaves of the tree (STILL-1, arXiv 2411.11694), "best_first" the
        highest value among them. "muzero" (arXiv 1911.08265) and "gumbel" (Danihelka et al., ICLR
        2022) descend, and weigh each child against its siblings; `Forest.set_gumbel` plans the
        search of a root. The formulas stand in `rtsearch_fast.reference`.
    exploration : float
        c of the rule, >= 0; MuZero's own is 1.25. "best_first" and "gumbel" have none.
    exploration_base : float
        Visits at which c of "muzero" has grown by ln 2, >= 1.
    value_scale, maxvisit_init : float
        "gumbel" weighs values by value_scale * (maxvisit_init + visits of the most visited child)
        against log-priors, both >= 0.
    backup : {"mean", "max"}
        What a node keeps of the values backed up through it.
    first_play : {"first", "parent", "value"}, optional
        First-play urgency, the value of a child without visits: "first" tries every child once
        before any is tried twice; "parent" takes the parent's mean less `first_play_value` (not
        below value_min); "value" takes `first_play_value` itself. None means "parent" for puct,
        whose priors decide, and "first" for the others. "muzero" and "gumbel" have a first play of
        their own and take none.
    first_play_value : float
    virtual_loss : float
        Lost visits (of value value_min) that each simulation in flight counts for, >= 0. 0 counts
        it as a visit in the exploration term only (WU-UCT).
    discount : float
        Factor in [0, 1] on a child's value on its way to the parent. For an edge that ends an
        episode (discount 0), leave the node below it a leaf and back 0 up from it.
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

    rule: Literal["uct", "puct", "mcts_g", "best_first", "muzero", "gumbel"] = "uct"
    exploration: float = 1.0
    exploration_base: float = 19652.0
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    backup: Literal["mean", "max"] = "mean"
    first_play: Literal["first", "parent", "value"] | None = None
    first_play_value: float = 0.0
    virtual_loss: float = 1.0
    discount: float = 1.0
    value_min: float = 0.0
    value_max: float = 1.0
    revisit_terminal: bool = False
    max_nodes: int = 1 << 20

    def __post_init__(self) -> None:
        if self.first_play is None:
            object.__setattr__(self, "first_play", "parent" if self.rule == "puct" else "first")
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
        Sum of the backed-up values (their maximum with ``backup="max"``).
    prior, edge_reward : float32 [N]
    in_flight : uint16 [N]
        Selected leaves at or below the node that are not released.
    terminal, expanded : bool [N]
    """

    parent: NodeIds
    visit_count: NDArray[np.uint32]
    value_sum: NDArray[np.float64]
    prior: NDArray[np.float32]
    edge_reward: NDArray[np.float32]
    in_flight: NDArray[np.uint16]
    terminal: NDArray[np.bool_]
    expanded: NDArray[np.bool_]


class Forest:
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

    __slots__ = ("_core", "params")

    def __init__(self, params: SearchParams | None = None) -> None:
        self.params = params if params is not None else SearchParams()
        self._core = _core.Forest(self.params.to_core())

    @property
    def num_trees(self) -> int:
        """Trees that were created and not dropped."""
        return self._core.num_trees

    def create_trees(self, count: int = 1) -> TreeIds:
        """Make `count` trees of one unvisited root each; returns their ids, int32 [count]."""
        return self._core.create_trees(count)

    def drop_trees(self, trees: TreeIds) -> None:
        """Forget trees. Their ids are not used again; their memory goes to new trees."""
        self._core.drop_trees(trees)

    @overload
    def select(self, trees: TreeIds) -> NodeIds: ...
    @overload
    def select(self, trees: int) -> int: ...
    def select(self, trees: TreeIds | int) -> NodeIds | int:
        """Take the best open leaf of each tree and count it in flight.

        A leaf in flight is closed until it is released, so one tree may be named several times in
        a batch and gives as many different leaves.

        Parameters
        ----------
        trees : int32 [B] or int

        Returns
        -------
        uint32 [B] or int
            NO_NODE where no leaf is open (or 65,535 are in flight).
        """
        return self._core.select(trees)

    @overload
    def expand(
        self,
        trees: TreeIds,
        nodes: NodeIds,
        counts: NDArray[np.int32],
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> NodeIds: ...
    @overload
    def expand(
        self,
        trees: int,
        nodes: int,
        counts: int,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> int: ...
    def expand(
        self,
        trees: TreeIds | int,
        nodes: NodeIds | int,
        counts: NDArray[np.int32] | int,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> NodeIds | int:
        """Append children to nodes, whether or not these have children already.

        Parameters
        ----------
        trees, nodes : int32 [B], uint32 [B], or int
        counts : int32 [B] or int
            New children of each node, >= 0. A leaf that gets none is a dead end from now on.
        priors : float32 [sum(counts)], optional
            Policy probabilities in [0, 1]; equal within each expansion if left out.
        terminal : bool [sum(counts)], optional
        rewards : float32 [sum(counts)], optional
            Rewards of the new edges, finite.

        Returns
        -------
        uint32 [B] or int
            The first new child of each node; the others follow it.

        Raises
        ------
        ArenaFullError
            A tree would exceed max_nodes.
        TreeStateError
            A node is terminal.
        """
        return self._core.expand(trees, nodes, counts, priors, terminal, rewards)

    def backup(
        self,
        trees: TreeIds | int,
        nodes: NodeIds | int,
        values: NDArray[np.float64] | float,
        *,
        release: bool = False,
    ) -> None:
        """Count one finished simulation per entry at its node and on the path to the root.

        Parameters
        ----------
        trees, nodes : int32 [B], uint32 [B], or int
        values : float64 [B] or float
            In [value_min, value_max].
        release : bool
            The nodes are selected leaves: release them too, in the same call.

        Raises
        ------
        TreeStateError
            With ``release``: a node is not in flight, or named twice.
        """
        self._core.backup(trees, nodes, values, release)

    @overload
    def advance(
        self,
        trees: TreeIds,
        nodes: NodeIds,
        counts: NDArray[np.int32],
        values: NDArray[np.float64],
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> tuple[NodeIds, NodeIds]: ...
    @overload
    def advance(
        self,
        trees: int,
        nodes: int,
        counts: int,
        values: float,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> tuple[int, int]: ...
    def advance(
        self,
        trees: TreeIds | int,
        nodes: NodeIds | int,
        counts: NDArray[np.int32] | int,
        values: NDArray[np.float64] | float,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> tuple[NodeIds, NodeIds] | tuple[int, int]:
        """Take selected leaves through a whole simulation, and select the next ones.

        The same as `expand`, then `backup` with ``release``, then `select` in the same trees, but
        checked as one and with a third of the cost of calling.

        Parameters
        ----------
        trees, nodes, counts, priors, terminal, rewards
            As for `expand`.
        values
            As for `backup`.

        Returns
        -------
        first_children, leaves : uint32 [B] or int
            What `expand` and `select` return.

        Raises
        ------
        ArenaFullError, TreeStateError
            As `expand` and `backup` raise them.
        """
        return self._core.advance(trees, nodes, counts, values, priors, terminal, rewards)

    def release(self, trees: TreeIds | int, nodes: NodeIds | int) -> None:
        """Take selected leaves out of flight, because their result is in or will never come.

        Raises
        ------
        TreeStateError
            A node is not in flight, or named twice.
        """
        self._core.release(trees, nodes)

    def set_rewards(self, trees: TreeIds, nodes: NodeIds, rewards: NDArray[np.float32]) -> None:
        """Set the rewards of the edges to nodes that no backup has passed yet.

        For models that tell an edge's reward when they judge the node below it.

        Parameters
        ----------
        trees, nodes : int32 [B], uint32 [B]
        rewards : float32 [B]
            Finite.

        Raises
        ------
        TreeStateError
            A node is the root or has visits.
        """
        self._core.set_rewards(trees, nodes, rewards)

    def set_gumbel(
        self,
        tree: int,
        noise: NDArray[np.float32],
        *,
        num_simulations: int,
        max_considered: int = 16,
    ) -> None:
        """Plan the search of an expanded root by sequential halving (rule "gumbel").

        The plan is for this root: `reroot` and `from_bytes` forget it. A root without one has no
        noise and considers 16 children, half as many after each round of one visit.

        Parameters
        ----------
        tree : int
        noise : float32 [K]
            Gumbel noise of the root's K children, finite; zeros for none.
        num_simulations : int
            Simulations that the halving shares out, >= 1.
        max_considered : int
            Children with which it begins, at most, >= 1. Children with prior 0 never count.

        Raises
        ------
        InvalidArgumentError
            Also where the forest's rule is another one.
        """
        self._core.set_gumbel(tree, noise, num_simulations, max_considered)

    def reroot(self, tree: int, node: int) -> NodeIds:
        """Make `node` the root, keep what is below it and drop the rest.

        Returns
        -------
        uint32 [N before]
            The new id of each old node, NO_NODE for dropped ones.

        Raises
        ------
        TreeStateError
            Leaves are in flight.
        """
        return self._core.reroot(tree, node)

    def children(self, tree: int, node: int) -> NodeIds:
        """Ids of a node's children, ascending; uint32 [K]."""
        return self._core.children(tree, node)

    def columns(self, tree: int) -> Columns:
        """Copy all fields of all nodes."""
        return Columns(**self._core.columns(tree))

    def num_nodes(self, tree: int) -> int:
        """Nodes of a tree, the root included."""
        return self._core.num_nodes(tree)

    def has_open_leaf(self, tree: int) -> bool:
        """Would `select` find a leaf now?"""
        return self._core.has_open_leaf(tree)

    def signature(self, tree: int) -> int:
        """64-bit hash of structure, counts and bits of the values; in-flight is left out."""
        return self._core.signature(tree)

    def check_invariants(self, tree: int) -> None:
        """Raise InvariantError if the tree contradicts itself. O(nodes), for tests."""
        self._core.check_invariants(tree)

    def to_bytes(self, tree: int) -> bytes:
        """Export a tree (format and checksum: csrc/core/bytes.h).

        In-flight and the plan of `set_gumbel` are left out.
        """
        return self._core.to_bytes(tree)

    def from_bytes(self, data: bytes) -> int:
        """Add an exported tree; returns its id.

        Raises
        ------
        CorruptDataError
            The bytes are damaged, cut short, or of another version.
        ArenaFullError
            The tree has more than max_nodes nodes.
        """
        return self._core.from_bytes(data)
