"""`rtsearch bench`: how fast the tree core is here, beside other packages that are installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from .._core import instruction_set
from ..bench.measurement import Measurement, Profile, read_profile, write_profile
from ..bench.peers import installed_peers
from ..bench.report import compared, draw, render_html, require_plots, table, write_bytes
from ..bench.signature import recorded_signatures, signatures
from ..bench.suite import Sizes, measure
from ..errors import DataError
from ..search.tree_view import printable

__all__ = ["bench"]


def bench(
    *,
    rule: Literal["uct", "puct", "mcts_g", "best_first"] = "uct",
    signature: bool = False,
    quick: bool = False,
    rounds: int = 5,
    peers: bool = True,
    instructions: bool = False,
    json: Annotated[Path | None, Parameter(name="--json")] = None,
    compare: Path | None = None,
    plot: Path | None = None,
    html: Path | None = None,
) -> int:
    """Measure latency against tree size, children (K), leaves in flight (B) and trees.

    A simulation selects a leaf, gives it K children and backs its reward up, a hash; no model is
    asked. "core loop" does so in C++, "python" from Python, a call a move and batch; they must
    grow the same trees. treequest, llm-reasoners, mctx, open_spiel and LightZero are measured in
    turns with them if they are installed.

    Parameters
    ----------
    rule
        How leaves are selected; peers are measured beside uct only.
    signature
        Instead of measuring, run fixed searches, and compare the signatures of their trees with the
        recorded ones: of any build on any machine they must be the same.
    quick
        Trees of 1,000 and 10,000 simulations and 4 children only.
    rounds
        Turns of each figure; the median counts.
    peers
        Measure other packages, too.
    instructions
        Count the instructions of the core loop, too, by valgrind: that takes minutes, but no
        neighbour on the machine changes the figures.
    json
        Write all figures to this file.
    compare
        Compare with the file that an earlier --json wrote.
    plot
        Draw latency against tree size into this PNG file.
    html
        Write figures and plot into this page.
    """
    if signature:
        return _print_signatures()
    # what cannot be kept is not measured
    for path in (json, plot, html):
        if path is not None and not path.parent.is_dir():
            raise DataError(f"{path}: the folder {path.parent} does not exist: make it first")
        if path is not None and path.is_dir():
            raise DataError(f"{path}: is a folder: name a file")
    if plot is not None or html is not None:
        require_plots()
    earlier = None if compare is None else read_profile(compare)
    sizes = (
        Sizes(
            rule, (4,), (1_000, 10_000), (1_000, 100_000), rounds=rounds, instructions=instructions
        )
        if quick
        else Sizes(rule, rounds=rounds, instructions=instructions)
    )
    profile = measure(sizes, installed_peers() if peers else (), _tell)
    _print_profile(profile)
    if json is not None:
        write_profile(json, profile)
    if plot is not None:
        write_bytes(plot, draw(profile))
    if html is not None:
        write_bytes(html, render_html(profile).encode("utf-8"))
    if earlier is not None:
        told = f"\ncompared with {compare}:\n{compared(earlier, profile)}"
        print(printable(told, keep="\n"))
    return 0


def _print_signatures() -> int:
    found, recorded = signatures(), recorded_signatures()
    for name, value in found.items():
        print(f"{value}  {name}{'' if value == recorded.get(name) else '  NOT AS RECORDED'}")
    wrong = sum(value != recorded.get(name) for name, value in found.items())
    isa = instruction_set()
    print(f"{len(found) - wrong} of {len(found)} as recorded, instruction set {isa}")
    return 1 if wrong else 0


def _tell(m: Measurement) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{m.what}, K = {m.children}, {m.simulations:,}", end="", file=sys.stderr)


def _print_profile(profile: Profile) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(", ".join(f"{name} {value}" for name, value in profile.machine.items()))
    print("ns a simulation; ratio: to this package, driven from Python, on the same work\n")
    print(table(profile.measurements))
