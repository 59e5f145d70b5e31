"""OpenR's evaluation of a set of problems, with its methods and with ours: answers and time.

    RTS_OPENR_SOURCE=~/openr python bench/frameworks/openr.py [--problems 30] [--repeats 5]

Prints, for each method that both have: whether all solutions and tokens are the same, the processor
time that goes to anything but the two models' answers, in milliseconds a problem (medians, taken in
turn), and how many times as much the original takes. Then `mcts_g`, which is ours alone. The models
are hashes of what they are asked. Without RTS_OPENR_SOURCE the original is the restatement of
tests/support/openr_restated.py, and no ratio is printed: it is not OpenR's code.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from openr_restated import HashedModels, openr

from rtsearch_fast.adapters.openr import solve_all


class Timed:
    """A model's function, and the seconds spent in it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.lm_step_tag = HashedModels.lm_step_tag
        self.seconds = 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.thread_time()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.thread_time() - start


def outside(models: HashedModels, run: Callable[[Any, Any], Any]) -> tuple[Any, float]:
    """What `run` returns, and the seconds that it took outside of the models."""
    lm_call, rm_call = Timed(models.lm_call()), Timed(models.rm_call)
    start = time.process_time()
    found = run(lm_call, rm_call)
    return found, time.process_time() - start - lm_call.seconds - rm_call.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    source = os.environ.get("RTS_OPENR_SOURCE")
    peer = openr(source)
    print(f"original: {'OpenR in ' + source if source else 'restated, not OpenR itself'}")
    gen = peer.LMCallingConfig(temperature=0.7, max_new_tokens=2048)
    problems = [
        {"question": f"What is {i} + {i}?", "answer": f"\\boxed{{{2 * i}}}"}
        for i in range(arguments.problems)
    ]
    # as in its scripts/eval: four children, up to 50 steps
    tree: dict[str, Any] = {"task_name": "MATH", "tree_max_width": 4, "tree_max_depth": 50}
    configs = {
        "beam_search": peer.BeamSearchConfig(**tree, beam_size=4),
        "vanila_mcts": peer.VanilaMCTSConfig(**tree, num_path=16),
    }
    models = HashedModels(peer, cut=0.0, end=0.15)

    def ours(method: str, config: Any) -> Callable[[Any, Any], Any]:
        return lambda lm, rm: solve_all(method, config, gen, problems, lm, rm, threads=1)

    def theirs(method: str, config: Any) -> Callable[[Any, Any], Any]:
        solve = getattr(peer, method)
        return lambda lm, rm: [solve(config, gen, problem, lm, rm) for problem in problems]

    print(f"{'method':<12} {'same':>5} {'original ms':>12} {'ours ms':>8} {'times':>6}")
    for method, config in configs.items():
        times: dict[str, list[float]] = {"original": [], "ours": []}
        for _ in range(arguments.repeats):
            with contextlib.redirect_stdout(io.StringIO()):
                original, seconds = outside(models, theirs(method, config))
            times["original"].append(seconds)
            found, seconds = outside(models, ours(method, config))
            times["ours"].append(seconds)
        same = all(vars(a) == vars(b) for a, b in zip(found, original, strict=True))
        a, b = (1e3 * statistics.median(times[who]) / len(problems) for who in times)
        ratio = f"{a / b:6.1f}" if source else "     -"
        print(f"{method:<12} {'yes' if same else 'NO':>5} {a:12.2f} {b:8.2f} {ratio}")
    config = configs["vanila_mcts"]
    seconds = [
        outside(models, ours("mcts_g", config))[1] / len(problems) for _ in range(arguments.repeats)
    ]
    print(f"{'mcts_g':<12} {'':>5} {'':>12} {1e3 * statistics.median(seconds):8.2f}")


if __name__ == "__main__":
    main()
