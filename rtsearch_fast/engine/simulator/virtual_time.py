"""An event loop whose clock jumps to the next timer, so that hours of waiting take no time.

What runs in it is ordinary asyncio code. It may wait for timers and for other coroutines; threads
and sockets live in real time and do not belong here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...errors import EngineError

__all__ = ["VirtualTimeLoop", "run"]

_T = TypeVar("_T")


class _Clock(selectors.DefaultSelector):
    """Where a selector would sleep until the next timer, this one puts the clock forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise EngineError(
                f"nothing is left to wait for at {self.now:.6g} s of virtual time, but the run is "
                "not over: let it wait for timers and other coroutines only, not for a thread, a "
                "socket, or an answer that nobody gives"
            )
        self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that starts at time 0 and never sleeps.

    Two runs of the same coroutine do the same things in the same order, at the same times.
    """

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds of virtual time."""
        return self._clock.now


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in virtual time, as `asyncio.run` does in real time.

    Raises
    ------
    EngineError
        Nothing is left to wait for: a deadlock. Or an event loop runs in this thread already.

    Examples
    --------
    >>> async def sleeper() -> float:
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> run(sleeper())
    3600.0
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        main.close()
        raise EngineError(
            "an event loop is running in this thread: call run from outside of coroutines"
        )
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
