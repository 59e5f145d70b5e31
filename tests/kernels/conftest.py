"""The audit, run once as the command that users run, and what stands in for an absent Triton."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest


@pytest.fixture(scope="session")
def triton() -> None:
    """Skip where Triton is missing.

    RTS_REQUIRE_TRITON=1 makes that a failure: where the tests should run, they must not be passed
    over in silence.
    """
    if importlib.util.find_spec("triton") is None:
        if os.environ.get("RTS_REQUIRE_TRITON"):
            pytest.fail('Triton is missing: pip install "rtsearch-fast[kernels]"')
        pytest.skip("Triton is not installed")


@dataclass(frozen=True)
class Audit:
    """What the command printed and wrote."""

    exit_code: int
    printed: str
    results: dict[str, list[dict[str, Any]]]

    def row(self, kind: str, **keys: str) -> dict[str, Any]:
        """The one row of a kind in which these keys have these values."""
        (found,) = (
            row for row in self.results[kind] if all(row.get(key) == keys[key] for key in keys)
        )
        return found


@pytest.fixture(scope="session")
def audit(triton: None, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Run ``python -m rtsearch_fast.kernels.audit``."""
    folder = tmp_path_factory.mktemp("audit")
    file = folder / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "rtsearch_fast.kernels.audit", "--json", str(file)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert file.is_file(), done.stderr
    return Audit(done.returncode, done.stdout, json.loads(file.read_text("utf-8")))


@pytest.fixture
def run_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a program in a process of its own, and return what it printed."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path_factory.mktemp("python"),
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
