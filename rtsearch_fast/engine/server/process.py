"""A vLLM server on this machine: started, watched until it answers, asked how it is, ended.

The server is a process group of its own, which outlives the process that started it; what there is
to know of it stands in a state file (see `server_state`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ...errors import EngineError, InvalidArgumentError
from . import log as server_log
from . import settings as server_settings
from . import state as server_state
from .addresses import cannot_listen, free_port, root_url
from .settings import ServerOptions
from .state import ServerState
from .status import is_ready

__all__ = [
    "ServerStartError",
    "VllmServer",
    "stop_server",
]

#: Seconds between two looks at a server that starts or ends.
_POLL = 0.1
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
        self.port = port or free_port(host)
        self.options = options or ServerOptions()
        self.timeout = timeout
        #: Of the installed vLLM, once started.
        self.version = ""
        self._state: ServerState | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root_url(self) -> str:
        return root_url(self.host, self.port)

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
        if why := cannot_listen(self.host, self.port):
            raise EngineError(
                f"cannot listen at {self.host}, port {self.port}: {why}: give another --port, "
                f"e.g. {free_port(self.host, self.port + 1)}, or end the program that has it"
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
            if is_ready(self.root_url):
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


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
