"""A run that is killed and resumed, again and again, ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal

import pytest
from eval_process import PROBLEMS, results, whole_lines

pytest.importorskip("cyclopts")

KILLS = int(os.environ.get("RTS_KILLS", "10"))


def test_run_when_killed_many_times_ends_with_the_bytes_of_an_undisturbed_one(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    total_requests = len(run.server.bodies)
    rng = random.Random(0)
    kills = done = 0
    while kills < KILLS:
        requests = rng.randrange(1, max(2, total_requests // (KILLS + 1)))
        code, err = run.interrupt(output, requests, signal.SIGKILL, "--resume")
        assert code == -signal.SIGKILL, err  # it had not come to its end
        kills += 1
        records = whole_lines(output)
        assert len(records) >= done  # nothing is lost
        done = len(records)
    assert 0 < done < 3 * PROBLEMS
    out = run.finish(output, "--resume")
    assert results(output) == results(undisturbed)
    assert out.count("95 % interval") == 1
    assert (output / "journal.jsonl").read_bytes() == (undisturbed / "journal.jsonl").read_bytes()
    assert sorted(path.name for path in output.iterdir()) == [
        "journal.jsonl",
        "problems.jsonl",
        "results.jsonl",
        "rtsearch.lock",
        "run.json",
        "timing.jsonl",
    ]


def test_run_when_interrupted_by_ctrl_c_exits_130_and_can_be_resumed(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    requests = len(run.server.bodies) // 2
    code, err = run.interrupt(output, requests, signal.SIGINT)
    assert code == 130, err
    assert err.startswith("rtsearch: interrupted; ") and err.count("\n") == 1
    assert "--resume" in err
    records = whole_lines(output)
    assert 0 < len(records) < 3 * PROBLEMS
    run.finish(output, "--resume")
    assert results(output) == results(undisturbed)


def test_run_when_terminated_exits_143_and_can_be_resumed(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    requests = len(run.server.bodies) // 2
    code, err = run.interrupt(output, requests, signal.SIGTERM)
    assert code == 143, err
    assert err.startswith("rtsearch: terminated; ") and err.count("\n") == 1
    assert "--resume" in err
    assert 0 < len(whole_lines(output)) < 3 * PROBLEMS
    run.finish(output, "--resume")
    assert results(output) == results(undisturbed)
