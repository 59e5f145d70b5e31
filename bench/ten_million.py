"""A tree of ten million nodes: built, exported, imported, and searched on as if nothing was.

    python bench/ten_million.py [--nodes 10000000]

Prints seconds of processor time, and bytes.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import fields
from typing import TypeVar

import numpy as np
from workload import Workload

from rtsearch_fast.forest import Forest

CHILDREN = 4
BATCH = 64
FURTHER_LEAVES = 10_000

Result = TypeVar("Result")


def timed(name: str, call: Callable[[], Result]) -> Result:
    start = time.process_time()
    result = call()
    print(f"  {name:24} {time.process_time() - start:8.2f} s", flush=True)
    return result


def measure(workload: Workload) -> None:
    forest = Forest(workload.params)
    (tree,) = ids = forest.create_trees(1)
    timed("build", lambda: workload.run(forest, ids))
    nodes = forest.num_nodes(tree)
    exported = timed("export", lambda: forest.to_bytes(tree))
    copy = timed("import", lambda: forest.from_bytes(exported))
    signatures = timed("signatures of both", lambda: [forest.signature(t) for t in (tree, copy)])
    timed("invariants of both", lambda: [forest.check_invariants(t) for t in (tree, copy)])
    assert signatures[0] == signatures[1]
    one, other = forest.columns(tree), forest.columns(copy)
    for column in fields(one):
        assert np.array_equal(getattr(one, column.name), getattr(other, column.name)), column.name
    leaves = [forest.select(np.full(FURTHER_LEAVES, t, np.int32)) for t in (tree, copy)]
    assert np.array_equal(*leaves)
    print(
        f"  {nodes:,} nodes: {workload.bytes_per_node:.1f} bytes each in memory, "
        f"{len(exported) / nodes:.1f} exported; equal signatures, columns, and next "
        f"{FURTHER_LEAVES:,} leaves"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=10_000_000)
    nodes = parser.parse_args().nodes
    for rule in ("uct", "mcts_g"):
        print(rule)
        measure(Workload(rule, CHILDREN, nodes // CHILDREN, BATCH))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"peak of resident memory: {peak:,.0f} MiB, of both trees, their copies and the arrays")


if __name__ == "__main__":
    main()
