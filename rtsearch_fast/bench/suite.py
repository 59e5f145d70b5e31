"""What is measured, and how: all that shares a size in turns, the median of several rounds.

Turns, because other users of the machine come and go: figures of one size see the same machine, and
their ratios hold where the figures themselves do not.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .. import _core
from ..errors import InvalidArgumentError, InvariantError
from ..forest import Forest
from .global_leaf import CHILDREN, tree_with_leaves
from .instructions import count_instructions, require_valgrind
from .measurement import Measurement, Profile, machine, summarise
from .peers import Peer
from .workload import Workload

__all__ = ["Sizes", "measure"]

Rule = Literal["uct", "puct", "mcts_g", "best_first"]

log = logging.getLogger(__name__)

_TREES = 64
#: Simulations in flight, and trees.
_WAYS = ((64, 1), (1, 1), (1, _TREES))
#: How much a turn does at least: shorter searches are repeated, and the median counts.
_TURN = 20_000  # simulations in C++
_TURN_SECONDS = 0.02
#: Of one selection among all leaves.
_SELECTIONS = 64


@dataclass(frozen=True, slots=True)
class Sizes:
    """Which sizes, in how many rounds."""

    rule: Rule = "uct"
    children: tuple[int, ...] = (4, 16)
    simulations: tuple[int, ...] = (1_000, 10_000, 100_000)
    leaves: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    rounds: int = 5
    instructions: bool = False  # of the core's loop, too

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InvalidArgumentError(f"rounds={self.rounds}: must be at least 1")


@dataclass(slots=True)
class _Case:
    what: str
    workload: Workload
    #: One search; returns nothing, its time is taken.
    search: Callable[[], None]
    #: Before each search, not timed.
    prepare: Callable[[], None] = lambda: None
    bytes_per_node: float | None = None
    #: Nanoseconds a simulation as the search itself took them, instead.
    timed: Callable[[int], float] | None = None
    times: list[float] = field(default_factory=list)

    def turn(self) -> None:
        simulations = self.workload.total_simulations
        if self.timed is not None:
            self.times.append(self.timed(max(1, _TURN // simulations)))
            return
        found: list[float] = []
        while sum(found) < _TURN_SECONDS:
            self.prepare()
            start = time.perf_counter()
            self.search()
            found.append(time.perf_counter() - start)
        self.times.append(statistics.median(found) / simulations * 1e9)

    def result(self, count: bool) -> Measurement:
        w = self.workload
        is_counted = count and self.timed is not None
        return Measurement(
            self.what, w.rule, w.children, w.simulations, w.batch, w.trees,
            bytes_per_node=self.bytes_per_node,
            instructions=count_instructions(w) if is_counted else None,
            **summarise(self.times),
        )  # fmt: skip


def measure(
    sizes: Sizes, peers: Sequence[Peer], told: Callable[[Measurement], None] = lambda _: None
) -> Profile:
    """Measure all sizes of this package, and of each peer those that it can do in seconds.

    Parameters
    ----------
    sizes : Sizes
    peers : sequence of Peer
        Measured on UCT workloads only.
    told : callable
        Gets each measurement once it is there.

    Raises
    ------
    InvariantError
        Two ways to the same tree gave different ones.
    MissingExtraError
        Instructions are to be counted, and there is no valgrind.
    """
    if sizes.instructions:
        require_valgrind()
    found = []
    for children in sizes.children:
        for simulations in sizes.simulations:
            # the first search of each finds cold caches and unmapped memory
            cases = [
                *map(_warmed, _cases(sizes.rule, children, simulations)),
                *_of_peers(sizes.rule, children, simulations, peers),
            ]
            for _ in range(sizes.rounds):
                for case in cases:
                    case.turn()
            for case in cases:
                found.append(case.result(sizes.instructions))
                told(found[-1])
    for leaves in sizes.leaves:
        found.append(_global_leaf(leaves, sizes.rounds))
        told(found[-1])
    return Profile(machine(), tuple(found))


def _cases(rule: Rule, children: int, simulations: int) -> Iterator[_Case]:
    for batch, trees in _WAYS:
        workload = Workload(rule, children, simulations, batch, trees)
        yield _in_core(workload)
        yield _from_python(workload)


def _of_peers(
    rule: Rule, children: int, simulations: int, peers: Sequence[Peer]
) -> Iterator[_Case]:
    if rule != "uct":
        return
    for peer in peers:
        if simulations * children > peer.most_nodes:
            continue
        try:
            for trees in (1, _TREES) if peer.many_trees else (1,):
                search = peer.prepare(children, simulations, trees)
                yield _warmed(
                    _Case(peer.title, Workload(rule, children, simulations, 1, trees), search)
                )
        except Exception as error:  # whatever it is, the other packages can be measured
            log.warning("%s is left out: %s: %s", peer.title, type(error).__name__, error)


def _warmed(case: _Case) -> _Case:
    case.turn()
    case.times.clear()
    return case


def _in_core(workload: Workload) -> _Case:
    def timed(searches: int) -> float:
        found = _core.run_synthetic(
            **workload.core_arguments, trees=workload.trees, repeats=1 + searches
        )
        _agree(workload, found["signature"])
        return float(statistics.median(found["ns"][1:]))  # the first maps the memory of the others

    return _Case(
        "core loop",
        workload,
        lambda: None,
        timed=timed,
        bytes_per_node=workload.bytes_per_node,
    )


def _from_python(workload: Workload) -> _Case:
    forest = Forest(workload.params)
    _agree(workload, workload.signature(forest))
    trees: list[Any] = []

    def fresh() -> None:
        if trees:
            forest.drop_trees(trees.pop())  # new trees take memory that is mapped already
        trees.append(forest.create_trees(workload.trees))

    return _Case(
        "python",
        workload,
        lambda: workload.run(forest, trees[0]),
        prepare=fresh,
        bytes_per_node=workload.bytes_per_node,
    )


def _agree(workload: Workload, signature: int) -> None:
    if signature != workload.expected_signature:
        raise InvariantError(
            f"{workload}: two ways to the same tree gave signatures {signature:016x} and "
            f"{workload.expected_signature:016x}: a bug, please report it"
        )


def _global_leaf(leaves: int, rounds: int) -> Measurement:
    forest, tree = tree_with_leaves(leaves)
    trees = np.repeat(tree, _SELECTIONS)
    times = []
    for _ in range(rounds + 1):
        turns = []
        for _ in range(100):
            start = time.perf_counter()
            taken = forest.select(trees)
            turns.append(time.perf_counter() - start)
            forest.release(trees, taken)
        times.append(statistics.median(turns) / _SELECTIONS * 1e9)
    return Measurement(
        "global leaf", "mcts_g", CHILDREN, leaves, _SELECTIONS, 1, **summarise(times[1:])
    )
