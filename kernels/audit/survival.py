"""Runs the cases on each mutant, until one of them fails.

``python -m rtsearch_fast.kernels.audit.survival`` prints one JSON object a mutant;
TRITON_INTERPRET=1 must be set.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

from .cases import CASES
from .mutants import MUTANTS, Mutant, plant
from .values import check

__all__ = ["killer_of"]


def killer_of(mutant: Mutant, package: str) -> str | None:
    """Return the first case that fails by the mutant, None if it survives."""
    for case in CASES:
        if case.operation in mutant.operations and not check(case, package)[0]:
            return case.name
    return None


def main() -> None:
    """Print a line of JSON for each mutant."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        for number, mutant in enumerate(MUTANTS):
            killer = killer_of(mutant, plant(mutant, Path(folder), f"mutant_{number}"))
            print(json.dumps({"mutant": mutant.name, "killed_by": killer}), flush=True)


if __name__ == "__main__":
    main()
