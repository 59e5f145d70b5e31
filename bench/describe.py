"""What a measurement notes besides its time, and the proof that it measured the right thing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from rtsearch_fast.bench.measurement import machine
from rtsearch_fast.bench.workload import Workload
from rtsearch_fast.forest import Forest
from rtsearch_fast.reference import ReferenceForest

ROOT_FOLDER = Path(__file__).resolve().parent.parent


def check_against_reference(workload: Workload) -> None:
    """Assert that core and reference agree on the workload, at a size fit for the reference."""
    small = Workload(
        workload.rule,
        workload.children,
        min(200, workload.simulations),
        workload.batch,
        min(2, workload.trees),
    )
    assert small.signature(Forest(small.params)) == small.expected_signature
    assert small.signature(ReferenceForest(small.params)) == small.expected_signature


def describe(benchmark: Any, workload: Workload, simulations: int) -> None:
    """Note what a measured call of `simulations` simulations ran on; after the measurement."""
    benchmark.extra_info.update(
        ns_per_simulation=round(benchmark.stats.stats.median / simulations * 1e9, 1),
        bytes_per_node=round(workload.bytes_per_node, 2),
        cpu=machine()["cpu"],
        commit=commit(),
    )


def commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"
