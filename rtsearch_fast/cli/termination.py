"""SIGTERM ends a command as Ctrl-C does: in order, with a line of its own and the usual code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["EXIT_CODE", "Termination", "terminable"]

#: What a shell says of a program that SIGTERM ended.
EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """Whether SIGTERM has come."""

    asked = False


@contextmanager
def terminable() -> Iterator[Termination]:
    """Let SIGTERM raise KeyboardInterrupt inside the block, and remember that it was that.

    A handler that somebody else has set stays; so does everything outside the main thread, which
    gets no signals.
    """
    termination = Termination()

    def handle(number: int, frame: FrameType | None) -> None:
        termination.asked = True
        # asyncio ends its tasks in order by a handler of its own; where Ctrl-C is switched off, as
        # for a shell's background jobs, there is none
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    is_ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if is_ours:
        signal.signal(signal.SIGTERM, handle)
    try:
        yield termination
    finally:
        if is_ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
