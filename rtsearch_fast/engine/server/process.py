"""A vLLM server on this machine: started, watched until it answers, asked how it is, ended.

The server is a process group of its own, which outlives the process that started it; what there is
to know of it stands in a state file (see `server_state`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import TracebackType

from ...errors import EngineError, InvalidArgumentError
from . import log as server_log
from . import settings as server_settings
from . import state as server_state
from .settings import ServerOptions
from .state import ServerState

__all__ = [
    "MetricsSnapshot",
    "ServerStartError",
    "ServerStatus",
    "VllmServer",
    "is_loopback",
    "parse_metrics",
    "server_status",
    "stop_server",
]

#: Seconds between two looks at a server that starts or ends.
_POLL = 0.1
_HEALTH_TIMEOUT = 2.0
#: What a server may take to end by itself before it is killed.
_GRACE = 20.0

#: Called with what a starting server does, and for how many seconds it has been starting.
Progress = Callable[[str, float], None]


class ServerStartError(EngineError):
    """A server did not start; the text says why.

    Attributes
    ----------
    tail : tuple of str
        The end of its log, fit to be shown, where the reason is not certain.
    """

    def __init__(self, text: str, tail: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.tail = tail


class VllmServer:
    """One vLLM server; as a context manager it runs inside the block.

    Parameters
    ----------
    model : str
        A folder in Hugging Face format, a name at the hub, or "smollm2-135m" (embedded).
    port : int
        0 takes a free one.
    host : str
        Address to listen at. Whoever reaches it can use the server, and vLLM asks for a key only if
        the environment variable VLLM_API_KEY is set.
    options : ServerOptions, optional
    timeout : float
        Seconds that the start may take.

    Examples
    --------
    >>> with VllmServer("smollm2-135m", port=0) as server:  # doctest: +SKIP
    ...     engine = CompletionsEngine(server.base_url)
    """

    def __init__(
        self,
        model: str,
        *,
        port: int = 8000,
        host: str = "127.0.0.1",
        options: ServerOptions | None = None,
        timeout: float = 900.0,
    ) -> None:
        if not 0 <= port < 65536:
            raise InvalidArgumentError(f"port={port} must be in 1 - 65535, or 0 for a free one")
        if not timeout > 0:
            raise InvalidArgumentError(f"timeout={timeout} must be positive")
        self.model = model
        self.host = host
        self.port = port or _free_port(host)
        self.options = options or ServerOptions()
        self.timeout = timeout
        #: Of the installed vLLM, once started.
        self.version = ""
        self._state: ServerState | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root_url(self) -> str:
        return _root_url(self.host, self.port)

    @property
    def base_url(self) -> str:
        """For --base-url and the engines."""
        return f"{self.root_url}/v1"

    @property
    def state(self) -> ServerState:
        """What is known of the started server."""
        if self._state is None:
            raise EngineError(f"no server was started at port {self.port}: call start() first")
        return self._state

    @property
    def log(self) -> Path:
        return server_state.log_path(self.port)

    def start(self, progress: Progress | None = None) -> VllmServer:
        """Start the server and return when it answers.

        Parameters
        ----------
        progress : callable, optional
            Called often, with what the server does and the seconds since the start.

        Raises
        ------
        MissingExtraError
            There is no vLLM, or none that can be used.
        InvalidArgumentError
            The model can be none.
        EngineError
            The port is taken.
        ServerStartError
            The server ended, or did not answer in time; nothing is left of it. The same goes for
            an interrupt while this waits.
        """
        self.version, module = server_settings.find_vllm()
        model = server_settings.find_model(self.model)
        machine = server_settings.this_machine(self.options.device, self.version)
        settings = server_settings.server_settings(model, machine, self.options)
        command = [sys.executable, "-m", module, "--host", self.host, "--port", str(self.port)]
        # Options precede what is set outside, which precedes what is chosen here.
        environment = {**settings.environment, **os.environ, **settings.asked_for}
        name = self.options.served_model_name or model.name
        with server_state.locked(self.port):
            self._refuse_taken_port()
            began = time.monotonic()
            self._process = self._spawn([*command, *settings.arguments], environment)
            try:
                self._state = self._record(name)
            except BaseException:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                raise
        try:
            self._wait_until_ready(began, progress or (lambda phase, seconds: None))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server; nothing happens if it has ended."""
        self._end(_GRACE)

    def kill(self) -> None:
        """End the server as a crash would: at once, with requests under way."""
        self._end(0.0)

    def detach(self) -> None:
        """Let the started server outlive this object; `stop_server` ends it."""
        if self._process is not None:
            self._process.returncode = 0  # else Popen complains that nobody waits for it
            self._process = None

    def __enter__(self) -> VllmServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- stages of a start ----------------------------------------------------

    def _refuse_taken_port(self) -> None:
        state = server_state.load_state(self.port)
        if state is not None and state.members:
            raise EngineError(
                f"port {self.port} serves {state.model!r} already (pid {state.pid}): use "
                f"{state.url}, or end it with `rtsearch engine stop --port {self.port}`"
            )
        if why := _cannot_listen(self.host, self.port):
            raise EngineError(
                f"cannot listen at {self.host}, port {self.port}: {why}: give another --port, "
                f"e.g. {_free_port(self.host, self.port + 1)}, or end the program that has it"
            )

    def _spawn(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(self.log, flags, 0o600), "wb") as log:
            return subprocess.Popen(
                command,
                # "python -m" looks for modules in the current folder first
                cwd=server_state.servers_folder(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _record(self, name: str) -> ServerState:
        assert self._process is not None
        pid = self._process.pid
        state = ServerState(
            pid=pid,
            # a process that has ended already is found out while waiting
            identity=server_state.process_identity(pid) or "",
            boot=server_state.boot_identity(),
            started_at=time.time(),
            port=self.port,
            url=self.base_url,
            model=name,
            task=self.options.task,
            log=str(self.log),
        )
        server_state.save_state(state)
        return state

    def _wait_until_ready(self, began: float, progress: Progress) -> None:
        assert self._process is not None
        while True:
            seconds = time.monotonic() - began
            log = server_log.read_log(self.log)
            phase = server_log.phase_of(log)
            progress(phase, seconds)
            code = self._process.poll()
            if code is not None:
                log = server_log.read_log(self.log)
                raise self._failure(
                    f"{self.version} ended while {phase} ({_ending(code)})", log, code
                )
            if _is_ready(self.root_url):
                return
            if seconds > self.timeout:
                raise ServerStartError(
                    f"{self.version} is not ready after {self.timeout:g} s, still {phase}: raise "
                    f"--timeout, or look into {self.log}",
                    tuple(server_log.tail_of(log)),
                )
            time.sleep(_POLL if seconds < 5 else 5 * _POLL)

    def _failure(self, what: str, log: str, code: int) -> ServerStartError:
        cause = server_log.diagnose(log, code)
        if cause is None or cause.is_guess:
            text = f"{what}: {cause.text if cause else 'its log does not say why'}"
            return ServerStartError(f"{text}: look into {self.log}", tuple(server_log.tail_of(log)))
        return ServerStartError(f"{what}: {cause.text} (log: {self.log})")

    def _end(self, grace: float) -> None:
        if self._state is None:
            return
        with server_state.locked(self.port):
            # reaps, too: nobody else waits for a child of this process
            _end_group(self._state, grace, self._process)
            if server_state.load_state(self.port) == self._state:
                server_state.remove_state(self.port)
        if self._process is not None:
            self._process.wait()


# --- any server that was started here -----------------------------------------


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """What a server says of itself at /metrics.

    Attributes
    ----------
    running, waiting : int
        Requests.
    hit_rate : float or None
        Share of the prompts' tokens that came from the prefix cache since the start; None before
        the first.
    """

    running: int
    waiting: int
    hit_rate: float | None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A server that was started here.

    Attributes
    ----------
    state : ServerState
    is_alive : bool
        Does its process run?
    is_ready : bool
        Does it answer?
    uptime : float
        Seconds since its start.
    metrics : MetricsSnapshot or None
        None while it does not answer.
    """

    state: ServerState
    is_alive: bool
    is_ready: bool
    uptime: float
    metrics: MetricsSnapshot | None


def server_status(port: int) -> ServerStatus | None:
    """Look after the server of a port; None if none was started here.

    Raises
    ------
    EngineError
        Its state file is damaged.
    """
    state = server_state.load_state(port)
    if state is None:
        return None
    alive = state.is_alive
    root = state.url.removesuffix("/v1")
    ready = alive and _is_ready(root)
    metrics = None
    if ready:
        with contextlib.suppress(OSError, HTTPException):
            metrics = parse_metrics(_get(f"{root}/metrics").decode("utf-8", "replace"))
    return ServerStatus(state, alive, ready, max(time.time() - state.started_at, 0.0), metrics)


def stop_server(port: int, *, grace: float = _GRACE) -> tuple[ServerState, bool] | None:
    """End the server of a port, all its processes, and forget it.

    Parameters
    ----------
    port : int
    grace : float
        Seconds to end by itself.

    Returns
    -------
    tuple of ServerState and bool, or None
        What was known of it, and whether anything was still running; None if no server was started
        here.
    """
    with server_state.locked(port):
        state = server_state.load_state(port)
        if state is None:
            return None
        ran = _end_group(state, grace)
        server_state.remove_state(port)
    return state, ran


def _end_group(
    state: ServerState, grace: float, process: subprocess.Popen[bytes] | None = None
) -> bool:
    """End all processes of a server; returns whether there were any.

    Raises
    ------
    EngineError
        Some are left.
    """
    if not state.members:
        return False
    deadline = time.monotonic() + grace
    if grace > 0:
        with contextlib.suppress(ProcessLookupError):
            # vLLM's first process ends the others in order; without it they are told themselves.
            if state.is_alive:
                os.kill(state.pid, signal.SIGTERM)
            else:
                os.killpg(state.pid, signal.SIGTERM)
        while state.members and time.monotonic() < deadline:
            if process is not None:
                process.poll()
            time.sleep(_POLL)
    deadline = time.monotonic() + 10.0
    while members := state.members:
        if time.monotonic() > deadline:
            raise EngineError(
                f"processes {', '.join(map(str, members))} of the server at port {state.port} do "
                "not end: they wait for a device; try again later"
            )
        with contextlib.suppress(ProcessLookupError):
            os.killpg(state.pid, signal.SIGKILL)
        time.sleep(_POLL / 2)
    return True


def parse_metrics(text: str) -> MetricsSnapshot:
    """Read the few figures of /metrics that tell how a search is doing.

    Examples
    --------
    >>> parse_metrics('vllm:num_requests_running{engine="0"} 3.0')
    MetricsSnapshot(running=3, waiting=0, hit_rate=None)
    """
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("vllm:"):
            name, value = line.split("{")[0].split(" ")[0], line.rpartition(" ")[2]
            with contextlib.suppress(ValueError):
                sums[name] = sums.get(name, 0.0) + float(value)
    queries = sums.get("vllm:prefix_cache_queries_total", 0.0)
    hits = sums.get("vllm:prefix_cache_hits_total", 0.0)
    return MetricsSnapshot(
        int(sums.get("vllm:num_requests_running", 0.0)),
        int(sums.get("vllm:num_requests_waiting", 0.0)),
        hits / queries if queries > 0 else None,
    )


# --- addresses ------------------------------------------------------------------


def is_loopback(host: str) -> bool:
    """Is this address reached from this machine alone?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _root_url(host: str, port: int) -> str:
    # "any address" is no address to go to
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(host: str, port: int) -> str | None:
    """Try a port as vLLM will; returns why it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _free_port(host: str, first: int = 0) -> int:
    for port in range(first, min(first + 50, 65536)) if first else ():
        if _cannot_listen(host, port) is None:
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Straight to the server: a proxy of the environment knows nothing of this machine's loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(url: str) -> bytes:
    with _OPENER.open(url, timeout=_HEALTH_TIMEOUT) as reply:
        body: bytes = reply.read()
        return body


def _is_ready(root_url: str) -> bool:
    try:
        _get(f"{root_url}/health")
    except (OSError, HTTPException):
        return False
    return True


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
