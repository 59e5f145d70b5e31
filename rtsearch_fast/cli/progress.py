"""Live progress on a terminal: problems done, time left, tokens, and the best answer so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..evaluation.data import Item
from ..runs.batch import Observer
from ..search import votes
from ..search.task import Task
from ..search.tree_view import printable

__all__ = ["ProgressView"]


class ProgressView(Observer):
    """Draws on stderr while it is a terminal; silent, but keeping time, everywhere else."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.resumed = False  # has an earlier session done part of the work?
        self._started_at: dict[str, float] = {}
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._bars: dict[str, Any] = {}
        self._tokens: dict[str, int] = {}

    def __enter__(self) -> ProgressView:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def started(self, method: str, total: int, done: int) -> None:
        self._started_at[method] = time.monotonic()
        self.resumed |= done > 0
        self._tokens[method] = 0
        self._bars[method] = self._progress.add_task(method, total=total, completed=done, note="")

    def committed(self, method: str, task: Task) -> None:
        chosen = votes.choose(task.candidates, "weighted")
        answer = "-" if chosen is None else str(task.candidates[chosen].answer)
        self._progress.update(
            self._bars[method],
            note=escape(f"{printable(task.problem.unique_id[:24])}: {answer[:24]!r} so far"),
        )

    def finished(self, method: str, item: Item, record: Mapping[str, Any]) -> None:
        self._tokens[method] += record["usage"]["policy_tokens"] + record["usage"]["reward_tokens"]
        self.seconds[method] = time.monotonic() - self._started_at[method]
        speed = self._tokens[method] / max(self.seconds[method], 1e-9)
        self._progress.update(self._bars[method], advance=1, note=f"{speed:.0f} tokens/s")
