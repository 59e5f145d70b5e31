"""Recipes: YAML files of one run, whose keys are the options of the command line.

    engines:                    # what `rtsearch engine start` is called with, one entry an engine
      policy: {model: meta-llama/Llama-3.1-8B-Instruct, port: 8000}
    eval:                       # the options of `rtsearch eval`
      data: math500.jsonl
      methods: [best_of_n, mcts_g]
      base-url: http://127.0.0.1:8000/v1

A value is the text that would stand on the command line, and the parser of the command line reads
it. So YAML's own types do not come in (`labels: [Yes, No]` are two words, not two booleans), and
there is one place that knows what an option takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cyclopts import App, Argument, ArgumentCollection, Token

from ..errors import DataError, SearchError
from .eval import evaluate
from .reader import Reader, Setting, unknown_key

__all__ = [
    "EngineDefaults",
    "OptionDefaults",
    "Recipe",
    "RecipeDefaults",
    "engine_options",
    "option_names",
]

_SECTIONS = ("engines", "eval")
_EXAMPLE = "write lines `key: value` under `engines:` and `eval:`"
#: Of a recipe's `eval`, what says which problems and where to, not how to search.
_NOT_FOR_SOLVE = ("data", "limit", "start", "output", "resume", "dry-run")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a recipe says; whether the options exist and take such values is not looked at here.

    Attributes
    ----------
    name : str
        The file, as the user named it.
    engines : mapping of str to mapping of str to Setting
        Name -> option -> its setting, in the order of the file.
    eval : mapping of str to Setting
    """

    name: str
    engines: Mapping[str, Mapping[str, Setting]]
    eval: Mapping[str, Setting]

    @classmethod
    def load(cls, path: Path) -> Recipe:
        """Read a recipe.

        Raises
        ------
        DataError
            The file cannot be used. The message names it, the line and the key.
        MissingExtraError
            PyYAML is not installed.
        """
        reader = Reader(str(path), _EXAMPLE)
        sections = reader.mapping(reader.root(path), "the recipe")
        for key, (where, _) in sections.items():
            if key not in _SECTIONS:
                raise DataError(f"{where}: {unknown_key(key, _SECTIONS, _EXAMPLE)}")
        engines = {
            name: reader.settings(node, f"engine {name}")
            for name, (_, node) in reader.section(sections, "engines").items()
        }
        evaluation = reader.settings(sections["eval"][1], "eval") if "eval" in sections else {}
        return cls(str(path), engines, evaluation)


def engine_options(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """The engines of a recipe: name -> option -> its values, as texts of a command line.

    Options are spelled with dashes and without the leading ones; a switch has the value "true" or
    "false". An empty result means that the recipe starts no engine.

    Raises
    ------
    DataError
        The file cannot be used.
    """
    return {
        name: {key: setting.values for key, setting in settings.items()}
        for name, settings in Recipe.load(path).engines.items()
    }


class OptionDefaults:
    """A source of options for cyclopts, behind the command line.

    Attributes
    ----------
    used : list of Setting
        What was taken from the recipe; the rest was given elsewhere.
    """

    def __init__(self) -> None:
        self.used: list[Setting] = []

    def give(self, argument: Argument, setting: Setting) -> None:
        """Give an option the values of the recipe, unless it has some."""
        if argument.has_tokens:
            return
        count, takes_all = argument.token_count()
        values = setting.values
        if count > 1 and len(values) != count:
            raise DataError(
                f"{setting.where}: {setting.key} takes {count} values, got {len(values)}: write "
                f"{setting.key}: [{', '.join('abcdefgh'[:count])}]"
            )
        if count <= 1 and not takes_all:
            values = (",".join(values),)
        for index, value in enumerate(values):
            argument.append(
                Token(keyword=setting.key, value=value, source=setting.where, index=index)
            )
        self.used.append(setting)

    def explain(self, error: SearchError) -> str:
        """The error's text, with file and line in front if it is about a value of the recipe."""
        text = str(error)
        named = re.match(r"(?:--|budget )?(\w+)[= ]", text)
        if named is None:
            return text
        name = named[1].replace("_", "-")
        for setting in self.used:
            key = setting.key.removeprefix("budget-").removeprefix("reward-")
            about = name in (setting.key, key, key.removesuffix("s")) or key.startswith(f"{name}-")
            if about and any(value in text for value in setting.values):
                return f"{setting.where}: {text}"
        return text


class RecipeDefaults(OptionDefaults):
    """Gives `rtsearch eval` and `solve` what the recipe's `eval` holds.

    Parameters
    ----------
    recipe : Recipe, optional
        None takes the one that --recipe names, if it does.
    """

    def __init__(self, recipe: Recipe | None = None) -> None:
        super().__init__()
        self._recipe = recipe

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give every option that is still without a value the one of the recipe."""
        if commands not in (("eval",), ("solve",)):
            return
        recipe = self._recipe
        if recipe is None:
            tokens = arguments["--recipe"].tokens
            if not tokens:
                return
            recipe = Recipe.load(Path(tokens[0].value))
        known, here = _eval_options(), option_names(arguments)
        for setting in recipe.eval.values():
            if setting.key not in known:
                text = unknown_key(setting.key, known, "the keys are the options of rtsearch eval")
                raise DataError(f"{setting.where}: {text}")
            if commands == ("solve",):
                if setting.key in _NOT_FOR_SOLVE:
                    continue
                if known[setting.key] == "methods":
                    setting = _one_method(setting, here["method"])
            # an option of eval alone is none of solve's business
            if setting.key in here:
                self.give(here[setting.key], setting)


class EngineDefaults(OptionDefaults):
    """Gives `rtsearch engine start` what the recipe holds for one engine.

    Parameters
    ----------
    settings : mapping of str to Setting
        As `Recipe.engines` has them.

    Attributes
    ----------
    known : list of str
        The options of the command, once it was called.
    others : list of Setting
        What is no option of the command, but may be one of vLLM.
    """

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        super().__init__()
        self.known: list[str] = []
        self.others: list[Setting] = []
        self._settings = settings

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Give every option that is still without a value the one of the recipe."""
        options = option_names(arguments)
        self.known = [name for name in options if name not in ("recipe", "extra")]
        for setting in self._settings.values():
            if setting.key in self.known:
                self.give(options[setting.key], setting)
            else:
                self.others.append(setting)


def _one_method(setting: Setting, argument: Argument) -> Setting:
    """What `methods` means to a command that runs one."""
    names = [name for value in setting.values for name in value.split(",") if name.strip()]
    if len(names) != 1 and not argument.has_tokens:
        raise DataError(
            f"{setting.where}: methods names {', '.join(names) or 'none'}: choose one by --method"
        )
    return Setting("method", tuple(names), setting.where)


@cache
def _eval_options() -> dict[str, str]:
    """The options of `rtsearch eval` that a recipe may give: each of its names -> the first."""
    app = App()
    app.command(evaluate, name="eval")
    options = option_names(app["eval"].assemble_argument_collection())
    del options["recipe"]
    return {name: argument.name.lstrip("-").lower() for name, argument in options.items()}


def option_names(arguments: ArgumentCollection) -> dict[str, Argument]:
    """Arguments by their names as keys of a recipe."""
    return {
        name.lstrip("-").lower(): argument
        for argument in arguments
        if argument.parse
        for name in argument.names
        # no short ones, and none that mean the opposite: `resume: false` says it
        if (name.startswith("--") or name.isupper()) and name not in argument.negatives
    }
