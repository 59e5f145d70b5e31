"""A run that is killed and resumed, again and again, ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_models import total, toy_problem
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE, start_toy_server

pytest.importorskip("cyclopts")

KILLS = 10
PROBLEMS = 12


class Run:
    """`rtsearch eval` on toy problems over a local server, as a process of its own."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.folder = folder
        (folder / "policy.txt").write_text(POLICY_TEMPLATE)
        (folder / "reward.txt").write_text(REWARD_TEMPLATE)
        with open(folder / "problems.jsonl", "w") as file:
            for i in range(PROBLEMS):
                text = toy_problem(random.Random(i), 3)
                file.write(
                    json.dumps({"id": i, "problem": text, "answer": str(total(text))}) + "\n"
                )

    def start(self, output: Path, *more: str) -> subprocess.Popen[str]:
        arguments = ["eval", "problems.jsonl", "--methods", "cot,majority,mcts_g"]
        arguments += ["--budget-tokens", "300", "--concurrency", "2", "--retries", "0"]
        arguments += ["--template", "policy.txt", "--reward-template", "reward.txt"]
        arguments += ["--base-url", self.server.base_url, "-o", str(output), *more]
        return subprocess.Popen(
            [sys.executable, "-c", "from rtsearch_fast.cli import main; main()", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # a shell may have started these tests with Ctrl-C switched off
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def finish(self, output: Path, *more: str) -> str:
        process = self.start(output, *more)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return out

    def interrupt(self, output: Path, requests: int, kind: int, *more: str) -> tuple[int, str]:
        """Send a signal once the server has seen so many more requests; exit code and stderr."""
        wanted = len(self.server.bodies) + requests
        process = self.start(output, *more)
        while len(self.server.bodies) < wanted and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(kind)
        _, err = process.communicate()
        return process.returncode, err


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    server = start_toy_server()
    yield Run(server, tmp_path)
    server.close()


def whole_lines(output: Path) -> list[dict[str, Any]]:
    """The records of a file whose last line may be torn; any other bad line is an error."""
    lines = output.read_bytes().splitlines(keepends=True) if output.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def test_run_when_killed_many_times_ends_with_the_bytes_of_an_undisturbed_one(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed.jsonl", tmp_path / "out.jsonl"
    run.finish(undisturbed)
    total_requests = len(run.server.bodies)
    rng = random.Random(0)
    kills = done = 0
    while kills < KILLS:
        requests = rng.randrange(1, total_requests // 11)
        code, err = run.interrupt(output, requests, signal.SIGKILL, "--resume")
        assert code == -signal.SIGKILL, err  # it had not come to its end
        kills += 1
        records = whole_lines(output)
        assert len(records) >= done  # nothing is lost
        done = len(records)
    assert 0 < done < 3 * PROBLEMS
    out = run.finish(output, "--resume")
    assert output.read_bytes() == undisturbed.read_bytes()
    assert out.count("95 % interval") == 1
    assert sorted(path.name for path in tmp_path.glob("out*")) == [
        "out.jsonl",
        "out.jsonl.timing.jsonl",
    ]


def test_run_when_interrupted_by_ctrl_c_exits_130_and_can_be_resumed(run, tmp_path):
    undisturbed, output = tmp_path / "undisturbed.jsonl", tmp_path / "out.jsonl"
    run.finish(undisturbed)
    requests = len(run.server.bodies) // 2
    code, err = run.interrupt(output, requests, signal.SIGINT)
    assert code == 130, err
    assert err.startswith("rtsearch: interrupted; ") and err.count("\n") == 1
    assert "--resume" in err
    kept = output.read_bytes()
    assert kept.endswith(b"\n")
    records = [json.loads(line) for line in kept.splitlines()]
    assert 0 < len(records) < 3 * PROBLEMS
    run.finish(output, "--resume")
    assert output.read_bytes() == undisturbed.read_bytes()
