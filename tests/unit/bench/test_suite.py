"""Measurements: what is measured, files of them, reports, and the peers that are installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rtsearch_fast.bench import instructions, suite
from rtsearch_fast.bench.instructions import count_instructions
from rtsearch_fast.bench.measurement import (
    Measurement,
    Profile,
    read_profile,
    summarise,
    write_profile,
)
from rtsearch_fast.bench.peers import Peer, installed_peers
from rtsearch_fast.bench.report import compared, draw, render_html, table
from rtsearch_fast.bench.suite import Sizes, measure
from rtsearch_fast.bench.workload import Workload
from rtsearch_fast.errors import DataError, MissingExtraError


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_TURN", 50)
    monkeypatch.setattr(suite, "_TURN_SECONDS", 1e-4)


POINT = Measurement("python", "uct", 4, 1000, 64, 1, 250.0, 240.0, 300.0, 32.0)
PEER = Measurement("slow 1.0", "uct", 4, 1000, 64, 1, 5000.0, 4000.0, 9000.0)
PROFILE = Profile({"cpu": "x", "cores": 2}, (POINT, PEER))


def test_measure_when_run_measures_each_size_in_each_way() -> None:
    calls = []

    def prepare(children: int, simulations: int, trees: int):
        return lambda: calls.append((children, simulations, trees))

    peers = [Peer("other", "1", prepare, 60), Peer("many", "2", prepare, 60, many_trees=True)]
    told: list[Measurement] = []
    sizes = Sizes("uct", (2,), (30, 50), (100,), rounds=2)
    profile = measure(sizes, peers, told.append)
    assert list(profile.measurements) == told
    found = {(m.what, m.simulations, m.batch, m.trees) for m in told}
    ways = {(64, 1), (1, 1), (1, 64)}
    assert found == {
        *(
            (what, size, *way)
            for what in ("core loop", "python")
            for size in (30, 50)
            for way in ways
        ),
        ("other 1", 30, 1, 1),
        ("many 2", 30, 1, 1),
        ("many 2", 30, 1, 64),
        ("global leaf", 100, 64, 1),
    }
    assert all(0 < m.low <= m.ns <= m.high for m in told)
    assert set(calls) == {(2, 30, 1), (2, 30, 64)}
    assert profile.machine["instruction_set"] in {"baseline", "avx2", "avx512"}


def test_measure_when_instructions_are_counted_notes_them_of_the_core_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suite, "count_instructions", lambda workload: 7.0 * workload.trees)
    monkeypatch.setattr(suite, "require_valgrind", lambda: "valgrind")
    sizes = Sizes("uct", (2,), (30,), (100,), rounds=1, instructions=True)
    found = {(m.what, m.batch, m.trees): m.instructions for m in measure(sizes, ()).measurements}
    assert found.pop(("core loop", 1, 64)) == 448
    assert found.pop(("core loop", 1, 1)) == found.pop(("core loop", 64, 1)) == 7
    assert set(found.values()) == {None}


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_when_counted_are_those_of_a_simulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instructions, "_LEAST_SIMULATIONS", 20_000)
    counted = count_instructions(Workload("uct", 4, 1000))
    assert counted is not None and 500 < counted < 20_000
    assert count_instructions(Workload("uct", 4, 1000, trees=101)) is None


def test_measure_when_a_peer_fails_goes_on_without_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: int):
        raise ImportError("no module named 'x'")

    sizes = Sizes("uct", (2,), (30,), (), rounds=1)
    peers = [Peer("bad", "1", broken, 60), Peer("good", "2", lambda *_: lambda: None, 60)]
    found = {m.what for m in measure(sizes, peers).measurements}
    assert found == {"core loop", "python", "good 2"}
    assert "bad 1 is left out: ImportError: no module named 'x'" in caplog.text


def test_measure_when_the_rule_is_not_uct_leaves_peers_out() -> None:
    def prepare(*_: int):
        raise AssertionError("was asked")

    sizes = Sizes("mcts_g", (2,), (30,), (), rounds=1)
    found = measure(sizes, [Peer("other", "1", prepare, 60)]).measurements
    assert {m.what for m in found} == {"core loop", "python"}
    # tiles hold 32 bytes a node, the frontier 12 a group of siblings
    assert found[0].bytes_per_node == pytest.approx(32 + 12 * 30 / 61)


def test_peers_when_installed_search(tmp_path: Path) -> None:
    code = """
from rtsearch_fast.bench.peers import installed_peers
for peer in installed_peers():
    for trees in (1, 3) if peer.many_trees else (1,):
        peer.prepare(2, 20, trees)()
    print(peer.title)
"""
    done = subprocess.run(  # apart: JAX minds forks
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [peer.title for peer in installed_peers()]


def test_summary_of_rounds_is_median_and_range() -> None:
    assert summarise([3.0, 1.0, 8.0]) == {"ns": 3.0, "low": 1.0, "high": 8.0}
    assert summarise([0.03125, 0.02, 12345.6]) == {"ns": 0.03125, "low": 0.02, "high": 12350.0}


def test_profile_when_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_profile(tmp_path / "a.json", PROFILE)
    assert read_profile(tmp_path / "a.json") == PROFILE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no profile of `rtsearch bench --json`"),
        ("[]", "no profile of `rtsearch bench --json`"),
        ('{"format": 1}', "no profile of `rtsearch bench --json`"),
        ('{"format": 1, "machine": {}, "measurements": [{"what": "a"}]}', "no profile of"),
        ('{"format": 99}', "format 99 is not that of this version"),
    ],
)
def test_profile_when_the_file_holds_none_says_so(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        read_profile(path)


def test_profile_when_it_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_profile(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be written"):
        write_profile(tmp_path / "none" / "a.json", PROFILE)


def test_table_shows_ratios_to_this_package() -> None:
    head, ours, theirs = table(PROFILE.measurements).splitlines()
    assert head.split()[0] == "what" and ours.split()[-2:] == ["1.00", "32.0"]
    assert theirs.split()[-1] == "20.00"


def test_comparison_shows_what_both_have_and_what_else_changed() -> None:
    faster = Profile({"cpu": "y", "cores": 2}, (replace(POINT, ns=125.0),))
    text = compared(PROFILE, faster)
    assert text.splitlines()[1].split()[-3:] == ["250", "125", "0.50"]
    assert "cpu: x before, y now" in text and "cores" not in text and "slow" not in text
    assert "instructions" not in text and "instructions" not in table(PROFILE.measurements)

    counted = Profile({}, (replace(POINT, instructions=900.0),))
    assert table(counted.measurements).splitlines()[0].split()[-1] == "instructions"
    text = compared(counted, Profile({}, (replace(POINT, ns=500.0, instructions=1800.0),)))
    assert text.splitlines()[1].split()[-3:] == ["250", "500", "2.00"]
    assert text.splitlines()[2].startswith("python, instructions ")
    assert text.splitlines()[2].split()[-3:] == ["900", "1,800", "2.00"]

    with pytest.raises(DataError, match="no measurement in common"):
        compared(PROFILE, Profile({}, (replace(POINT, trees=9),)))


def test_html_when_rendered_escapes_and_loads_nothing() -> None:
    pytest.importorskip("matplotlib")
    page = render_html(Profile({"cpu": "<script>"}, (POINT, replace(PEER, what="<b>"))))
    assert "&lt;script&gt;" in page and "<script" not in page and "&lt;b&gt;" in page
    assert "data:image/png;base64," in page and "http" not in page


def test_plot_when_drawn_again_has_the_same_bytes() -> None:
    pytest.importorskip("matplotlib")
    assert draw(PROFILE).startswith(b"\x89PNG")
    assert draw(PROFILE) == draw(PROFILE)


def test_plot_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "rtsearch-fast\[study\]"'):
        draw(PROFILE)


def test_profile_json_names_its_units(tmp_path: Path) -> None:
    write_profile(tmp_path / "a.json", PROFILE)
    (first, _) = json.loads((tmp_path / "a.json").read_text("utf-8"))["measurements"]
    assert {"what", "rule", "children", "simulations", "ns", "bytes_per_node"} <= set(first)
