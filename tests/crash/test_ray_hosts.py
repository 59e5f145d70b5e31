"""A run over a Ray cluster of four hosts, which are network namespaces: one is lost, one joins.

They take root, and a minute: RTS_HOSTS=1 asks for them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from eval_process import Run, results
from toy_text import start_toy_server

pytest.importorskip("cyclopts")
pytestmark = pytest.mark.skipif(
    not os.environ.get("RTS_HOSTS") or find_spec("ray") is None,
    reason="RTS_HOSTS=1 asks for it; it takes root, iproute2 and ray",
)

NETWORK = "10.83.0"
HEAD = f"{NETWORK}.1:6379"
RAY = Path(sys.executable).parent / "ray"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Hosts:
    """Namespaces rts1, rts2, ... on one bridge, where this process is .254."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.numbers = range(1, number + 1)
        ip("link", "add", "rtsbr", "type", "bridge")
        ip("addr", "add", f"{NETWORK}.254/24", "dev", "rtsbr")
        ip("link", "set", "rtsbr", "up")
        for i in self.numbers:
            ip("netns", "add", f"rts{i}")
            ip("link", "add", f"rtsv{i}", "type", "veth", "peer", "name", "e0", "netns", f"rts{i}")
            ip("link", "set", f"rtsv{i}", "master", "rtsbr", "up")
            ip("-n", f"rts{i}", "addr", "add", f"{NETWORK}.{i}/24", "dev", "e0")
            ip("-n", f"rts{i}", "link", "set", "e0", "up")
            ip("-n", f"rts{i}", "link", "set", "lo", "up")

    def start_ray(self, i: int) -> None:
        role = ["--head", "--port=6379", "--include-dashboard=false"]
        role = role if i == 1 else [f"--address={HEAD}"]
        subprocess.run(
            ["ip", "netns", "exec", f"rts{i}", RAY, "start", *role, "--num-cpus=1"]
            + [f"--node-ip-address={NETWORK}.{i}", "--object-store-memory=100000000"]
            + ([f"--temp-dir={self.folder / 'ray'}"] if i == 1 else []),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"},
        )

    def processes(self, i: int, name: str = "") -> list[int]:
        """Those on a host, of which the command begins so."""
        found = subprocess.run(
            ["ip", "netns", "pids", f"rts{i}"], check=True, capture_output=True, text=True
        )
        return [
            int(pid)
            for pid in found.stdout.split()
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(name)
        ]

    def stop(self, i: int) -> None:
        """As if its power were cut."""
        for pid in self.processes(i):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for i in self.numbers:
            self.stop(i)
            ip("netns", "del", f"rts{i}")
        ip("link", "del", "rtsbr")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("takes root and iproute2")
    # the path of a socket in it is at most 107 bytes long
    folder = Path("/tmp") / f"rts{os.getpid()}"
    folder.mkdir()
    found = Hosts(folder, 4)
    yield found
    found.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_eval_over_hosts_when_one_is_lost_and_one_joins_ends_with_the_bytes_of_one_process(
    hosts, tmp_path
):
    server = start_toy_server(host=f"{NETWORK}.254")
    try:
        run = Run(server, tmp_path)
        run.finish(tmp_path / "here")
        requests = len(server.bodies)
        for i in (1, 2, 3):
            hosts.start_ray(i)
        server.delay = 0.1
        process = run.start(
            tmp_path / "there",
            *("--engine", "ray", "--replicas", "4", "--ray-address", HEAD),
            within=("ip", "netns", "exec", "rts1"),
        )
        wanted = requests + requests // 3
        while len(server.bodies) < wanted:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        assert hosts.processes(2, "ray::Worker") and hosts.processes(3, "ray::Worker")
        server.delay = 1.0  # until the fourth is there
        hosts.stop(2)
        hosts.start_ray(4)
        deadline = time.monotonic() + 60
        while not hosts.processes(4, "ray::Worker"):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.delay = 0.0
        out, err = process.communicate()
    finally:
        server.close()
    assert process.returncode == 0, err
    assert "room for 3 of 4 replicas" in err and "go on elsewhere" in err, err
    assert out.count("95 % interval") == 1
    assert results(tmp_path / "there") == results(tmp_path / "here")
    journals = [(tmp_path / name / "journal.jsonl").read_bytes() for name in ("here", "there")]
    assert journals[0] == journals[1]
