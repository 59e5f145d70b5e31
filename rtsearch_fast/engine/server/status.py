"""How a running server is, by its own word."""

from __future__ import annotations

import contextlib
import math
import time
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException

from . import state as server_state
from .state import ServerState

__all__ = ["MetricsSnapshot", "ServerStatus", "is_ready", "parse_metrics", "server_status"]

_HEALTH_TIMEOUT = 2.0
_LARGEST_ANSWER = 4 << 20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Go nowhere else: another program at the port might send us anywhere."""


# Straight to the server: a proxy of the environment knows nothing of this machine's loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


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
    ready = alive and is_ready(root)
    metrics = None
    if ready:
        with contextlib.suppress(OSError, HTTPException):
            metrics = parse_metrics(_get(f"{root}/metrics").decode("utf-8", "replace"))
    return ServerStatus(state, alive, ready, max(time.time() - state.started_at, 0.0), metrics)


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
                number = float(value)
                if math.isfinite(number):
                    sums[name] = sums.get(name, 0.0) + number
    queries = sums.get("vllm:prefix_cache_queries_total", 0.0)
    hits = sums.get("vllm:prefix_cache_hits_total", 0.0)
    return MetricsSnapshot(
        int(sums.get("vllm:num_requests_running", 0.0)),
        int(sums.get("vllm:num_requests_waiting", 0.0)),
        hits / queries if queries > 0 else None,
    )


def _get(url: str) -> bytes:
    with _OPENER.open(url, timeout=_HEALTH_TIMEOUT) as reply:
        body: bytes = reply.read(_LARGEST_ANSWER)
        return body


def is_ready(root_url: str) -> bool:
    """Does the server answer?"""
    try:
        _get(f"{root_url}/health")
    except (OSError, HTTPException):
        return False
    return True
