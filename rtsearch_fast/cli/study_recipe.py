"""Recipes of studies: what is compared, and the settings of each cell.

    study:
      name: embedded
      seeds: [0, 1, 2]
      count: 500                      # problems a family
      output: results/study/embedded
    settings:                         # options of `rtsearch eval`, for all cells
      template: labelled
      max-solution-tokens: 96
    families:                         # sets of problems: a family that is generated, or a file
      countdown: {model: models/countdown-policy}
      mine: {data: mine.jsonl}
    methods:                          # of one method, or of one at one budget
      beam@200: {width: 2, beam-width: 1}
    variants:
      no-calculator: {calculator: false}
    comparisons:                      # each is a table and a plot
      methods:
        methods: [best_of_n, beam, mcts_g]
        budgets: [200, 400]
        differences: [mcts_g - best_of_n]
      calculator: {methods: [mcts_g], budgets: [400], variants: [base, no-calculator]}

Of two settings of one option the later in this order counts: settings, families, methods, methods
at a budget, variants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, ArgumentCollection, CycloptsError, Parameter

from ..errors import DataError, SearchError
from ..runs.study.grid import BASE, Cell, Comparison, Study
from ..search.methods import METHODS
from ..search.options import Budget, SearchOptions
from .reader import Reader, Setting, unknown_key
from .recipe import OptionDefaults, option_names
from .settings import ModelFlags, check_search

__all__ = ["CellSettings", "ProblemSet", "StudyRecipe", "is_study"]

_T = TypeVar("_T")
_SECTIONS = ("study", "settings", "families", "methods", "variants", "comparisons")
_EXAMPLE = f"write lines `key: value` under {', '.join(f'`{name}:`' for name in _SECTIONS)}"
_STUDY_KEYS = ("name", "seeds", "count", "problem-seed", "output", "chunk")
_COMPARISON_KEYS = ("methods", "budgets", "variants", "differences")
#: Names of folders, files and marks.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems: of a family that is generated, or of a file."""

    name: str
    data: Path | None
    where: str


@dataclass(frozen=True, slots=True)
class CellSettings:
    """What the options of a cell say."""

    models: ModelFlags
    options: SearchOptions
    splitter: str


@dataclass(slots=True)
class StudyRecipe:
    """What a recipe of a study says, all of it checked.

    Attributes
    ----------
    study : Study
    sets : dict of str to ProblemSet
    count, problem_seed : int
        Problems of a generated family, and the seed of which.
    output : Path
        Folder of the journals.
    chunk : int
        Problems whose answers are in memory at once.
    """

    study: Study
    sets: dict[str, ProblemSet]
    count: int
    problem_seed: int
    output: Path
    chunk: int
    _layers: dict[str, dict[str, Setting]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> StudyRecipe:
        """Read a recipe.

        Raises
        ------
        DataError
            The file cannot be used. The message names it, the line and the key.
        MissingExtraError
            PyYAML is not installed.
        """
        return _Parser(path).parse()

    def settings(self, cell: Cell) -> CellSettings:
        """The settings of a cell."""
        at = f"{cell.method}@{cell.budget}"
        names = ("settings", f"family {cell.problems}", f"method {cell.method}", f"method {at}")
        merged: dict[str, Setting] = {}
        for name in (*names, f"variant {cell.variant}"):
            merged |= self._layers.get(name, {})
        return _read_settings(merged, cell)


def is_study(path: Path) -> bool:
    """Whether a YAML file is meant to be the recipe of a study; its faults are not told here."""
    reader = Reader(str(path), _EXAMPLE)
    try:
        return "study" in reader.mapping(reader.root(path), "the recipe")
    except SearchError:
        return False


def _cell(
    *,
    splitter: str = "labelled",
    models: ModelFlags | None = None,
    options: Annotated[SearchOptions | None, Parameter(name="*")] = None,
) -> None:
    """The options of a cell, for the parser of the command line."""


class _CellDefaults(OptionDefaults):
    """Gives the parser the settings of a cell."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        super().__init__()
        self._settings = settings

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        known = option_names(arguments)
        known.pop("seed", None)
        for setting in self._settings.values():
            if setting.key not in known:
                remedy = (
                    "seeds and budgets are those of `study` and `comparisons`"
                    if setting.key == "seed" or setting.key.startswith("budget")
                    else "the keys are the options of models and search of rtsearch eval"
                )
                close = () if setting.key == "seed" else known
                raise DataError(f"{setting.where}: {unknown_key(setting.key, close, remedy)}")
            self.give(known[setting.key], setting)


def _read_settings(settings: Mapping[str, Setting], cell: Cell) -> CellSettings:
    """Let the parser of the command line read settings, and check that they go together."""
    defaults = _CellDefaults(settings)
    app = App(config=defaults)
    app.command(_cell, name="cell")
    try:
        _, bound, _ = app.parse_args(["cell"], exit_on_error=False, print_error=False)
        bound.apply_defaults()
        options = bound.arguments["options"] or SearchOptions()
        splitter = bound.arguments["splitter"]
        check_search([cell.method], Budget(tokens=cell.budget), options, splitter)
    except CycloptsError as error:
        raise DataError(" ".join(str(error).split())) from None
    except SearchError as error:
        raise DataError(defaults.explain(error)) from None
    return CellSettings(bound.arguments["models"] or ModelFlags(), options, splitter)


class _Parser:
    """One file into one recipe."""

    def __init__(self, path: Path) -> None:
        self.reader = Reader(str(path), _EXAMPLE)
        sections = self.reader.mapping(self.reader.root(path), "the recipe")
        self.nodes = {name: node for name, (_, node) in sections.items()}
        for key, (where, _) in sections.items():
            if key not in _SECTIONS:
                raise DataError(f"{where}: {unknown_key(key, _SECTIONS, _EXAMPLE)}")
        for name in ("study", "families", "comparisons"):
            if name not in sections:
                raise DataError(f"{path}: the recipe has no section `{name}:`: {_EXAMPLE}")
        self.layers: dict[str, dict[str, Setting]] = {}

    def parse(self) -> StudyRecipe:
        study = self._known(self.nodes["study"], "study", _STUDY_KEYS)
        if "settings" in self.nodes:
            self.layers["settings"] = self.reader.settings(self.nodes["settings"], "settings")
        sets = self._sets()
        variants = [BASE, *self._named("variants", "variant")]
        if f"variant {BASE}" in self.layers:
            where, _ = self.reader.mapping(self.nodes["variants"], "variants")[BASE]
            raise DataError(f"{where}: {BASE} is the variant without settings: name it otherwise")
        comparisons = tuple(
            self._comparison(name, node, variants)
            for name, (_, node) in self._entries("comparisons").items()
        )
        self._methods(comparisons)
        name = self._text(study, "name", "a name", _NAME)
        seeds = self._numbers(study, "seeds", [0], least=0)
        recipe = StudyRecipe(
            Study(name, tuple(sets), tuple(seeds), comparisons),
            sets,
            self._numbers(study, "count", [500], one=True)[0],
            self._numbers(study, "problem-seed", [0], least=0, one=True)[0],
            Path(study["output"].values[0] if "output" in study else f"results/study/{name}"),
            self._numbers(study, "chunk", [50], one=True)[0],
            self.layers,
        )
        seen: set[Any] = set()
        for cell in recipe.study.cells():  # all that can be wrong is found now
            if (key := (cell.problems, cell.variant, cell.method, cell.budget)) not in seen:
                seen.add(key)
                recipe.settings(cell)
        return recipe

    def _entries(self, section: str) -> dict[str, tuple[str, Any]]:
        entries = self.reader.mapping(self.nodes[section], section)
        if not entries:
            raise DataError(f"{self.reader.where(self.nodes[section])}: {section} is empty")
        for name, (where, _) in entries.items():
            if not _NAME.fullmatch(name):
                raise DataError(f"{where}: {name!r} becomes the name of a file: use plain letters")
        return entries

    def _known(self, node: Any, what: str, keys: Iterable[str]) -> dict[str, Setting]:
        """Settings of which only these exist."""
        found = self.reader.settings(node, what)
        for setting in found.values():
            if setting.key not in keys:
                remedy = f"the keys of {what} are {', '.join(keys)}"
                raise DataError(f"{setting.where}: {unknown_key(setting.key, keys, remedy)}")
        return found

    def _sets(self) -> dict[str, ProblemSet]:
        from ..tasks import FAMILIES

        sets = {}
        for name, (where, node) in self._entries("families").items():
            settings = self.reader.settings(node, f"family {name}")
            data = settings.pop("data", None)
            if data is None and name not in FAMILIES:
                raise DataError(
                    f"{where}: {name!r} is no family ({', '.join(FAMILIES)}): name one, or a file "
                    "by the key data"
                )
            self.layers[f"family {name}"] = settings
            sets[name] = ProblemSet(name, Path(data.values[0]) if data else None, where)
        return sets

    def _named(self, section: str, what: str) -> list[str]:
        if section not in self.nodes:
            return []
        entries = self._entries(section)
        for name, (_, node) in entries.items():
            self.layers[f"{what} {name}"] = self.reader.settings(node, f"{what} {name}")
        return list(entries)

    def _methods(self, comparisons: Iterable[Comparison]) -> None:
        """Settings of methods; each must be of one that is compared."""
        if "methods" not in self.nodes:
            return
        used = {(m, b) for c in comparisons for m in c.methods for b in c.budgets}
        names = {method for method, _ in used} | {f"{method}@{budget}" for method, budget in used}
        # with underscores, which the reader turns into dashes
        for key, (where, node) in self.reader.mapping(self.nodes["methods"], "methods").items():
            name = key.replace("-", "_")
            if name not in names:
                raise DataError(
                    f"{where}: no comparison has {name!r}: name a method, or method@budget"
                )
            self.layers[f"method {name}"] = self.reader.settings(node, f"method {name}")

    def _comparison(self, name: str, node: Any, variants: list[str]) -> Comparison:
        found = self._known(node, f"comparison {name}", _COMPARISON_KEYS)
        for key in ("methods", "budgets"):
            if key not in found:
                where = self.reader.where(node)
                raise DataError(f"{where}: comparison {name} has no {key}: give a list of them")
        methods = self._choices(found["methods"], METHODS)
        chosen: tuple[str, ...] = (BASE,)
        if (setting := found.get("variants")) is not None:
            # spelled as the reader spells keys
            names = tuple(value.replace("_", "-") for value in setting.values)
            chosen = self._choices(Setting("variants", names, setting.where), variants)
        pairs = []
        for setting in [found["differences"]] if "differences" in found else []:
            for value in setting.values:
                pair = tuple(part.strip() for part in value.split(" - "))
                if len(pair) != 2 or not set(pair) <= set(methods):
                    raise DataError(
                        f"{setting.where}: {value!r} is no difference: write two of the methods, "
                        f"as in {methods[0]} - {methods[-1]}"
                    )
                pairs.append((pair[0], pair[1]))
        budgets = tuple(sorted(self._numbers(found, "budgets", [])))
        return Comparison(name, methods, budgets, chosen, tuple(pairs))

    def _choices(self, setting: Setting, known: Iterable[str]) -> tuple[str, ...]:
        known = list(known)
        values = tuple(dict.fromkeys(setting.values))
        for value in values:
            if value not in known:
                raise DataError(
                    f"{setting.where}: {setting.key}: no {value!r}: choose of {', '.join(known)}"
                )
        return values

    def _text(
        self, settings: Mapping[str, Setting], key: str, what: str, form: re.Pattern[str]
    ) -> str:
        if key not in settings:
            raise DataError(f"{self.reader.name}: `study:` has no {key}: give {what}")
        (value, *more) = settings[key].values
        if more or not form.fullmatch(value):
            raise DataError(f"{settings[key].where}: {key} is {value!r}: give {what} of letters")
        return value

    def _numbers(
        self,
        settings: Mapping[str, Setting],
        key: str,
        default: list[int],
        *,
        least: int = 1,
        one: bool = False,
    ) -> list[int]:
        if key not in settings:
            return default
        setting = settings[key]
        numbers = [int(value) for value in setting.values if re.fullmatch(r"\d{1,9}", value)]
        good = len(numbers) == len(setting.values) == len(set(numbers)) and numbers
        if not good or min(numbers) < least or (one and len(numbers) > 1):
            wanted = "a whole number" if one else "different whole numbers"
            raise DataError(
                f"{setting.where}: {key} is {', '.join(setting.values)}: give {wanted} from {least}"
            )
        return numbers
