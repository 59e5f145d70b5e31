"""How many sequences the policy generates at once, over all problems."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

__all__ = ["Sequences"]


class Sequences:
    """Keeps as many sequences in flight as an engine runs well, and hardly more.

    Too few leave the engine idle, too many only wait in its queue. So new problems are begun while
    fewer than `target` are wanted, and what would be asked beyond a quarter more waits here, where
    the oldest problem goes first.

    Parameters
    ----------
    target : int
        Sequences that the engine generates at once (vLLM: ``max_num_seqs``).

    Attributes
    ----------
    wanted : int
        Sequences that simulations under way have asked for or are about to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.wanted = 0
        self._limit = target + -(-target // 4)  # so that the engine's own queue never runs dry
        self._asked = 0
        self._waiting: list[tuple[float, int, int, asyncio.Future[None]]] = []
        self._tickets = count()

    @asynccontextmanager
    async def slot(self, size: int, age: float) -> AsyncGenerator[None, None]:
        """Hold room for `size` sequences; of those who wait, the lowest `age` is next."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (age, next(self._tickets), size, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(size)
            raise
        try:
            yield
        finally:
            self._leave(size)

    def _leave(self, size: int) -> None:
        self._asked -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            _, _, size, turn = self._waiting[0]
            if not turn.cancelled():
                # a request larger than the limit goes alone
                if self._asked and self._asked + size > self._limit:
                    return
                self._asked += size
                turn.set_result(None)
            heapq.heappop(self._waiting)
