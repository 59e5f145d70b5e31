"""`rtsearch eval` as a process of its own, to be killed, with the toy model behind a server."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toy_models import total, toy_problem
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE

__all__ = ["PROBLEMS", "Run", "results", "whole_lines"]

PROBLEMS = int(os.environ.get("RTS_PROBLEMS", "12"))


class Run:
    """`rtsearch eval` on toy problems over a local server, as a process of its own."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.servers = ""  # in the place of that one
        self.folder = folder
        #: Further options of every start.
        self.flags: tuple[str, ...] = ("--retries", "0")
        (folder / "policy.txt").write_text(POLICY_TEMPLATE)
        (folder / "reward.txt").write_text(REWARD_TEMPLATE)
        with open(folder / "problems.jsonl", "w") as file:
            for i in range(PROBLEMS):
                text = toy_problem(random.Random(i), 3)
                file.write(
                    json.dumps({"id": i, "problem": text, "answer": str(total(text))}) + "\n"
                )

    def start(
        self,
        output: Path,
        *more: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Start it; `within` is a command that takes another."""
        arguments = ["eval", "problems.jsonl", "--methods", "cot,majority,mcts_g"]
        arguments += ["--budget-tokens", "300", "--concurrency", "2", *self.flags]
        arguments += ["--template", "policy.txt", "--reward-template", "reward.txt"]
        arguments += ["--base-url", self.servers or self.server.base_url, "-o", str(output), *more]
        program = [sys.executable, "-c", "from rtsearch_fast.cli import main; main()"]
        return subprocess.Popen(
            [*within, *program, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                **(environment or {}),
            },
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


def whole_lines(output: Path) -> list[dict[str, Any]]:
    """The records of a run, finished or not, whose last line may be torn."""
    path = output / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [{"key": e["done"], **e["record"]} for e in entries if "done" in e]


def results(output: Path) -> bytes:
    """The final file of a run."""
    return (output / "results.jsonl").read_bytes()
