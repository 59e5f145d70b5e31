"""`rtsearch eval --engine ray` as a process, over servers of the toy model."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from eval_process import results, whole_lines
from toy_text import start_toy_server

pytest.importorskip("cyclopts")
if find_spec("ray") is None and os.environ.get("RTS_REQUIRE_RAY"):
    raise ImportError("RTS_REQUIRE_RAY is set and ray is not installed")
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

OVER_RAY = ("--engine", "ray", "--replicas", "2")


def content(output: Path) -> tuple[bytes, bytes, bytes]:
    journal, about = output / "journal.jsonl", output / "run.json"
    return results(output), journal.read_bytes(), about.read_bytes()


def actors_of(driver: int) -> list[int]:
    """The processes that search for a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name = (path / "cmdline").read_bytes()
            environment = (path / "environ").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::Worker") and f"RTS_RUN={driver}".encode() in environment:
            found.append(int(path.name))
    return found


def start(run, output: Path, tag: int, *more: str) -> subprocess.Popen[str]:
    return run.start(output, *OVER_RAY, *more, environment={"RTS_RUN": str(tag)})


def wait_for_requests(run, number: int, process: subprocess.Popen[str]) -> None:
    wanted = len(run.server.bodies) + number
    while len(run.server.bodies) < wanted:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_eval_over_ray_when_an_actor_is_killed_ends_with_the_bytes_of_one_process(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    run.finish(here)
    requests = len(run.server.bodies)
    run.server.delay = 0.02  # so that both have work when one goes
    process = start(run, there, os.getpid())
    wait_for_requests(run, requests // 3, process)
    actors = actors_of(os.getpid())
    assert actors
    os.kill(actors[0], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "replica" in err and "go on elsewhere" in err and "Traceback" not in err
    assert out.count("95 % interval") == 1
    assert content(there) == content(here)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_eval_over_ray_when_stopped_goes_on_to_the_same_bytes(run, tmp_path, kind):
    here, there = tmp_path / "here", tmp_path / "there"
    run.finish(here)
    requests = len(run.server.bodies)
    run.server.delay = 0.02
    process = start(run, there, os.getpid())
    wait_for_requests(run, requests // 2, process)
    process.send_signal(kind)
    _, err = process.communicate()
    assert process.returncode == (143 if kind == signal.SIGTERM else -kind), err
    if kind == signal.SIGTERM:
        assert err.startswith("rtsearch: terminated; ") and err.count("\n") == 1
    done = len(whole_lines(there))
    wanted = time.monotonic() + 60
    while actors_of(os.getpid()):  # nothing of it stays behind
        assert time.monotonic() < wanted
        time.sleep(0.1)
    run.server.delay = 0.0
    run.finish(there, *OVER_RAY, "--resume")
    assert len(whole_lines(there)) > done
    assert content(there) == content(here)


def test_eval_over_ray_when_several_servers_are_named_gives_each_a_replica(run, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    run.finish(here)
    before = len(run.server.bodies)
    second = start_toy_server()
    try:
        run.servers = f"{run.server.base_url},{second.base_url}"
        run.finish(there, "--engine", "ray")
    finally:
        second.close()
    assert content(there) == content(here)
    assert second.bodies and len(run.server.bodies) > before
