"""What a run is: its settings, its part of the problems, and what may change when it goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import InvalidArgumentError, RunStoreError
from ...evaluation.data import Item
from ...search.records import Problem
from ..files import json_line, replace_file, reporting

__all__ = [
    "PROBLEMS",
    "RUN",
    "About",
    "Shard",
    "first_difference",
    "problem_lines",
    "read_problems",
]

RUN, PROBLEMS = "run.json", "problems.jsonl"
_FORMAT = "rtsearch-run-1"
#: What may be more when a run is resumed.
_GROWING = ("methods", "problems", "num_problems")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` (from 1) of `count`: each `count`-th problem.

    Examples
    --------
    >>> Shard.parse("2/3").take([0, 1, 2, 3, 4])
    [1, 4]
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "i/n"."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InvalidArgumentError(
                f"shard {text!r}: write i/n with 1 <= i <= n, such as 2/8 for the second of 8 parts"
            )
        return cls(int(match[1]), int(match[2]))

    def take(self, items: Sequence[Any]) -> list[Any]:
        """The shard's own of these."""
        return list(items[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True, slots=True)
class About:
    """What run.json says.

    Attributes
    ----------
    settings : dict
        Plain JSON: what the results depend on.
    shard : Shard
    note : str
        For human readers: where the problems come from.
    version : str
        Of the rtsearch that made it.
    """

    settings: dict[str, Any]
    shard: Shard
    note: str
    version: str = __version__

    @classmethod
    def of(cls, settings: Mapping[str, Any], problems: bytes, shard: Shard, note: str) -> About:
        """A run of these settings and problems."""
        identity = {"problems": _digest(problems), "num_problems": problems.count(b"\n")}
        return cls({**json.loads(json.dumps(settings)), **identity}, shard, note)

    @classmethod
    def read(cls, path: Path) -> About:
        """What a run folder says that it is.

        Raises
        ------
        RunStoreError
            It is no run folder, or it is damaged.
        """
        file = path / RUN
        try:
            about: dict[str, Any] = json.loads(file.read_bytes())
            form, version, settings = about["format"], about["version"], about["settings"]
            shard, digest, note = about["shard"], about["hash"], about["note"]
        except FileNotFoundError:
            hint = "rtsearch eval --output makes one"
            raise RunStoreError(f"{path}: is no run folder (it has no {RUN}); {hint}") from None
        except NotADirectoryError:
            raise RunStoreError(f"{path}: is a file, not a run folder; name the folder") from None
        except OSError as error:
            raise RunStoreError(f"{file}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RunStoreError(
                f"{file}: is damaged; if you know that the settings are the same, delete it and go "
                "on with --resume: the journal has the records' keys, which tell other settings"
            ) from None
        if form != _FORMAT:
            raise RunStoreError(
                f"{path}: has the format {form!r} of rtsearch {version}, this one reads "
                f"{_FORMAT!r}; use that version, or choose another --output"
            )
        if (
            not isinstance(settings, dict)
            or digest != _hash(settings)
            or not (isinstance(shard, str) and isinstance(note, str))
        ):
            raise RunStoreError(
                f"{file}: was changed by hand (its hash differs); put the settings back, or choose "
                "another --output"
            )
        return cls(settings, Shard.parse(shard), note, version)

    def write(self, path: Path, problems: bytes) -> None:
        """Make a folder a run's."""
        about = {
            "format": _FORMAT,
            "version": self.version,
            "note": self.note,
            "shard": str(self.shard),
            "settings": self.settings,
            "hash": _hash(self.settings),
        }
        with reporting(f"{path}: cannot be written (%s); choose another --output"):
            replace_file(path / PROBLEMS, [problems])
            # last: a folder without it has not begun
            replace_file(path / RUN, [json.dumps(about, indent=2).encode() + b"\n"])

    def check_continues(self, there: About, path: Path, problems: bytes) -> None:
        """Refuse to go on with a run of which more differs than methods or problems at the end."""
        if there.version != self.version:
            raise RunStoreError(
                f"{path}: was begun by rtsearch {there.version}, this is {self.version}, and a "
                "search may differ between them; go on with that version, or choose another "
                "--output"
            )
        advice = "use the same to go on, or choose another --output"
        known = {**self.settings, **{name: there.settings.get(name) for name in _GROWING}}
        if difference := first_difference(there.settings, known):
            name, before, now = difference
            raise RunStoreError(
                f"{path}: was begun with {name} {before}, now it is {now}; {advice}"
            )
        if there.shard != self.shard:
            raise RunStoreError(
                f"{path}: holds shard {there.shard}, not {self.shard}; give each shard a folder of "
                "its own, then rtsearch merge"
            )
        methods = there.settings["methods"]
        if self.settings["methods"][: len(methods)] != methods:
            names = ",".join(methods)
            raise RunStoreError(f"{path}: was begun with the methods {names}; name them first")
        with reporting(f"{path / PROBLEMS}: cannot be read (%s)"):
            earlier = (path / PROBLEMS).read_bytes()
        if not problems.startswith(earlier):
            raise RunStoreError(
                f"{path}: was begun with {there.settings['num_problems']} other problems; {advice}"
            )


def first_difference(there: Any, here: Any, name: str = "") -> tuple[str, str, str] | None:
    """The first setting that differs: its dotted name, and both values in short.

    Examples
    --------
    >>> first_difference({"budget": {"tokens": 100}}, {"budget": {"tokens": 200}})
    ('budget.tokens', '100', '200')
    """
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys((*there, *here)):
            inner = f"{name}.{key}" if name else str(key)
            if found := first_difference(there.get(key), here.get(key), inner):
                return found
        return None
    return None if there == here else (name, _short(there), _short(here))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _hash(settings: Any) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return _digest(text.encode())


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def problem_lines(items: Iterable[Item]) -> bytes:
    """The file of the problems."""
    return b"".join(map(_problem_line, items))


def read_problems(path: Path, about: About) -> list[Item]:
    """The problems of a run folder, in their order.

    Raises
    ------
    RunStoreError
        They are missing, or not those that the run began with.
    """
    file = path / PROBLEMS
    with reporting(f"{file}: cannot be read (%s)"):
        data = file.read_bytes()
    if _digest(data) != about.settings["problems"]:
        raise RunStoreError(
            f"{file}: holds other problems than the run began with; put the file back, or "
            "choose another --output"
        )
    return [_item(json.loads(line)) for line in data.splitlines()]


def _problem_line(item: Item) -> bytes:
    entry = {"unique_id": item.problem.unique_id, "problem": item.problem.problem}
    entry |= {} if item.gold is None else {"answer": item.gold}
    entry |= {} if item.check is None else {"check": item.check}
    return json_line(entry)


def _item(entry: dict[str, Any]) -> Item:
    problem = Problem(entry["unique_id"], entry["problem"])
    return Item(problem, entry.get("answer"), entry.get("check"))
