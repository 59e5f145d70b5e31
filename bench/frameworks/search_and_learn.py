"""search-and-learn's recipe of a batch of problems, with its approaches and with ours.

    RTS_SAL_SOURCE=~/search-and-learn python bench/frameworks/search_and_learn.py [--repeats 5]

Prints, for each approach that both have: whether completions, scores and predictions are the same,
how often the language model and the reward model were called, the processor time that goes to
anything but their answers, in milliseconds a problem (medians, taken in turn), and how many times
as much the original takes. Then `mcts_g`, which is ours alone. The models are hashes of what they
are asked. Without RTS_SAL_SOURCE the original is the restatement of tests/support/sal_restated.py,
and no ratio is printed: it is not search-and-learn's code.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

import sal_restated
from sal_restated import LLM, PRM, Config, SamplingParams
from sal_twins import original

from rtsearch_fast.adapters.search_and_learn import APPROACHES


class Timed:
    """A model, the seconds spent in one of its methods, and the number of calls."""

    def __init__(self, model: Any, method: str) -> None:
        self._model = model
        self._method = method
        self.seconds = 0.0
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._model, name)
        if name != self._method:
            return function

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - start
                self.calls += 1

        return timed


def outside(run: Callable[[Any, Any], Any]) -> tuple[Any, float, tuple[int, int]]:
    """What `run` returns, its seconds outside of the models, and the calls of these."""
    llm, prm = Timed(LLM(end=0.15), "generate"), Timed(PRM(), "score")
    start = time.process_time()
    found = run(llm, prm)
    seconds = time.process_time() - start - llm.seconds - prm.seconds
    return found, seconds, (llm.calls, prm.calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    source = os.environ.get("RTS_SAL_SOURCE")
    problems = [f"What is {i} + {i}?" for i in range(arguments.problems)]
    config = Config(n=16, beam_width=4)
    print(f"original: {'search-and-learn in ' + source if source else 'restated, not its code'}")
    if source:
        search = original(source)

        def theirs(approach: str, batch: list[str], llm: Any, prm: Any) -> list[dict[str, Any]]:
            found = getattr(search, approach)({"problem": batch}, config, llm, prm)
            return [{key: found[key][i] for key in found} for i in range(len(batch))]
    else:
        vllm = ModuleType("vllm")
        vllm.SamplingParams = SamplingParams  # type: ignore[attr-defined]
        sys.modules["vllm"] = vllm

        def theirs(approach: str, batch: list[str], llm: Any, prm: Any) -> list[dict[str, Any]]:
            return [getattr(sal_restated, approach)(one, config, llm, prm) for one in batch]

    def ours(approach: str) -> Callable[[Any, Any], Any]:
        return lambda llm, prm: APPROACHES[f"rtsearch_{approach}"](
            {"problem": problems}, config, llm, prm
        )

    # its beam search takes one problem at a time
    sizes = {"best_of_n": len(problems), "beam_search": 1}
    print(
        f"{'approach':<12} {'same':>5} {'calls':>9} {'ours':>7} {'original ms':>12} {'ours ms':>8} "
        f"{'times':>6}"
    )
    for approach, size in sizes.items():
        batches = [problems[i : i + size] for i in range(0, len(problems), size)]

        def run(llm: Any, prm: Any) -> list[dict[str, Any]]:
            return [row for b in batches for row in theirs(approach, b, llm, prm)]  # noqa: B023

        times: dict[str, list[float]] = {"original": [], "ours": []}
        for _ in range(arguments.repeats):
            expected, seconds, their_calls = outside(run)
            times["original"].append(seconds)
            found, seconds, our_calls = outside(ours(approach))
            times["ours"].append(seconds)
        same = all(
            found[name][i] == row[name]
            for i, row in enumerate(expected)
            for name in ("completions", "scores", "pred")
        )
        a, b = (1e3 * statistics.median(times[who]) / len(problems) for who in times)
        calls = f"{their_calls[0]}+{their_calls[1]:<4} {our_calls[0]:>3}+{our_calls[1]:<3}"
        ratio = f"{a / b:6.1f}" if source else "     -"
        print(f"{approach:<12} {'yes' if same else 'NO':>5} {calls:>17} {a:12.2f} {b:8.2f} {ratio}")
    runs = [outside(ours("mcts_g")) for _ in range(arguments.repeats)]
    seconds = statistics.median(run[1] for run in runs) / len(problems)
    calls = f"{runs[0][2][0]:>3}+{runs[0][2][1]:<3}"
    print(f"{'mcts_g':<12} {'':>5} {calls:>17} {'':>12} {1e3 * seconds:8.2f}")


if __name__ == "__main__":
    main()
