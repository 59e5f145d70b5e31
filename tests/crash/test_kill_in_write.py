"""A run whose process ends inside a write, again and again, ends with the bytes of an undisturbed
one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from eval_process import PROBLEMS, Run, results, whole_lines

pytest.importorskip("cyclopts")

KILLS = int(os.environ.get("RTS_WRITE_KILLS", "20"))
#: What a run does when all is finished: results and journal are put in order.
LAST_CALLS = 8
SOURCE = Path(__file__).parents[1] / "support" / "kill_in_write.c"


class Killed:
    """Runs that end at a call by which a file of theirs changes."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run = run
        self.calls = folder / "calls"
        self.library = folder / "kill_in_write.so"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(SOURCE), "-ldl"],
            check=True,
        )

    def start(self, output: Path, at: int, *more: str) -> subprocess.Popen[str]:
        self.calls.unlink(missing_ok=True)
        return self.run.start(
            output,
            *more,
            environment={
                "LD_PRELOAD": str(self.library),
                "RTS_FOLDER": str(output),
                "RTS_CALLS": str(self.calls),
                "RTS_KILL_AT": str(at),
            },
        )

    def count(self, output: Path) -> int:
        """The calls of a run that is left in peace."""
        process = self.start(output, 0)
        _, err = process.communicate()
        assert process.returncode == 0, err
        return len(self.calls.read_bytes())

    def kill(self, output: Path, at: int, *more: str) -> None:
        process = self.start(output, at, *more)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err
        assert len(self.calls.read_bytes()) == at


@pytest.fixture
def killed(run: Run, tmp_path: Path) -> Killed:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    return Killed(run, tmp_path)


def content(output: Path) -> tuple[bytes, bytes]:
    return results(output), (output / "journal.jsonl").read_bytes()


def test_run_when_killed_inside_many_writes_ends_with_the_bytes_of_an_undisturbed_one(
    run, killed, tmp_path
):
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "out"
    calls = killed.count(undisturbed)
    rng = random.Random(0)
    done = 0
    for _ in range(KILLS):
        killed.kill(output, rng.randrange(1, max(2, calls // (KILLS + 1))), "--resume")
        records = whole_lines(output)
        assert len(records) >= done  # nothing is lost
        done = len(records)
    assert 0 < done < 3 * PROBLEMS
    run.finish(output, "--resume")
    assert content(output) == content(undisturbed)


def test_run_when_killed_while_it_puts_its_files_in_order_ends_with_the_same_bytes(
    run, killed, tmp_path
):
    undisturbed = tmp_path / "undisturbed"
    calls = killed.count(undisturbed)
    for back in range(LAST_CALLS):
        output = tmp_path / f"out{back}"
        killed.kill(output, calls - back)
        run.finish(output, "--resume")
        assert content(output) == content(undisturbed)
        assert not list(output.glob("*.tmp"))
