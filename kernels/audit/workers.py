"""Starts the programs of the audit, as many at a time as there are processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .matrix import TARGETS

__all__ = ["Results", "run_workers"]

#: What the programs printed, by kind, and what they complained of under "errors".
Results = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class _Worker:
    kind: str
    module: str
    arguments: tuple[str, ...] = ()
    interprets: bool = False


# The long ones first.
_WORKERS = (
    _Worker("mutants", "survival", interprets=True),
    *(_Worker("code", "aot", (target,)) for target in TARGETS),
    _Worker("values", "values", interprets=True),
    _Worker("traffic", "traffic", interprets=True),
    _Worker("roofline", "roofline"),
)


def run_workers() -> Results:
    """Run all of them, and collect their lines."""
    results: Results = {kind: [] for kind in ("errors", *(worker.kind for worker in _WORKERS))}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(os.cpu_count() or 1) as threads,
    ):
        for worker, done in zip(
            _WORKERS, threads.map(lambda worker: _run(worker, folder), _WORKERS), strict=True
        ):
            results[worker.kind] += [json.loads(line) for line in done.stdout.splitlines()]
            if done.returncode:
                program = " ".join((worker.module, *worker.arguments))
                results["errors"].append({"program": program, "text": done.stderr[-2000:]})
    return results


def _run(worker: _Worker, folder: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TRITON_")
    }
    environment |= {"TRITON_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"}
    if worker.interprets:
        environment["TRITON_INTERPRET"] = "1"
    return subprocess.run(
        [sys.executable, "-m", f"{__package__}.{worker.module}", *worker.arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
