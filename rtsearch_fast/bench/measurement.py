"""Measurements, in memory and as JSON, and how two runs compare."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__, _core
from ..errors import DataError

__all__ = ["Measurement", "Profile", "machine", "read_profile", "summarise", "write_profile"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure.

    Attributes
    ----------
    what : str
        "core loop", "python", "global leaf", or a peer with its version.
    rule : str
    children, simulations, batch, trees : int
        See `Workload`. Of "global leaf" `simulations` is the number of leaves.
    ns : float
        Median time of a simulation, in nanoseconds.
    low, high : float
        The fastest and the slowest round.
    bytes_per_node : float, optional
        Search state in memory.
    instructions : float, optional
        Of a simulation; see `count_instructions`.
    """

    what: str
    rule: str
    children: int
    simulations: int
    batch: int
    trees: int
    ns: float
    low: float
    high: float
    bytes_per_node: float | None = None
    instructions: float | None = None

    @property
    def key(self) -> tuple[str, str, int, int, int, int]:
        """What two runs may be compared by."""
        return (
            self.what,
            self.rule,
            self.children,
            self.simulations,
            self.batch,
            self.trees,
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """All measurements of one run, and the machine."""

    machine: dict[str, Any]
    measurements: tuple[Measurement, ...]


def machine() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "rtsearch_fast": __version__,
        "instruction_set": _core.instruction_set(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def summarise(times: Sequence[float]) -> dict[str, float]:
    """Median, fastest and slowest of some rounds, as fields of a measurement."""
    found = {"ns": statistics.median(times), "low": min(times), "high": max(times)}
    # to digits, not to tenths: nothing that took time may come out as 0
    return {name: float(f"{time:.4g}") for name, time in found.items()}


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile as JSON.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    told = {"format": _FORMAT, **asdict(profile)}
    try:
        path.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_profile(path: Path) -> Profile:
    """Read what `write_profile` wrote.

    Raises
    ------
    DataError
        The file cannot be read, or is no profile.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["format"] != _FORMAT:
            raise DataError(
                f"{path}: format {told['format']!r} is not that of this version ({_FORMAT}): "
                "measure anew"
            )
        return Profile(
            dict(told["machine"]), tuple(Measurement(**entry) for entry in told["measurements"])
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no profile of `rtsearch bench --json` ({type(error).__name__}: {error})"
        ) from None
