"""Which servers were started here: one JSON file a port, and whether its process still is ours."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from ...errors import EngineError
from ..cache import cache_dir

__all__ = [
    "ServerState",
    "known_ports",
    "load_state",
    "locked",
    "log_path",
    "process_identity",
    "remove_state",
    "save_state",
    "servers_folder",
]


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server that was started here.

    Attributes
    ----------
    pid : int
        Of the server, which leads a process group and a session of its own.
    identity : str
        When that process began: another process that got its number later has another one.
    boot : str
        The machine's run in which that was.
    started_at : float
        The same by the clock, in seconds since 1970.
    port : int
    url : str
        For --base-url.
    model : str
        As clients name it.
    task : str
    log : str
    """

    pid: int
    identity: str
    boot: str
    started_at: float
    port: int
    url: str
    model: str
    task: str
    log: str

    @property
    def is_alive(self) -> bool:
        """Does the server's own process run?"""
        return process_identity(self.pid) == self.identity and self.boot == boot_identity()

    @property
    def members(self) -> list[int]:
        """Running processes of the server: its own and those that it started.

        A number is not given to a new process while a group bears it. So if a process of the
        server's number runs that is not the server, the group is gone; and if none does, the group
        is still the server's.
        """
        if self.boot != boot_identity():
            return []
        found = [process for process in _processes() if process.group == self.pid]
        leader = next((process for process in found if process.pid == self.pid), None)
        if leader is not None and leader.began != self.identity:
            return []
        return [process.pid for process in found if not process.is_dead]


def servers_folder() -> Path:
    """Return the folder of state files and logs, made if need be."""
    folder = cache_dir() / "servers"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"cannot write to {folder}: {error.strerror}; set RTSEARCH_CACHE to another folder"
        ) from error
    return folder


def log_path(port: int) -> Path:
    return servers_folder() / f"{port}.log"


def known_ports() -> list[int]:
    """Ports that have a state file."""
    names = [path.stem for path in (cache_dir() / "servers").glob("*.json")]
    return sorted(int(name) for name in names if name.isdecimal())


@contextmanager
def locked(port: int) -> Iterator[None]:
    """Keep others from starting or stopping a server at this port."""
    descriptor = os.open(servers_folder() / f"{port}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save_state(state: ServerState) -> None:
    """Write a state file whole or not at all; nobody else can read it."""
    path = _state_path(state.port)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(state), file, indent=1)
    os.replace(part, path)


def load_state(port: int) -> ServerState | None:
    """Read a state file; None if there is none.

    Raises
    ------
    EngineError
        It holds something else.
    """
    path = _state_path(port)
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    kinds = {"int": int, "float": (int, float), "str": str}
    for field in fields(ServerState):
        value = data.get(field.name) if isinstance(data, dict) else None
        if not isinstance(value, kinds[str(field.type)]) or isinstance(value, bool):  # type: ignore[arg-type]
            raise _damaged(path, f"{field.name} is {value!r}")
    # A group of number 0 or 1 would be our own, or everybody's.
    if data["pid"] <= 1 or data["port"] != port:
        raise _damaged(path, f"pid {data['pid']}, port {data['port']}")
    return ServerState(**{field.name: data[field.name] for field in fields(ServerState)})


def remove_state(port: int) -> None:
    _state_path(port).unlink(missing_ok=True)


def _state_path(port: int) -> Path:
    return cache_dir() / "servers" / f"{port}.json"


def _damaged(path: Path, why: str) -> EngineError:
    return EngineError(
        f"{path}: no state file of this version ({' '.join(why.split())[:100]}): end the server by "
        "hand if it runs, and delete the file"
    )


# --- processes ----------------------------------------------------------------


class _Process(NamedTuple):
    pid: int
    group: int
    is_dead: bool  # it ended, and only its parent's question is open
    began: str


def process_identity(pid: int) -> str | None:
    """When a running process began, as text that is fit to be compared; None if there is none."""
    if sys.platform == "linux":
        process = _linux_process(pid)
    else:
        process = next((found for found in _processes() if found.pid == pid), None)
    return None if process is None or process.is_dead else process.began


def boot_identity() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""  # ps tells dates instead of ticks since the start


def _processes() -> list[_Process]:
    if sys.platform == "linux":
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
        return [process for pid in pids if (process := _linux_process(pid)) is not None]
    command = ["ps", "-A", "-o", "pid=,pgid=,stat=,lstart="]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    rows = (line.split(None, 3) for line in done.stdout.splitlines())
    return [
        _Process(int(pid), int(group), state.startswith("Z"), began)
        for pid, group, state, began in rows
    ]


def _linux_process(pid: int) -> _Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, with whatever is in it.
    rest = text[text.rindex(")") + 2 :].split()
    return _Process(pid, int(rest[2]), rest[0] in ("Z", "X"), rest[19])
