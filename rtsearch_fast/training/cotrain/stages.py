"""Stages of a run, each in a folder of its own, done once and found again by a later session."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from ...errors import RunStoreError
from ..progress import duration
from ..trainer import writing

__all__ = ["Stages"]

_DONE = "stage.json"


class Stages:
    """Runs stages in their order, and tells of them.

    A stage is done when its folder holds ``stage.json``: what it was told, what it found, and how
    long it took. What a killed session left of a stage is thrown away, unless the stage itself goes
    on with it.

    Parameters
    ----------
    folder : Path
    quiet : bool
        Tell nothing on stderr.
    """

    def __init__(self, folder: Path, *, quiet: bool = False) -> None:
        self.folder = folder
        self.metrics: dict[str, dict[str, Any]] = {}
        self.folders: dict[str, Path] = {}
        self.seconds = 0.0
        self._quiet = quiet
        self._number = 0

    def run(
        self,
        name: str,
        work: Callable[[Path], Mapping[str, Any] | None],
        told: object,
        *,
        resumable: bool = False,
    ) -> Path:
        """Do a stage, or find that it is done.

        Parameters
        ----------
        name : str
        work : callable
            Is given the stage's folder; returns metrics.
        told : object
            All that decides what comes out, as JSON would write it.
        resumable : bool
            `work` goes on with what is in the folder.

        Returns
        -------
        Path
            The stage's folder.

        Raises
        ------
        RunStoreError
            The stage was done with other settings, or its folder cannot be written.
        """
        folder = self.folder / f"{self._number:02}-{name}"
        self._number += 1
        identity = _identity(told)
        record = self._done(folder)
        if record is not None:
            if record["identity"] != identity:
                raise RunStoreError(
                    f"{folder}: was made with other settings: give another output, or remove this "
                    "folder and the later ones"
                )
            self._tell(f"{folder.name}: done before")
        else:
            if folder.exists() and not resumable:
                shutil.rmtree(folder)
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._tell(f"{folder.name} ...")
                began = time.monotonic()
                metrics = dict(work(folder) or {})
                record = {
                    "identity": identity,
                    "seconds": round(time.monotonic() - began, 1),
                    "metrics": metrics,
                    "told": _plain(told),
                }
                part = folder / f"{_DONE}.part"
                part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                os.replace(part, folder / _DONE)
            told_short = ", ".join(f"{k} {_short(v)}" for k, v in metrics.items() if _is_told(v))
            self._tell(f"{folder.name}: {duration(record['seconds'])}; {told_short}")
        self.metrics[name] = record["metrics"]
        self.folders[name] = folder
        self.seconds += record["seconds"]
        return folder

    def identity(self, folder: Path) -> str:
        """What a done stage was told, as a hash; of a folder from elsewhere its name."""
        record = self._done(folder)
        return folder.name if record is None else str(record["identity"])

    def _done(self, folder: Path) -> dict[str, Any] | None:
        try:
            record = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunStoreError(
                f"{folder / _DONE}: cannot be read ({error}): remove {folder} to do it again"
            ) from None
        if not isinstance(record, dict) or not {"identity", "seconds", "metrics"} <= record.keys():
            raise RunStoreError(f"{folder / _DONE}: is none of ours: remove {folder}")
        return record

    def _tell(self, text: str) -> None:
        if not self._quiet:
            print(f"cotrain: {text}", file=sys.stderr, flush=True)


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    return json.loads(json.dumps(value, default=str))


def _identity(told: object) -> str:
    text = json.dumps(_plain(told), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_told(value: object) -> bool:
    return isinstance(value, int | float | str)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
