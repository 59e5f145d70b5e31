"""The search of treequest's README with the original and with ours: the same answers, the times.

    python bench/frameworks/treequest.py

Two writers, as two models would be, continue texts, whose scores are hashes of them; 1,000 steps,
then the three best. Only the import differs. Printed are the best nodes of both, and for several
settings the microseconds of processor time that a step takes: with the functions that give the
nodes (they replay what the writers wrote), without them (the same calls alone are taken off, from
both), and how many times as long the original takes. Medians of rounds in which both take turns.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

sys.path.pop(0)  # this file has the name of the package

import treequest

from rtsearch_fast.adapters import treequest as fast

STEPS = 1000
ROUNDS = 7
OURS_A_ROUND = 30

Node = tuple[str, float]
Functions = dict[str, Callable[[str | None], Node]]


def writer(name: str) -> Callable[[str | None], Node]:
    """Stands for a model: another continuation of its parent at each call."""
    calls = 0

    def write(parent: str | None) -> Node:
        nonlocal calls
        calls += 1
        text = hashlib.blake2b(f"{parent} {name} {calls}".encode(), digest_size=8).hexdigest()
        return text, int(text[:8], 16) / 0xFFFFFFFF

    return write


def example(framework: ModuleType) -> tuple[list[Node], list[Node]]:
    """All nodes in order, and the best of them."""
    algorithm: Any = framework.StandardMCTS()
    state = algorithm.init_tree()
    writers = {"draft": writer("draft"), "revise": writer("revise")}
    for _ in range(STEPS):
        state = algorithm.step(state, writers, inplace=True)
    return algorithm.get_state_score_pairs(state), treequest.top_k(state, algorithm, k=3)


def replayed(nodes: list[Node], actions: int) -> Functions:
    answers: Iterator[Node] = iter(nodes)

    def answer(_: str | None) -> Node:
        return next(answers)

    return {f"action {i}": answer for i in range(actions)}


def searching(algorithm: Any, functions: Functions, inplace: bool) -> float:
    """Microseconds a step."""
    state = algorithm.init_tree()
    begin = time.process_time_ns()
    for _ in range(STEPS):
        state = algorithm.step(state, functions, inplace=inplace)
    return (time.process_time_ns() - begin) / STEPS / 1000


def calling(functions: Functions) -> float:
    """The same for the calls of the functions alone."""
    function = functions["action 0"]
    begin = time.process_time_ns()
    for _ in range(STEPS):
        function(None)
    return (time.process_time_ns() - begin) / STEPS / 1000


def compare(nodes: list[Node], actions: int, inplace: bool, make: Callable[[Any], Any]) -> str:
    """A line of the table."""
    gross: dict[str, list[float]] = {"theirs": [], "ours": []}
    net: dict[str, list[float]] = {"theirs": [], "ours": []}
    for _ in range(ROUNDS if inplace else 1):
        for name, framework, times in (("theirs", treequest, 1), ("ours", fast, OURS_A_ROUND)):
            for _ in range(times):
                searched = searching(make(framework), replayed(nodes, actions), inplace)
                gross[name].append(searched)
                net[name].append(searched - calling(replayed(nodes, actions)))
    with_calls = {name: statistics.median(values) for name, values in gross.items()}
    without = {name: statistics.median(values) for name, values in net.items()}
    return (
        f"{with_calls['theirs']:9.1f} {with_calls['ours']:8.3f} "
        f"{with_calls['theirs'] / with_calls['ours']:8,.0f} "
        f"{without['theirs']:10.1f} {without['ours']:8.3f} "
        f"{without['theirs'] / without['ours']:8,.0f}"
    )


def main() -> None:
    theirs, best = example(treequest)
    ours, our_best = example(fast)
    assert ours == theirs
    assert our_best == best
    print(f"{STEPS} steps of two writers: the same {len(ours)} nodes; the best of both:")
    for text, score in best:
        print(f"  {score:.6f} {text}")
    print("\nus a step, StandardMCTS            with the calls           without them")
    print("actions samples in place  original     ours    times   original     ours    times")
    for actions, samples, inplace in ((1, 2, True), (2, 2, True), (4, 2, True), (1, 4, True),
                                      (1, 2, False)):  # fmt: skip
        line = compare(
            theirs,
            actions,
            inplace,
            lambda framework, n=samples: framework.StandardMCTS(samples_per_action=n),
        )
        print(f"{actions:7} {samples:7} {'yes' if inplace else 'no':>8} {line}")
    line = compare(theirs, 1, True, lambda framework: framework.ABMCTSA())
    print(f"ABMCTSA, 1 action         {line}")


if __name__ == "__main__":
    main()
