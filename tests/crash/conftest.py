"""Runs over a toy server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from eval_process import Run
from toy_text import start_toy_server


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    server = start_toy_server()
    yield Run(server, tmp_path)
    server.close()
