"""A disk that is full, or that cannot be written, in the middle of a run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eval_process import results, whole_lines


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system, or mounts it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(options: str) -> Path:
        nonlocal mounted
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted = True
        return folder

    yield mount
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_run_when_the_disk_fills_up_ends_in_one_line_and_goes_on_when_there_is_room(
    run, tmp_path, disk
):
    run.finish(tmp_path / "undisturbed")
    output = disk("size=48k") / "out"
    process = run.start(output)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.count("\n") == 1 and "(No space left on device)" in err
    assert "make room and go on with --resume" in err
    records = {record["key"] for record in whole_lines(output)}
    assert records
    disk("size=10m,remount")
    run.finish(output, "--resume")
    assert results(output) == results(tmp_path / "undisturbed")
    assert records <= {record["key"] for record in whole_lines(output)}


def test_run_when_the_disk_cannot_be_written_ends_in_one_line(run, disk):
    output = disk("size=10m,ro") / "out"
    process = run.start(output)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith(f"rtsearch: {output}: cannot be made (Read-only file system)")
    assert err.count("\n") == 1 and "choose another --output" in err


def test_run_when_its_disk_becomes_read_only_cannot_be_resumed_before_it_is_mended(run, disk):
    output = disk("size=10m") / "out"
    run.finish(output)
    before = results(output)
    disk("ro,remount")
    process = run.start(output, "--resume")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "(Read-only file system)" in err and err.count("\n") == 1
    assert results(output) == before
