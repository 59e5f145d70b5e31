"""What the kernels read and write in the interpreter, held to the formulas.

``python -m rtsearch_fast.kernels.audit.traffic`` prints one JSON object a case, and one for each
planted fault; TRITON_INTERPRET=1 must be set. Caches, coalescing, and races within a program are
beyond its sight.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from .cases import TRAFFIC_CASES, Case
from .mutants import PLANTED, plant
from .tracer import Tracer
from .values import HOME, prepare
from .work import Work, label_work, step_work, vocabulary_work

__all__ = ["complaints", "trace"]


def trace(case: Case, package: str = HOME) -> Tracer:
    """Run a case, counting."""
    call = prepare(case, package)
    with Tracer() as tracer:
        call.run()
    return tracer


def complaints(case: Case, tracer: Tracer) -> list[str]:
    """Say in words where a case moved other bytes than it should."""
    return list(_complaints(case, tracer))


def _complaints(case: Case, tracer: Tracer) -> Iterator[str]:
    if tracer.outside:
        yield f"{tracer.outside} elements outside of all buffers"
    if tracer.races:
        yield f"{tracer.races} elements written by two programs"
    wanted = work_of(case).moved
    if tracer.unique != wanted:
        yield f"touched {dict(tracer.unique)}, but the work is {dict(wanted)}"
    for name, most in most_times(case).items():
        if tracer.requested[name] > most * wanted[name]:
            times = tracer.requested[name] / wanted[name]
            yield f"{name} is read {times:.2f} times, at most {most} expected"


def work_of(case: Case) -> Work:
    """Return the formulas' work of a case."""
    steps, size = sum(case.lengths), getattr(torch, case.dtype).itemsize
    index = getattr(torch, case.index).itemsize
    if case.operation in ("label", "logits"):
        return label_work(steps, case.labels, case.width, size=size, index=index)
    if case.operation == "vocabulary":
        return vocabulary_work(
            steps, 3, case.width, case.vocabulary, case.splits, size=size, index=index
        )
    gathers = case.operation == "step"
    return step_work(steps, len(case.lengths), case.width, size=size, index=index, gathers=gathers)


def most_times(case: Case) -> Mapping[str, int]:
    """How often the buffers that weigh may be read: rows once, the vocabulary once a tile of 16."""
    if case.operation == "vocabulary":
        return {"weight": -(-sum(case.lengths) // 16)}
    return {"hidden": 1}


def main() -> None:
    """Print a line of JSON for each case and each planted fault."""
    torch.set_num_threads(1)
    cases = {case.name: case for case in TRAFFIC_CASES}
    for case in cases.values():
        tracer = trace(case)
        print(
            json.dumps(
                {
                    "case": case.name,
                    "requested": tracer.requested,
                    "unique": tracer.unique,
                    "complaints": complaints(case, tracer),
                }
            ),
            flush=True,
        )
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        for number, (mutant, name, expected) in enumerate(PLANTED):
            package = plant(mutant, Path(folder), f"planted_{number}")
            found = complaints(cases[name], trace(cases[name], package))
            reported = next((text for text in found if expected in text), None)
            print(json.dumps({"planted": mutant.name, "reported": reported}), flush=True)


if __name__ == "__main__":
    main()
