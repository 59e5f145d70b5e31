"""Instructions of the core's loop, counted by valgrind's callgrind: no neighbour changes them.

What Python and the making of the process take is in two runs, of one search and of many, and falls
out of their difference. Valgrind knows no AVX-512: what is counted is the loop of AVX2.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys

from ..errors import DataError, MissingExtraError
from .workload import Workload

__all__ = ["count_instructions", "require_valgrind"]

#: Valgrind runs programs some fifty times slower: more than this takes minutes.
MOST_SIMULATIONS = 100_000
#: Starting Python takes a few million instructions more or less: a hundredth of what this many do.
_LEAST_SIMULATIONS = 100_000

# sys.path is handed over so that the child finds this package however the parent found it.
_SEARCH = """
import json, sys
paths, rule, arguments = json.loads(sys.argv[1])
sys.path[:] = paths
from rtsearch_fast import _core
_core.run_synthetic(rule=_core.Rule[rule], **arguments)
"""


def require_valgrind() -> str:
    """Return where valgrind is; raise MissingExtraError if it is nowhere."""
    found = shutil.which("valgrind")
    if found is None:
        raise MissingExtraError(
            "counting instructions needs valgrind: install it, as with `apt install valgrind`"
        )
    return found


def count_instructions(workload: Workload) -> float | None:
    """Count the instructions of a simulation.

    Returns
    -------
    float or None
        None where the search is too long to be counted (MOST_SIMULATIONS).

    Raises
    ------
    MissingExtraError
        There is no valgrind.
    DataError
        Valgrind failed; its last line is told.
    """
    if workload.total_simulations > MOST_SIMULATIONS:
        return None
    more = math.ceil(_LEAST_SIMULATIONS / workload.total_simulations)
    counted = _count(workload, 1 + more) - _count(workload, 1)
    return round(counted / (more * workload.total_simulations), 1)


def _count(workload: Workload, repeats: int) -> int:
    arguments = {**workload.core_arguments, "trees": workload.trees, "repeats": repeats}
    del arguments["rule"]
    done = subprocess.run(
        [
            require_valgrind(),
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            sys.executable,
            "-c",
            _SEARCH,
            json.dumps([sys.path, workload.rule, arguments]),
        ],
        env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or counted is None:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        raise DataError(f"valgrind cannot count this search: {last}")
    return int(counted[1])
