"""What Python costs: the core driven from Python against the same loop in C++, and the import.

Nothing here passes or fails by a time; answers are checked, ratios are printed.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from workload import ROOT_FOLDER, Workload

from rtsearch_fast.forest import Forest

GOAL = 2.0
#: Searches in a turn of either side, of which the median counts: the first finds cold caches.
REPEATS = 4


@pytest.fixture(scope="module")
def core_loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the C++-only loop from the sources of this checkout."""
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("cmake and a C++ compiler are needed to build bench/core_loop.cc")
    build = tmp_path_factory.mktemp("core_loop")
    configure = [
        "cmake",
        "-S",
        str(ROOT_FOLDER),
        "-B",
        str(build),
        "-DRTS_BUILD_PYTHON=OFF",
        "-DRTS_BUILD_TESTS=ON",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    for command in (configure, ["cmake", "--build", str(build), "--target", "core_loop"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "core_loop"


def run_core_loop(program: Path, workload: Workload, repeats: int) -> Any:
    numbers = (workload.children, workload.simulations, workload.batch, workload.trees, repeats)
    done = subprocess.run(
        [str(program), workload.rule, *map(str, numbers)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def time_search(forest: Forest, workload: Workload) -> float:
    """Nanoseconds a simulation of one search on a fresh tree."""
    ids = forest.create_trees(1)
    start = time.perf_counter()
    workload.run(forest, ids)
    seconds = time.perf_counter() - start
    forest.drop_trees(ids)
    return seconds / workload.simulations * 1e9


@pytest.mark.parametrize("rule", ["uct", "puct", "mcts_g", "best_first"])
def test_python_against_cpp(core_loop: Path, rule: Any, capsys: pytest.CaptureFixture[str]) -> None:
    workload = Workload(rule, 4, 10_000, 64, 1)
    forest = Forest(workload.params)
    signature = workload.signature(forest)  # this run also maps the memory of the next ones
    python, cpp = [], []
    for _ in range(9):  # in turns, so that both see the same machine
        answer = run_core_loop(core_loop, workload, REPEATS)
        assert int(answer["signature"], 16) == signature
        cpp.append(answer["ns_per_simulation"]["median"])
        python.append(statistics.median(time_search(forest, workload) for _ in range(REPEATS)))
    python_ns, cpp_ns = statistics.median(python), statistics.median(cpp)
    with capsys.disabled():
        print(
            f"\n{rule}: {python_ns:.0f} ns a simulation from Python, {cpp_ns:.0f} ns in C++; "
            f"ratio python/C++ at B=64, 1e4 simulations: {python_ns / cpp_ns:.2f} "
            f"(goal <= {GOAL:.0f})"
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
