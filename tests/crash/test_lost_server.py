"""A server that is lost in the middle of a run: waited for, and nothing done twice."""

from __future__ import annotations

import re
import signal
import time

from eval_process import PROBLEMS, Run, results, whole_lines
from toy_text import start_toy_server


def lose_server(run: Run, output, *more: str):
    """Start a run and take its server away when a third of the problems are done."""
    run.server.delay = 0.002
    process = run.start(output, *more)
    while len(whole_lines(output)) < PROBLEMS and process.poll() is None:
        time.sleep(0.002)
    run.server.close()
    return process


def restart(run: Run) -> None:
    port = int(re.search(r":(\d+)/", run.server.base_url)[1])
    run.server = start_toy_server(port=port)


def test_run_when_its_server_is_restarted_waits_and_ends_with_the_same_bytes(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    process = lose_server(run, output)
    records = len(whole_lines(output))
    assert PROBLEMS <= records < 3 * PROBLEMS
    time.sleep(1)
    assert process.poll() is None  # it waits
    restart(run)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert results(output) == results(undisturbed)
    assert "is lost; waiting for it, up to 300 s" in err and "is back after" in err
    assert err.count("\n") == 2 and err.count("rtsearch: ") == 2


def test_run_when_its_server_stays_away_ends_in_one_line_and_can_be_resumed(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    process = lose_server(run, output, "--patience", "1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    lost, end = err.splitlines()
    assert "is lost" in lost
    assert end.startswith("rtsearch: http://127.0.0.1:") and "start it again" in end
    assert "--resume" in end and "Traceback" not in err
    records = whole_lines(output)
    assert PROBLEMS <= len(records) < 3 * PROBLEMS
    restart(run)
    run.finish(output, "--resume")
    assert results(output) == results(undisturbed)


def test_run_when_interrupted_while_it_waits_ends_at_once(run, tmp_path):
    process = lose_server(run, tmp_path / "out")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
