"""Problems that come while others are under search."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import InvalidArgumentError
from .records import Problem

__all__ = ["Feed"]


class Feed:
    """A line of problems for a search that runs already; of one event loop.

    The search takes a problem when its engine has room for it, and goes on for as long as the feed
    is open. Whoever fills it sees in `taken` how fast that is, and need not be ahead by more than a
    few.

    Attributes
    ----------
    taken : int
        Problems that were begun.
    on_take, on_change : callable, optional
        Called when a problem is begun, and when one is put or the feed is closed.

    Examples
    --------
    >>> feed = Feed()
    >>> feed.put(Problem("1", "1 + 1 = ?"))
    >>> feed.take()
    Problem(unique_id='1', problem='1 + 1 = ?')
    >>> feed.take() is None, feed.is_closed
    (True, False)
    """

    def __init__(self, on_take: Callable[[], None] | None = None) -> None:
        self._waiting: deque[Problem] = deque()
        self.is_closed = False
        self.taken = 0
        self.on_take = on_take
        self.on_change: Callable[[], None] | None = None

    def put(self, problem: Problem) -> None:
        """Add a problem to the end of the line."""
        if self.is_closed:
            raise InvalidArgumentError(f"problem {problem.unique_id}: the feed is closed")
        self._waiting.append(problem)
        self._changed()

    def close(self) -> None:
        """No more problems come; those in the line are searched still."""
        self.is_closed = True
        self._changed()

    def take(self) -> Problem | None:
        """The next problem; None if there is none now."""
        if not self._waiting:
            return None
        self.taken += 1
        if self.on_take is not None:
            self.on_take()
        return self._waiting.popleft()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
