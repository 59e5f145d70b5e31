"""`rtsearch engine` with a stand-in for vLLM; the real one is in tests/engines."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rtsearch_fast.engine.server import process as server
from rtsearch_fast.engine.server import state as server_state


def _fixtures_beside_the_engine_tests() -> Any:
    path = Path(__file__).parents[1] / "engine" / "conftest.py"
    spec = importlib.util.spec_from_file_location("fake_vllm_fixtures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_fixtures = _fixtures_beside_the_engine_tests()
cache, install_vllm, vllm, model = (
    getattr(_fixtures, name) for name in ("cache", "install_vllm", "vllm", "model")
)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    yield number


def test_engine_when_started_watched_and_stopped_says_what_comes_next(
    vllm: None, model: str, port: int, rtsearch: Callable[..., Any]
) -> None:
    url = f"http://127.0.0.1:{port}/v1"
    started = rtsearch("engine", "start", model, "--port", port, "--", "--swap-space", "1")
    assert started.code == 0, started
    assert f"vllm 0.32.0 serves some-model at {url} (pid " in started.out
    assert f"rtsearch eval demo --base-url {url} --budget-tokens 1000\n" in started.out
    assert f"rtsearch engine stop --port {port}\n" in started.out
    assert "importing vLLM" in started.err
    assert "'--swap-space', '1'" in server_state.log_path(port).read_text()

    status = rtsearch("engine", "status")
    assert status.code == 0
    assert f"{url}  some-model (policy)  ready, pid " in status.out
    assert "requests: 3 running, 2 waiting; 75.0 % of prompt tokens cached" in status.out

    assert "serves 'some-model' already" in rtsearch("engine", "start", model, "--port", port).error

    stopped = rtsearch("engine", "stop")
    assert stopped.code == 0 and f"stopped some-model at {url}" in stopped.out
    assert "no server was started here" in rtsearch("engine", "status").out
    assert "no server was started here" in rtsearch("engine", "stop").out
    assert f"at port {port}: see" in rtsearch("engine", "stop", "--port", port).error


def test_engine_when_the_server_is_gone_says_so_and_forgets_it(
    vllm: None, model: str, port: int, rtsearch: Callable[..., Any]
) -> None:
    rtsearch("engine", "start", model, "--port", port)
    state = server_state.load_state(port)
    server.stop_server(port, grace=0.0)
    server_state.save_state(state)
    status = rtsearch("engine", "status")
    assert status.code == 1 and "ended by itself" in status.out
    stopped = rtsearch("engine", "stop", "--port", port)
    assert stopped.code == 0 and "had ended already: some-model" in stopped.out


def test_engine_when_start_fails_is_one_line(
    vllm: None,
    model: str,
    port: int,
    rtsearch: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "crash")
    failed = rtsearch("engine", "start", model, "--port", port)
    assert failed.code == 1
    lines = [line for line in failed.err.splitlines() if line.startswith("rtsearch: ")]
    assert len(lines) == 1 and "this vLLM does not know --nonsense" in lines[0]


def test_engine_when_interrupted_while_starting_ends_the_server(
    vllm: None, model: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "hang")
    code = "from rtsearch_fast.cli import main; main()"
    command = [sys.executable, "-c", code, "engine", "start", model, "--port", str(port)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # a shell may have started these tests with Ctrl-C switched off
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    heard = ""
    while "loading weights" not in heard:
        heard += process.stderr.readline()
    group = server_state.load_state(port).pid
    process.send_signal(signal.SIGINT)
    assert process.stderr.read() == "rtsearch: interrupted; the server was ended again\n"
    process.stderr.close()
    assert process.wait() == 130
    assert server_state.known_ports() == []
    with pytest.raises(ProcessLookupError):
        os.kill(group, 0)


def test_engine_when_started_for_rewards_names_the_kind(
    vllm: None, model: str, port: int, rtsearch: Callable[..., Any]
) -> None:
    started = rtsearch("engine", "start", model, "--port", port, "--task", "process-reward")
    assert f"--reward-kind process --reward-base-url http://127.0.0.1:{port}/v1" in started.out


def test_engine_when_host_is_open_to_others_warns(
    vllm: None, model: str, port: int, rtsearch: Callable[..., Any]
) -> None:
    started = rtsearch("engine", "start", model, "--port", port, "--host", "0.0.0.0")
    assert started.code == 0
    assert f"warning: whoever reaches 0.0.0.0:{port} can use this server" in started.err


def test_engine_when_recipe_names_two_starts_both_or_none(
    vllm: None, model: str, tmp_path: Path, rtsearch: Callable[..., Any]
) -> None:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    sockets[0].close()
    recipe = tmp_path / "two.yaml"
    recipe.write_text(
        f"engines:\n"
        f"  policy: {{model: {model}, port: {ports[0]}, enforce-eager: true, block-size: 64}}\n"
        f"  reward: {{model: {model}, port: {ports[1]}, runner: pooling,\n"
        f"           enable-prefix-caching: false}}\n"
    )
    sockets[1].listen()
    failed = rtsearch("engine", "start", "--recipe", recipe)
    assert failed.code == 1 and f"port {ports[1]}" in failed.err
    assert server_state.known_ports() == []
    sockets[1].close()

    started = rtsearch("engine", "start", "--recipe", recipe)
    assert started.code == 0, started
    assert server_state.known_ports() == sorted(ports)
    log = server_state.log_path(ports[0]).read_text()
    assert "'--enforce-eager'" in log and "'--block-size', '64'" in log
    log = server_state.log_path(ports[1]).read_text()
    assert "'--no-enable-prefix-caching'" in log and "'--runner=pooling'" in log
    assert "give --port, or --all" in rtsearch("engine", "stop").error
    assert rtsearch("engine", "stop", "--all").out.count("stopped some-model") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a model: rtsearch engine start FOLDER"),
        (("a/b/c",), "the model 'a/b/c' is neither a folder nor a name at the hub"),
        (("m", "n"), "'n' is no option"),
        (("m", "--", "--port", "1"), "--port cannot be passed on"),
        (("m", "--", "--api-key=hush"), "put the key into the environment variable VLLM_API_KEY"),
        (("m", "--block-size", "0"), "block_size=0"),
        (("m", "--port", "99999"), "port=99999"),
        (("m", "--recipe", "r.yaml"), "give a model ('m') or --recipe, not both"),
    ],
)
def test_engine_when_arguments_are_wrong_is_one_line(
    vllm: None, rtsearch: Callable[..., Any], arguments: tuple[str, ...], words: str
) -> None:
    error = rtsearch("engine", "start", *arguments).error
    assert words in error and "hush" not in error


def test_engine_when_there_is_no_vllm_names_the_packages(
    rtsearch: Callable[..., Any], cache: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    assert 'pip install "rtsearch-fast[vllm]"' in rtsearch("engine", "start", model).error
