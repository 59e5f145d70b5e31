"""llm-reasoners' own MCTS and BeamSearch against ours: the same answers, how much sooner.

    python bench/frameworks/llm_reasoners.py [--repeats N]

First a small planning problem (reach 24 with four numbers) through `reasoners.Reasoner`, solved
with the original and with ours: prints both plans, whether results and whole trees are equal, and
that of MCTS_G. Then microseconds of processor time an iteration of the tree itself, on a cheap
world model: medians of runs taken in turn, without the time that the same calls of world model and
search config take when they are repeated alone.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import reasoners.algorithm as original
from reasoners import Reasoner, SearchConfig, WorldModel
from reasoners.visualization import TreeLog

from rtsearch_fast.adapters import llm_reasoners as ours

# --- the example -------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """The numbers that are left, and how they came about."""

    numbers: tuple[int, ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """Two of the numbers become one."""

    a: int
    sign: str
    b: int

    def result(self) -> int:
        return {"+": self.a + self.b, "-": self.a - self.b, "*": self.a * self.b}[self.sign]


class TableWorld(WorldModel):  # type: ignore[misc]  # without its types the base is Any
    def init_state(self) -> Table:
        return Table(self.example["numbers"])

    def step(self, state: Table, action: Move) -> tuple[Table, dict[str, Any]]:
        numbers = list(state.numbers)
        numbers.remove(action.a)
        numbers.remove(action.b)
        line = f"{action.a} {action.sign} {action.b} = {action.result()}"
        return Table((*numbers, action.result()), (*state.lines, line)), {}

    def is_terminal(self, state: Table) -> bool:
        return len(state.numbers) == 1


class TableConfig(SearchConfig):  # type: ignore[misc]
    def get_actions(self, state: Table) -> Iterator[Move]:
        for a, b in itertools.permutations(state.numbers, 2):
            yield Move(a, "-", b)
            if a <= b:
                yield Move(a, "+", b)
                yield Move(a, "*", b)

    def fast_reward(self, state: Table, action: Move) -> tuple[float, dict[str, Any]]:
        distance = abs(self.example["target"] - action.result())
        return 1 / (4 + distance), {"distance": distance}

    def reward(self, state: Table, action: Move, distance: int) -> tuple[float, dict[str, Any]]:
        solved = len(state.numbers) == 2 and distance == 0
        return 1 / (4 + distance) + 5 * solved, {"solved": solved}


EXAMPLE = {"numbers": (3, 5, 9, 13), "target": 24}


def fields(node: Any) -> dict[str, Any]:
    return {} if node.state is None else {"left": node.state.numbers, "lines": node.state.lines}


def picture(node: Any) -> Any:
    """A tree, field by field."""
    own = (node.id, node.state, node.action, node.reward, node.fast_reward, node.cum_rewards)
    return own, node.children and [picture(child) for child in node.children]


def show(name: str, result: Any) -> None:
    state = result.terminal_state
    plan = "nothing" if state is None else "; ".join(state.lines)
    print(f"{name:<24}{plan}   (cum_reward {result.cum_reward:.3f})")


def solve_example() -> None:
    print(f"reach {EXAMPLE['target']} with {EXAMPLE['numbers']}, 400 iterations")

    def solve(algorithm: Any) -> Any:
        return Reasoner(TableWorld(), TableConfig(), algorithm)(EXAMPLE)

    theirs, mine = (
        solve(package.MCTS(n_iters=400, output_trace_in_each_iter=True))
        for package in (original, ours)
    )
    show("MCTS, original", theirs)
    show("MCTS, ours", mine)
    logs = [
        str(TreeLog.from_mcts_results(result, fields)[-1].__dict__()) for result in (theirs, mine)
    ]
    same = {
        "results": theirs.trace == mine.trace and theirs.cum_reward == mine.cum_reward,
        "trees": picture(theirs.tree_state) == picture(mine.tree_state),
        "tree logs": logs[0] == logs[1],
        "traces": all(
            [node.id for node in a] == [node.id for node in b] and picture(a[0]) == picture(b[0])
            for a, b in zip(theirs.trace_in_each_iter, mine.trace_in_each_iter, strict=True)
        ),
    }
    print(", ".join(f"{what} {'equal' if equal else 'DIFFERENT'}" for what, equal in same.items()))
    show("MCTS_G", solve(ours.MCTS_G(n_iters=400)))

    beams = [
        solve(package.BeamSearch(beam_size=8, max_depth=4, reward_aggregator="mean"))
        for package in (original, ours)
    ]
    show("BeamSearch, original", beams[0])
    show("BeamSearch, ours", beams[1])
    if not all(same.values()) or beams[0].trace != beams[1].trace:
        raise SystemExit("original and ours differ")


# --- speed -------------------------------------------------------------------------------

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
ACTIONS = 4


def mix(x: int) -> int:
    """A number in [0, 2**53) that looks random."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return (x ^ (x >> 31)) >> 11


class CheapWorld(WorldModel):  # type: ignore[misc]
    def init_state(self) -> int:
        return 1

    def step(self, state: int, action: int) -> tuple[int, dict[str, Any]]:
        return mix(state + action), {}

    def is_terminal(self, state: int) -> bool:
        return False


class CheapConfig(SearchConfig):  # type: ignore[misc]
    def get_actions(self, state: int) -> range:
        return range(ACTIONS)

    def fast_reward(self, state: int, action: int) -> tuple[float, dict[str, Any]]:
        return mix(state + action + 11) / 2**53, {}

    def reward(self, state: int, action: int) -> tuple[float, dict[str, Any]]:
        return mix(state + action + 22) / 2**53, {}


class Recorded:
    """Stands before a world model or a config and writes its calls down."""

    def __init__(self, inner: Any, calls: list[Call]) -> None:
        self._inner, self._calls = inner, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._calls.append((method, arguments, named))
            return method(*arguments, **named)

        return call


def seconds(run: Callable[[], object]) -> float:
    """Of processor time: all is in one thread, and others may be at work on the machine."""
    start = time.process_time()
    run()
    return time.process_time() - start


def replay(calls: list[Call]) -> None:
    for method, arguments, named in calls:
        method(*arguments, **named)


def measure(depth: int, iterations: int, repeats: int, kinds: dict[str, Any]) -> None:
    """Print a line: microseconds an iteration of each kind, and the first over the others."""
    calls: dict[str, list[Call]] = {name: [] for name in kinds}
    for name, make in kinds.items():
        make(depth, iterations)(
            Recorded(CheapWorld(), calls[name]), Recorded(CheapConfig(), calls[name])
        )
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, make in kinds.items():
            algorithm = make(depth, iterations)
            total = seconds(lambda: algorithm(CheapWorld(), CheapConfig()))  # noqa: B023
            alone = seconds(lambda: replay(calls[name]))  # noqa: B023
            times[name].append((total - alone) / iterations * 1e6)
    medians = {name: statistics.median(found) for name, found in times.items()}
    base = next(iter(medians.values()))
    line = "".join(f"{name} {us:9.1f}   " for name, us in medians.items())
    ratios = ", ".join(f"{base / us:.1f}" for us in list(medians.values())[1:])
    print(f"depth {depth:2}, {iterations:5,} iterations: {line}ratio {ratios}")


def searches(**settings: Any) -> dict[str, Any]:
    return {
        name: lambda depth, n, algorithm=algorithm: algorithm(
            depth_limit=depth, n_iters=n, **settings
        )
        for name, algorithm in (
            ("original", original.MCTS),
            ("ours", ours.MCTS),
            ("MCTS_G", ours.MCTS_G),
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    solve_example()
    print(f"\nmicroseconds of the tree an iteration, {ACTIONS} actions, medians of {repeats}")
    for depth, iterations in itertools.product((5, 10), (1000, 5000)):
        measure(depth, iterations, repeats, searches())
    for calc_q in (min, statistics.fmean):
        print(f"with calc_q={calc_q.__name__}, which the core does not know")
        measure(5, 1000, repeats, searches(calc_q=calc_q))
    print("with output_trace_in_each_iter")
    measure(5, 300, repeats, searches(output_trace_in_each_iter=True))
    measure(5, 1000, 1, searches(output_trace_in_each_iter=True))


if __name__ == "__main__":
    main()
