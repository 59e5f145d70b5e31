"""The cases of the interpreter on a GPU, where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_kernels_when_on_a_gpu_agree_with_float64(triton: None, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rtsearch_fast.kernels.audit.values"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    assert not [row for row in rows if not row["passed"]]
