"""The command line in this process, and toy models behind a local server."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy_models import total, toy_problem
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE, start_toy_server


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that a failed command writes."""
        assert self.code != 0, self
        assert self.err.startswith("rtsearch: ") and self.err.endswith("\n"), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.out + self.err
        return self.err


@pytest.fixture
def rtsearch(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process."""
    app = pytest.importorskip("rtsearch_fast.cli.app")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = app.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def start_server() -> Iterator[Callable[..., Any]]:
    """Start servers of the toy model; they are closed after the test."""
    servers = []

    def start(**kwargs: Any) -> Any:
        servers.append(start_toy_server(**kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def toy_flags(tmp_path: Path) -> Callable[[Any], list[str]]:
    """Options that make a command use the toy model of a server, without patience."""
    (tmp_path / "policy.txt").write_text(POLICY_TEMPLATE)
    (tmp_path / "reward.txt").write_text(REWARD_TEMPLATE)

    def flags(server: Any) -> list[str]:
        url = server if isinstance(server, str) else server.base_url
        templates = [
            f"--template={tmp_path}/policy.txt",
            f"--reward-template={tmp_path}/reward.txt",
        ]
        return ["--base-url", url, "--retries", "0", *templates]

    return flags


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Four toy problems with their answers."""
    path = tmp_path / "problems.jsonl"
    texts = [toy_problem(random.Random(i), 3) for i in range(4)]
    lines = [
        {"unique_id": f"toy/{i}", "problem": text, "answer": str(total(text))}
        for i, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
