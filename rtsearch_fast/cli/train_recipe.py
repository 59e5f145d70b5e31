"""Recipes of trainings: what `rtsearch train` is called with, one section a trainer.

sft:                        # or dpo, reward, process: the options of that trainer
  model: meta-llama/Llama-3.1-8B
  data: [train.jsonl]
  lora: {rank: 64}          # --lora.rank
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter

from ..errors import DataError, SearchError
from ..training.settings import TrainSettings
from .reader import Reader, Setting, unknown_key
from .recipe import OptionDefaults, option_names

__all__ = ["TrainDefaults", "load_settings", "read_trainer"]

_SECTIONS = ("sft", "dpo", "reward", "process", "cotrain")
_EXAMPLE = "write lines `key: value` under `sft:`, `dpo:`, `reward:`, `process:` or `cotrain:`"

S = TypeVar("S", bound=TrainSettings)


def load_settings(kind: type[S], path: Path, section: str, **changes: Any) -> S:
    """Read the settings of a trainer from a recipe.

    Parameters
    ----------
    kind : type
        `SftSettings` or another of its kind.
    path : Path
    section : {"sft", "dpo", "reward", "process"}
    changes
        Settings that precede the recipe's.

    Raises
    ------
    DataError
        The recipe cannot be used. The message names file, line and key.
    """

    def take(settings: Any = None) -> Any:
        return settings

    take.__annotations__["settings"] = Annotated[kind | None, Parameter(name="*")]
    defaults = TrainDefaults(path, section)
    app = App(config=defaults)
    app.default(take)
    try:
        _, bound, _ = app.parse_args([], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise DataError(" ".join(str(error).split())) from None
    except SearchError as error:
        raise DataError(defaults.explain(error)) from None
    found: S = bound.arguments.get("settings") or kind()
    return replace(found, **changes)


def read_trainer(path: Path, section: str) -> dict[str, Setting]:
    """The settings of one section; one of a group has a dot in its key: ``lora.rank``.

    Raises
    ------
    DataError
        The file cannot be used, or has no such section.
    """
    reader = Reader(str(path), _EXAMPLE)
    sections = reader.mapping(reader.root(path), "the recipe")
    for key, (where, _) in sections.items():
        if key not in _SECTIONS:
            raise DataError(f"{where}: {unknown_key(key, _SECTIONS, _EXAMPLE)}")
    if section not in sections:
        raise DataError(f"{path}: no section `{section}:`: write its options under that")
    node = sections[section][1]
    groups = {
        key: value
        for key, (_, value) in reader.mapping(node, section).items()
        if value.id == "mapping"
    }
    plain = copy.copy(node)
    plain.value = [pair for pair in node.value if pair[1].id != "mapping"]
    found = reader.settings(plain, section)
    for group, value in groups.items():
        for name, setting in reader.settings(value, f"{section} {group}").items():
            key = f"{group}.{name}"
            found[key] = Setting(key, setting.values, setting.where)
    return found


class TrainDefaults(OptionDefaults):
    """Gives `rtsearch train` what the recipe holds for the trainer.

    Parameters
    ----------
    path : Path, optional
        The recipe; None takes the one that --recipe names, if it does.
    section : str, optional
        None takes the command's.
    """

    def __init__(self, path: Path | None = None, section: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._section = section

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give every option that is still without a value the one of the recipe."""
        path, section = self._path, self._section
        if section is None:
            if len(commands) != 2 or commands[0] != "train" or commands[1] not in _SECTIONS:
                return
            section = commands[1]
            if tokens := arguments["--recipe"].tokens:
                path = Path(tokens[0].value)
        if path is not None:
            options = option_names(arguments)
            self._fill(read_trainer(path, section), options, section)

    def _fill(self, settings: Mapping[str, Setting], options: dict[str, Any], section: str) -> None:
        known = {key: option for key, option in options.items() if key not in ("recipe", "dry-run")}
        for setting in settings.values():
            if setting.key not in known:
                remedy = f"the keys are the options of rtsearch train {section}"
                raise DataError(f"{setting.where}: {unknown_key(setting.key, known, remedy)}")
            self.give(known[setting.key], setting)

    def explain(self, error: SearchError) -> str:
        """The error's text, with file and line in front if it is about a value of the recipe."""
        text = str(error)
        named = re.match(r"([\w.]+)[= ]", text)
        name = named[1].replace("_", "-") if named else ""
        for setting in self.used:
            about = name in (setting.key, setting.key.rpartition(".")[2])
            if about and any(value in text for value in setting.values):
                return f"{setting.where}: {text}"
        return text
