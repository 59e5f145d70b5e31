"""What Python costs: the core driven from Python against the same loop in C++, and the import.

Nothing here passes or fails by a time; answers are checked, ratios are printed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rtsearch_fast.bench.suite import Sizes, measure


@pytest.mark.parametrize("rule", ["uct", "puct", "mcts_g", "best_first"])
def test_python_against_cpp(rule: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = Sizes(rule, children=(4,), simulations=(10_000,), leaves=(), rounds=9)
    ns = {(m.what, m.batch, m.trees): m.ns for m in measure(sizes, ()).measurements}
    with capsys.disabled():
        for batch, trees in ((64, 1), (1, 64), (1, 1)):
            python, core = ns["python", batch, trees], ns["core loop", batch, trees]
            print(
                f"\n{rule}, 1e4 simulations, B={batch}, {trees} trees: {python:.0f} ns a "
                f"simulation from Python, {core:.0f} ns in C++; ratio {python / core:.2f}",
                end="",
            )


def test_import_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def seconds(code: str) -> float:
        start = time.perf_counter()
        # not from the checkout: its source folder would hide the installed package
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
        return time.perf_counter() - start

    rounds = [
        (seconds("pass"), seconds("import numpy"), seconds("import rtsearch_fast"))
        for _ in range(7)
    ]
    bare, numpy, package = map(statistics.median, zip(*rounds, strict=True))
    with capsys.disabled():
        print(
            f"\nimport rtsearch_fast: {(package - bare) * 1e3:.0f} ms above the bare interpreter, "
            f"{(numpy - bare) * 1e3:.0f} ms of it numpy"
        )
