"""`rtsearch bench`: tables, files, comparison, and messages of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("matplotlib")

from rtsearch_fast.bench import suite
from rtsearch_fast.bench.suite import Sizes
from rtsearch_fast.cli import bench as command


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes of milliseconds."""
    monkeypatch.setattr(
        command,
        "Sizes",
        lambda rule, *_, **settings: Sizes(rule, (2,), (40,), (100,), **settings),
    )
    monkeypatch.setattr(suite, "_TURN", 40)
    monkeypatch.setattr(suite, "_TURN_SECONDS", 1e-4)


def test_bench_when_run_prints_writes_and_compares(rtsearch, tmp_path: Path) -> None:
    first = tmp_path / "first.json"
    outcome = rtsearch("bench", "--quick", "--no-peers", "--json", first)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("cpu ") and "instruction_set" in lines[0]
    assert sum(line.startswith("python") for line in lines) == 3
    assert sum(line.startswith("core loop") for line in lines) == 3
    assert sum(line.startswith("global leaf") for line in lines) == 1

    page, picture = tmp_path / "page.html", tmp_path / "plot.png"
    outcome = rtsearch(
        "bench", "--quick", "--no-peers", "--compare", first, "--html", page, "--plot", picture
    )
    assert outcome.code == 0, outcome.err
    assert "now/before" in outcome.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_bench_when_there_is_no_valgrind_says_so_before_measuring(
    rtsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    outcome = rtsearch("bench", "--no-peers", "--instructions")
    assert outcome.code == 1 and outcome.out == ""
    assert "needs valgrind: install it" in outcome.err


def test_bench_when_the_file_to_compare_with_is_missing_measures_nothing(
    rtsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(command, "measure", never)
    outcome = rtsearch("bench", "--compare", tmp_path / "none.json")
    assert outcome.code == 1 and "none.json: cannot be read" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "rounds=0: must be at least 1"),
        (["--rule", "bfs"], "rule"),
        (["--plot", "/"], "/: is a folder: name a file"),
        (["--json", "/nowhere/a.json"], "folder /nowhere does not exist"),
    ],
)
def test_bench_when_told_nonsense_says_so_in_one_line(
    rtsearch, arguments: list[str], message: str
) -> None:
    outcome = rtsearch("bench", "--quick", "--no-peers", *arguments)
    assert outcome.code != 0 and message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_bench_signature_when_the_build_is_right_says_so(
    rtsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = rtsearch("bench", "--signature")
    assert outcome.code == 0, outcome.err
    count = len(command.recorded_signatures())
    last = outcome.out.splitlines()[-1]
    assert last.startswith(f"{count} of {count} as recorded, instruction set ")

    other = dict(command.recorded_signatures(), uct="0" * 16)
    monkeypatch.setattr(command, "recorded_signatures", lambda: other)
    outcome = rtsearch("bench", "--signature")
    assert outcome.code == 1
    assert "0e0d43d9da74dce6  uct  NOT AS RECORDED\n" in outcome.out
