"""What a training tells while it runs: one changing line on a terminal, else one now and then."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Progress", "duration"]

#: Seconds between two lines where they stay.
_EVERY = 10.0


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds, such as 1:05:09."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Counts tokens, writes metrics.jsonl, and tells how far a training is.

    Parameters
    ----------
    name : str
        What the lines begin with.
    path : path
        File of the metrics, one line a log.
    quiet : bool
        Tell nothing.
    resumed : bool
        Go on with the file instead of beginning it.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        quiet: bool = False,
        resumed: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = 0
        self.trained = 0
        self.losses: list[float] = []
        self._name = name
        self._path = path
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._changes = self._stream.isatty()
        self._clock = clock
        self._began = self._told = clock()
        self._first_step: int | None = None
        self._mode = "a" if resumed else "w"

    @property
    def seconds(self) -> float:
        """Wall time since the beginning."""
        return self._clock() - self._began

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / max(self.seconds, 1e-9)

    def begin(self, step: int) -> None:
        """Training starts now, behind `step` steps of an earlier session."""
        self._first_step = step
        self._began = self._told = self._clock()

    def count(self, tokens: int, trained: int) -> None:
        """Add up the tokens of a batch."""
        self.tokens += tokens
        self.trained += trained

    def log(self, step: int, values: dict[str, Any]) -> None:
        """Keep what the trainer logs."""
        if "loss" in values:
            self.losses.append(float(values["loss"]))
        entry = {"step": step, **values, "seconds": round(self.seconds, 3)}
        entry["tokens_per_second"] = round(self.speed, 1)
        with self._path.open(self._mode, encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self._mode = "a"

    def step(self, step: int, steps: int) -> None:
        """Tell how far it is, unless that was told just now."""
        now = self._clock()
        if self._quiet or now - self._told < (0.2 if self._changes else _EVERY):
            return
        self._told = now
        done = step - (self._first_step or 0)
        left = (now - self._began) / max(done, 1) * (steps - step)
        loss = f"  loss {self.losses[-1]:.4f}" if self.losses else ""
        self._tell(
            f"{self._name}: step {step}/{steps}{loss}  {self.speed:,.0f} tokens/s  "
            f"{duration(left)} left",
            last=False,
        )

    def end(self, step: int) -> None:
        """Tell the end."""
        if self._quiet:
            return
        loss = f", loss {self.losses[-1]:.4f}" if self.losses else ""
        self._tell(
            f"{self._name}: {step} steps in {duration(self.seconds)}{loss}, {self.tokens:,} tokens "
            f"({self.trained:,} trained on), {self.speed:,.0f} tokens/s",
            last=True,
        )

    def _tell(self, text: str, last: bool) -> None:
        if self._changes:
            text = f"\r\x1b[2K{text}"
        self._stream.write(text + ("\n" if last or not self._changes else ""))
        self._stream.flush()
