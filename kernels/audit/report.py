"""The audit's verdict, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .cases import CASES, TRAFFIC_CASES
from .matrix import KNOWN_BAD, TARGETS, builds
from .mutants import MUTANTS, PLANTED
from .workers import Results

__all__ = ["failures", "tables"]


def failures(results: Results) -> list[str]:
    """Return in words all that is not as it must be; what is missing is not."""
    return list(_failures(results))


def _failures(results: Results) -> Iterator[str]:
    for error in results["errors"]:
        yield f"{error['program']} ended with an error: {error['text']}"

    values = {row["case"]: row for row in results["values"]}
    for case in CASES:
        row = values.get(case.name)
        if row is None or not row["passed"]:
            yield f"values, {case.name}: {row['detail'] if row else 'did not run'}"

    killers = {row["mutant"]: row["killed_by"] for row in results["mutants"]}
    for mutant in MUTANTS:
        if not killers.get(mutant.name):
            yield f"mutant, {mutant.name}: survived"

    complaints = {row["case"]: row["complaints"] for row in results["traffic"] if "case" in row}
    for case in TRAFFIC_CASES:
        for complaint in complaints.get(case.name, ["did not run"]):
            yield f"traffic, {case.name}: {complaint}"
    reported = {row["planted"]: row["reported"] for row in results["traffic"] if "planted" in row}
    for mutant, _, _ in PLANTED:
        if not reported.get(mutant.name):
            yield f"traffic, {mutant.name}: not reported"

    faults = {(row["target"], row["build"]): row["faults"] for row in results["code"]}
    for target in TARGETS:
        for build in builds(target):
            for fault in faults.get((target, build.name), ["was not compiled"]):
                yield f"code, {build.name} for {target}: {fault}"
    for target, build, known in KNOWN_BAD:
        found = faults.get((target, build.name), [])
        if not any(fault.startswith(known) for fault in found):
            yield f"code, {build.name} for {target}: its {known} were not reported"

    if not results["roofline"]:
        yield "the roofline is missing"


def tables(results: Results) -> Iterator[str]:
    """Yield the lines of the report."""
    good = [row for row in results["code"] if not row["known_fault"]]
    yield from _code_table("Compiled code", good)
    yield ""
    passed = [row for row in results["values"] if row["passed"]]
    yield (
        f"Values against float64 in the interpreter: {len(passed)} of {len(CASES)} cases are right"
    )
    yield ""
    yield from _table(
        ("mutant", "verdict"),
        (
            (row["mutant"], f"killed by {row['killed_by']}" if row["killed_by"] else "SURVIVED")
            for row in results["mutants"]
        ),
    )
    yield ""
    yield from _traffic_table(results["traffic"])
    yield ""
    bad = [row for row in results["code"] if row["known_fault"]]
    yield from _code_table("Known bad, must be reported", bad)
    yield ""
    yield from _roofline_table(results["roofline"])


def _code_table(title: str, rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    numbers = ("registers", "spills", "shared", "wide_loads", "tensor_cores")
    yield from _table(
        (title, "target", "registers", "spills", "shared", "16 B loads", "MMA", "verdict"),
        (
            (
                row["build"],
                row["target"],
                *(str(row[number]) for number in numbers),
                "; ".join(row["faults"]) or "good",
            )
            for row in rows
        ),
    )


def _traffic_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from _table(
        ("memory traffic", "buffer", "bytes", "times read", "verdict"),
        (
            (
                row["case"],
                name,
                str(row["unique"][name]),
                f"{row['requested'][name] / row['unique'][name]:.2f}",
                "; ".join(row["complaints"]) or "good",
            )
            for row in rows
            if "case" in row
            for name in ("hidden", "weight")
        ),
    )
    yield ""
    yield from _table(
        ("planted", "verdict"),
        (
            (row["planted"], f"reported: {row['reported']}" if row["reported"] else "MISSED")
            for row in rows
            if "planted" in row
        ),
    )


def _roofline_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield (
        "Roofline: 256 new tokens and 4 steps a candidate. A floor is a formula over an H100's "
        "peaks and 3 us a launch;\nno GPU has run this."
    )
    yield from _table(
        ("model", "work", "microseconds", "of the pass", "number"),
        (
            (
                row["model"],
                row["what"],
                f"{row['microseconds']:.1f}",
                "" if row["share"] is None else f"{row['share']:.4%}",
                row["source"],
            )
            for row in rows
        ),
    )
    shares = [row["share"] for row in rows if row["what"] == "step_reward"]
    if shares:
        yield (
            f"The head is {min(shares):.4%} to {max(shares):.4%} of the forward pass below it.\n"
            "What counts is not to run it, nor the logits, on every token; the kernel adds little."
        )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()
