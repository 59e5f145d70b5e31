"""A wall clock that jumps by hours in the middle of a run: only the monotonic one decides."""

from __future__ import annotations

import ast
from pathlib import Path

from eval_process import results

import rtsearch_fast

PACKAGE = Path(rtsearch_fast.__file__).parent
#: Where the wall clock may be asked, and why.
WALL = {
    "engine/server/process.py": 1,  # when a server was started, for people
    "engine/server/status.py": 1,  # and how long ago that is
    "engine/completions.py": 1,  # a text that no cache has seen
}
#: Python runs it before all else: each look at the clock finds it hours from where it was.
JUMPS = """
import itertools, pathlib, time
real, looks = time.time, itertools.count()
def jumping():
    return real() + 7200 * (-1, 0, 5)[next(looks) % 3]
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
pathlib.Path({told!r}).touch()
"""


def test_run_when_the_clock_jumps_ends_with_the_bytes_of_an_undisturbed_one(
    run, tmp_path, monkeypatch
):
    undisturbed, output, told = tmp_path / "undisturbed", tmp_path / "out", tmp_path / "told"
    run.flags = ("--budget-seconds", "600", "--timeout", "60", "--retries", "8")
    run.finish(undisturbed)
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(JUMPS.format(told=str(told)))
    monkeypatch.syspath_prepend(str(tmp_path / "early"))
    run.server.inject("429", 0.1)
    run.server.retry_after = "0.01"
    run.finish(output)
    assert told.exists()
    assert results(output) == results(undisturbed)


def test_package_when_scanned_asks_the_wall_clock_for_nothing_that_it_decides_by():
    found: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            is_wall = (
                isinstance(node, ast.Attribute)
                and (
                    (node.attr in ("time", "time_ns", "localtime", "gmtime") and _is(node, "time"))
                    or (node.attr in ("now", "utcnow", "today") and _is(node, "datetime", "date"))
                )
            ) or (
                isinstance(node, ast.ImportFrom)
                and node.module == "time"
                and any(name.name not in ("monotonic", "perf_counter") for name in node.names)
            )
            if is_wall:
                name = path.relative_to(PACKAGE).as_posix()
                found[name] = found.get(name, 0) + 1
    assert found == WALL


def _is(node: ast.Attribute, *names: str) -> bool:
    """Whether it is an attribute of something with one of these names."""
    value = node.value
    return getattr(value, "id", getattr(value, "attr", None)) in names
