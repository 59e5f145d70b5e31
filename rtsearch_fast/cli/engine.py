"""`rtsearch engine start | stop | status`: vLLM servers on this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from rich.console import Console
from rich.markup import escape

from ..engine.server import process as server
from ..engine.server import state as server_state
from ..engine.server.addresses import is_loopback
from ..engine.server.process import ServerStartError, VllmServer
from ..engine.server.settings import ServerOptions
from ..engine.server.status import ServerStatus, server_status
from ..errors import EngineError, InvalidArgumentError
from ..search.tree_view import printable
from .settings import SMOLLM2

__all__ = ["EngineFlags", "engine_app", "start", "status", "stop"]

engine_app = App(name="engine", help="Start, stop and watch vLLM servers on this machine.")


@Parameter(name="*")
@dataclass(frozen=True)
class EngineFlags:
    """Settings of the server. Where none is given, what suits a tree search."""

    task: Literal["policy", "classify", "process-reward", "reward-head"] = "policy"
    """What the server does: generate (also for a judge that generates), give a text one score, give
    one to each step, or read a reward model's head at the ends of texts and steps with the help of
    the prefix cache."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of machine that the settings are for."""

    dtype: str | None = None
    """Numbers of the weights: bfloat16, float16, float32. Default: the model's own."""

    max_model_len: int | None = None
    """Longest prompt and answer together, in tokens. Default: the model's own, on a CPU at most
    4096."""

    block_size: int | None = None
    """Tokens a block of the prefix cache. Default: 32 on a CPU, 16 on a GPU."""

    max_num_seqs: int | None = None
    """Most sequences in one batch. Default: 128 on a CPU, 512 on a GPU."""

    gpu_memory_utilization: float | None = None
    """Share of each GPU's memory. Default: vLLM's."""

    tensor_parallel_size: int | None = None
    """GPUs over which the model is split."""

    gpus: str | None = None
    """GPUs to use, by number: 0,1."""

    kv_cache_gib: int | None = None
    """Memory of the key-value cache on a CPU, in GiB. Default: an eighth of the machine's."""

    cpu_cores: str | None = None
    """Cores that compute: 0-3. Two servers on one CPU should not share any."""

    enforce_eager: bool | None = None
    """Do without compilation and CUDA graphs. Default: on a CPU."""

    served_model_name: str | None = None
    """Name of the model for clients. Default: the folder's, or that at the hub."""


@engine_app.command
def start(
    model: str | None = None,
    /,
    *extra: str,
    port: int = 8000,
    host: str = "127.0.0.1",
    timeout: float = 900.0,
    recipe: Path | None = None,
    flags: EngineFlags | None = None,
) -> int:
    """Start a vLLM server in the background, and return when it answers.

    Parameters
    ----------
    model
        A folder in Hugging Face format, a name at the hub, or smollm2-135m (embedded).
    extra
        Further options of vLLM, after "--".
    port
        Where the server listens; 0 takes a free port.
    host
        Address at which it listens. Any other than the default lets others in.
    timeout
        Seconds that the start may take.
    recipe
        YAML file; start the servers under its `engines`, one after the other.
    """
    if recipe is not None:
        if model is not None:
            raise InvalidArgumentError(f"give a model ({model!r}) or --recipe, not both")
        if extra or (flags or EngineFlags()) != EngineFlags():
            raise InvalidArgumentError(
                f"--recipe {recipe} says how its engines are started: put the options there"
            )
        return _start_recipe(recipe)
    if model is None:
        raise InvalidArgumentError(
            f"give a model: rtsearch engine start FOLDER, ORGANISATION/NAME or {SMOLLM2}"
        )
    options = ServerOptions(**asdict(flags or EngineFlags()), extra=extra)
    started = VllmServer(model, port=port, host=host, options=options, timeout=timeout)
    if not is_loopback(host):
        print(
            f"rtsearch: warning: whoever reaches {printable(host)}:{started.port} can use this "
            "server; set VLLM_API_KEY to ask for a key, or leave --host away",
            file=sys.stderr,
        )
    with _Progress() as progress:
        try:
            started.start(progress)
        except ServerStartError as error:
            progress.close()
            for line in error.tail:
                print(f"  | {line}", file=sys.stderr)
            raise
        except KeyboardInterrupt:
            progress.close()
            print("rtsearch: interrupted; the server was ended again", file=sys.stderr)
            return 130
    started.detach()
    print(_introduction(started, progress.seconds))
    return 0


@engine_app.command
def stop(*, port: int | None = None, all: Annotated[bool, Parameter(negative=())] = False) -> int:
    """End servers that `rtsearch engine start` started, with all their processes.

    Parameters
    ----------
    port
        The server's. May be left out if there is only one.
    all
        End all of them.
    """
    ports = server_state.known_ports()
    if port is not None:
        ports = [port]
    elif len(ports) > 1 and not all:
        raise InvalidArgumentError(
            f"there are servers at ports {', '.join(map(str, ports))}: give --port, or --all"
        )
    elif not ports:
        print("no server was started here")
    for number in ports:
        stopped = server.stop_server(number)
        if stopped is None:
            raise EngineError(
                f"no server was started here at port {number}: see rtsearch engine status"
            )
        state, ran = stopped
        what = "stopped" if ran else "had ended already:"
        print(f"{what} {printable(state.model)} at {printable(state.url)} (pid {state.pid})")
    return 0


@engine_app.command
def status() -> int:
    """List the servers that were started here; the exit code is 1 if one of them is not ready."""
    ports = server_state.known_ports()
    if not ports:
        print("no server was started here: rtsearch engine start MODEL")
    ready = True
    for port in ports:
        try:
            found = server_status(port)
        except EngineError as error:
            print(printable(str(error)))
            ready = False
            continue
        if found is not None:  # it was stopped just now
            print(_description(found))
            ready &= found.is_ready
    return 0 if ready else 1


# --- recipes --------------------------------------------------------------------


def _start_recipe(recipe: Path) -> int:
    from .recipe import engine_options

    lines = [_command_line(options) for options in engine_options(recipe).values()]
    if not lines:
        raise InvalidArgumentError(f"{recipe}: there is nothing under `engines`: add an engine")
    before = set(server_state.known_ports())
    try:
        for line in lines:
            code = engine_app(
                ["start", *line],
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
            if code:
                raise KeyboardInterrupt
    except BaseException:
        # A search needs all of them; those of this recipe that run already are of no use.
        for port in set(server_state.known_ports()) - before:
            server.stop_server(port)
        raise
    return 0


def _command_line(options: dict[str, tuple[str, ...]]) -> list[str]:
    """What a recipe's engine stands for: our options, and vLLM's after "--"."""
    own = {field.name.replace("_", "-") for field in fields(EngineFlags)} | {
        "port",
        "host",
        "timeout",
    }
    ours: list[str] = []
    further: list[str] = []
    for key, values in options.items():
        value = ",".join(values)
        if key == "model":
            continue
        if value in ("true", "false"):
            (ours if key in own else further).append(f"--{'' if value == 'true' else 'no-'}{key}")
        elif key in own:
            ours.append(f"--{key}={value}")
        else:
            further.append(f"--{key}={value}")
    return [",".join(options.get("model", (SMOLLM2,))), *ours, "--", *further]


# --- what is printed -----------------------------------------------------------


def _introduction(started: VllmServer, seconds: float) -> str:
    state = started.state
    name, url = printable(state.model), printable(state.url)
    template = " --template chatml" if started.model == SMOLLM2 else ""
    if (most := started.options.max_num_seqs) is not None:
        template += f" --sequences {most}"
    if state.task == "policy":
        command = f"rtsearch eval demo --base-url {url}{template} --budget-tokens 1000"
    else:
        reward = {
            "classify": "--reward-kind classifier",
            "process-reward": "--reward-kind process",
            "reward-head": "--reward NAME-OF-ITS-FORMAT",
        }[state.task]
        command = (
            f"rtsearch eval demo --base-url URL-OF-THE-POLICY {reward} --reward-base-url {url}"
        )
    where = "" if started.port == 8000 else f" --port {started.port}"
    return (
        f"{started.version} serves {name} at {url} (pid {state.pid}, ready after {seconds:.0f} s, "
        f"log: {printable(state.log)})\n"
        f"next:     {command}\n"
        f"at work:  rtsearch engine status\n"
        f"the end:  rtsearch engine stop{where}"
    )


def _description(found: ServerStatus) -> str:
    state = found.state
    title = f"{printable(state.url)}  {printable(state.model)} ({printable(state.task)})"
    if not found.is_alive:
        return (
            f"{title}  ended by itself (pid was {state.pid})\n"
            f"    see {printable(state.log)}, then rtsearch engine stop --port {state.port}"
        )
    minutes, seconds = divmod(int(found.uptime), 60)
    hours, minutes = divmod(minutes, 60)
    title += f"  {'ready' if found.is_ready else 'not ready'}, pid {state.pid}"
    text = f"{title}, up {hours}:{minutes:02}:{seconds:02}"
    if found.metrics is None:
        return f"{text}\n    log: {printable(state.log)}"
    rate = found.metrics.hit_rate
    cached = "no prompts yet" if rate is None else f"{100 * rate:.1f} % of prompt tokens cached"
    return (
        f"{text}\n    requests: {found.metrics.running} running, {found.metrics.waiting} waiting; "
        f"{cached}"
    )


class _Progress:
    """What a starting server does: a line that changes on a terminal, else one a phase."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._phase = ""
        self._console = Console(stderr=True)
        self._status = self._console.status("")

    def __enter__(self) -> _Progress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, phase: str, seconds: float) -> None:
        self.seconds = seconds
        if self._console.is_terminal:
            self._status.update(escape(f"{phase} ({seconds:.0f} s)"))
        elif phase != self._phase:
            print(f"{seconds:5.0f} s  {phase}", file=sys.stderr)
        self._phase = phase

    def close(self) -> None:
        if self._console.is_terminal:
            self._status.stop()
