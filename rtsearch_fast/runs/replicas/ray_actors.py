"""Replicas as actors of Ray: on this machine, or on a cluster that is there already."""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ...errors import EngineError, InvalidArgumentError, MissingExtraError
from .pool import ReplicaPool, WorkerLost
from .worker import Assignment, Face, Make, News, Worker

__all__ = ["LOCAL", "ray_replicas", "require_ray"]

_LOG = logging.getLogger(__name__)

#: The address of a Ray that is started here, for this run alone.
LOCAL = "local"
_CONNECT_SECONDS = 10.0
#: Room for objects between processes: news are small and travel in the messages themselves.
_OBJECT_STORE_BYTES = 128 << 20


def require_ray() -> None:
    """Refuse now what would fail later.

    Raises
    ------
    MissingExtraError
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError('--engine ray needs ray: pip install "rtsearch-fast[ray]"')


@asynccontextmanager
async def ray_replicas(
    make: Make,
    replicas: int,
    *,
    address: str = LOCAL,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    **settings: Any,
) -> AsyncGenerator[ReplicaPool, None]:
    """A pool whose workers are actors of Ray.

    Parameters
    ----------
    make : Make
        Loads a replica's models; it and what it holds are pickled.
    replicas : int
        Those that find no room in the cluster wait for it and take part from then on.
    address : str
        "local" starts Ray on this machine and ends it again; "auto" is the cluster that this
        machine is in, and host:port the one with its head there.
    num_cpus, num_gpus : float
        What Ray sets aside for each.
    **settings
        Of `ReplicaPool`.

    Raises
    ------
    MissingExtraError, InvalidArgumentError
    EngineError
        There is no cluster at the address.
    """
    require_ray()
    for name, value in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if not 0 <= value < math.inf:
            raise InvalidArgumentError(f"{name}={value}: must be a number >= 0")
    # before ray is imported: nothing is reported to anybody
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address != LOCAL and _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # who joins is not asked for it otherwise
    import ray

    if ray.is_initialized():
        ours = False  # the caller's, who also ends it
    else:
        _connect(address, math.ceil(replicas * num_cpus), math.ceil(replicas * num_gpus))
        ours = True
    _tell_of_room(replicas, num_cpus, num_gpus)
    try:
        actor = ray.remote(Worker).options(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_restarts=0,  # a new one is hired, with what is known of the problems
            scheduling_strategy="SPREAD",
        )
        made = ray.put(make)  # pickled once
        async with ReplicaPool(
            lambda number: _RayHandle(actor.remote(made, number)), replicas, **settings
        ) as pool:
            yield pool
    finally:
        if ours:
            ray.shutdown()


def _has_token() -> bool:
    """Whether there is a token to show to a cluster, where Ray looks for it."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(named) or (Path.home() / ".ray" / "auth_token").is_file()


def _connect(address: str, cpus: int, gpus: int) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {
            "num_cpus": cpus,  # a claim, not a measure: replicas wait for servers most of the time
            "num_gpus": gpus or None,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    elif address != "auto":
        _probe(address)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(
            f"Ray at {address!r} cannot be joined ({reason}); start it with ray start --head, "
            "have its token in ~/.ray/auth_token or RAY_AUTH_TOKEN, or leave --ray-address out to "
            "use this machine alone"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray would end the process on the spot


def _tell_of_room(replicas: int, cpus: float, gpus: float) -> None:
    """Say what a cluster cannot give now; it may later."""
    import ray

    free = ray.available_resources()
    room = min(
        (
            int(free.get(name, 0) / wanted)
            for name, wanted in (("CPU", cpus), ("GPU", gpus))
            if wanted
        ),
        default=replicas,
    )
    if room < replicas:
        _LOG.warning(
            "the cluster has room for %d of %d replicas (%g CPUs and %g GPUs each; %g and %g are "
            "free); the rest take part when there is room",
            room,
            replicas,
            cpus,
            gpus,
            free.get("CPU", 0),
            free.get("GPU", 0),
        )


def _probe(address: str) -> None:
    """Ray itself would try for a minute, and then end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InvalidArgumentError(
            f"--ray-address {address!r}: give local, auto or the host:port of the head, such as "
            "10.0.0.1:6379"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EngineError(
            f"no Ray at {address} ({reason}); start it there with ray start --head --port {port}, "
            "or leave --ray-address out to use this machine alone"
        ) from None


class _RayHandle:
    """A worker that is an actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def start(self) -> list[Face]:
        faces: list[Face] = await _answer(self._actor.start.remote())
        return faces

    async def begin(self, index: int) -> None:
        await _answer(self._actor.begin.remote(index))

    def put(self, assignments: Sequence[Assignment]) -> None:
        self._actor.put.remote(assignments)  # if it is lost, the next call tells

    async def news(self, seconds: float) -> News:
        news: News = await _answer(self._actor.news.remote(seconds))
        return news

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


async def _answer(reference: Any) -> Any:
    """What an actor answers; an error of its own is raised as what it was."""
    from ray.exceptions import RayError, RayTaskError

    try:
        return await reference
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else error) from error
    except RayError as error:
        raise WorkerLost(_reason(str(error))) from error


def _reason(text: str) -> str:
    """What Ray says of a lost actor in one sentence."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "its process ended"
    # of a traceback, the end
    return lines[-1] if "error raised" in lines[0] else lines[0].split(". ")[0].rstrip(".:")
