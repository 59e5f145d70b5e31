"""A server that is lost in the middle of a run: waited for, and nothing done twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
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


class ServerProcess:
    """The toy server in a process of its own, which can be killed."""

    CODE = (
        "import sys, toy_text; s = toy_text.start_toy_server(port=int(sys.argv[1])); "
        "s.delay = 0.005; print(s.base_url, flush=True); sys.stdin.read()"
    )

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.base_url = self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def test_run_when_its_server_is_killed_and_started_again_ends_with_the_same_bytes(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    run.finish(undisturbed)
    run.server.close()
    run.server = ServerProcess()
    process = run.start(output)
    while len(whole_lines(output)) < PROBLEMS and process.poll() is None:
        time.sleep(0.002)
    run.server.close()
    assert PROBLEMS <= len(whole_lines(output)) < 3 * PROBLEMS
    run.server = ServerProcess(int(re.search(r":(\d+)/", run.server.base_url)[1]))
    _, err = process.communicate(timeout=60)
    run.server.close()
    assert process.returncode == 0, err
    assert results(output) == results(undisturbed)


def test_run_when_interrupted_while_it_waits_ends_at_once(run, tmp_path):
    process = lose_server(run, tmp_path / "out")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
