"""Runs the whole audit: ``python -m rtsearch_fast.kernels.audit [--json FILE]``."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

from .report import failures, tables
from .workers import run_workers


def main() -> int:
    """Print the tables; 0 only if all is as it must be."""
    parser = argparse.ArgumentParser(description="Prove the kernels without a GPU.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there, too")
    arguments = parser.parse_args()
    missing = [name for name in ("torch", "triton") if find_spec(name) is None]
    if missing:
        parser.error(f'{missing[0]} is not installed: pip install "rtsearch-fast[kernels]"')
    results = run_workers()
    if arguments.json:
        arguments.json.write_text(json.dumps(results), "utf-8")
    print("\n".join(tables(results)))
    found = failures(results)
    print("", *(f"FAILED {failure}" for failure in found), sep="\n")
    print("All is as it must be." if not found else f"{len(found)} failures.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
