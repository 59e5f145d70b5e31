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

import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from cyclopts import App, Argument, ArgumentCollection, Token

from ..errors import DataError, MissingExtraError, SearchError
from .aliases import translate
from .eval import evaluate

__all__ = ["EngineDefaults", "Recipe", "RecipeDefaults", "Setting", "engine_options", "unknown_key"]

_SECTIONS = ("engines", "eval")
_EXAMPLE = "write lines `key: value` under `engines:` and `eval:`"
#: Keys whose values nobody should find in a file.
_SECRET = re.compile(r"(^|-)(api-?key|token|secret|password|credentials?)$")
#: Of a recipe's `eval`, what says which problems and where to, not how to search.
_NOT_FOR_SOLVE = ("data", "limit", "start", "output", "resume", "dry-run")
_TAGS = ("str", "seq", "map")


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as a recipe gives it.

    Attributes
    ----------
    key : str
        The option without its leading dashes.
    values : tuple of str
        The texts that would stand on the command line.
    where : str
        File and line.
    """

    key: str
    values: tuple[str, ...]
    where: str


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
        reader = _Reader(str(path))
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


class _Defaults:
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


class RecipeDefaults(_Defaults):
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
        known, here = _eval_options(), _options(arguments)
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


class EngineDefaults(_Defaults):
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
        options = _options(arguments)
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
    options = _options(app["eval"].assemble_argument_collection())
    del options["recipe"]
    return {name: argument.name.lstrip("-").lower() for name, argument in options.items()}


def _options(arguments: ArgumentCollection) -> dict[str, Argument]:
    """Arguments by their names as keys of a recipe."""
    return {
        name.lstrip("-").lower(): argument
        for argument in arguments
        if argument.parse
        for name in argument.names
        # no short ones, and none that mean the opposite: `resume: false` says it
        if (name.startswith("--") or name.isupper()) and name not in argument.negatives
    }


def unknown_key(key: str, known: Iterable[str], remedy: str) -> str:
    """Say that a key is unknown, and which one was probably meant; `remedy` if none was."""
    known = list(known)
    if (positive := key.removeprefix("no-")) != key and positive in known:
        return f"unknown key {key!r}: write {positive}: false"
    if close := get_close_matches(key, known, 1):
        return f"unknown key {key!r}: did you mean {close[0]!r}?"
    return f"unknown key {key!r}: {remedy}"


class _Reader:
    """YAML into settings; keeps an eye on lines, for the messages."""

    def __init__(self, name: str) -> None:
        self.name = name

    def root(self, path: Path) -> Any:
        """Parse the file into PyYAML's nodes, which are nothing but texts, lists and mappings."""
        yaml = _yaml()

        class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
            yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  every value is a text

        try:
            text = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise DataError(
                f"{self.name}: {error.strerror or error}: give a recipe, a YAML file such as those "
                "in recipes/"
            ) from None
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.name}: byte {error.start} is not UTF-8: save the file as UTF-8"
            ) from None
        try:
            node = yaml.compose(text, Loader=Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = self.name if mark is None else f"{self.name}, line {mark.line + 1}"
            reason = error.problem or error.context
            raise DataError(
                f"{where}: not YAML ({reason}): {_EXAMPLE}, indented by blanks; texts with special "
                "characters go into quotes"
            ) from None
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.name}: not YAML ({reason}): {_EXAMPLE}") from None
        except RecursionError:
            raise DataError(f"{self.name}: nested too deeply: {_EXAMPLE}") from None
        if node is None:
            raise DataError(f"{self.name}: the recipe is empty: {_EXAMPLE}")
        return node

    def mapping(self, node: Any, what: str) -> dict[str, tuple[str, Any]]:
        """Keys (with dashes) -> where they stand, and their nodes."""
        if node.id != "mapping":
            self._refuse(node, f"{what} is {_describe(node)}: {_EXAMPLE}")
        self._check_tag(node)
        found: dict[str, tuple[str, Any]] = {}
        for key_node, value in node.value:
            if key_node.id != "scalar" or not key_node.value:
                self._refuse(key_node, f"{_describe(key_node)} as a key of {what}: {_EXAMPLE}")
            key = key_node.value.strip().lstrip("-").replace("_", "-")
            if key in found:
                first = found[key][0].rpartition(" ")[2]
                self._refuse(
                    key_node, f"{what} has the key {key!r} twice, first in line {first}: keep one"
                )
            found[key] = (self._where(key_node), value)
        return found

    def section(self, sections: dict[str, tuple[str, Any]], name: str) -> dict[str, Any]:
        return self.mapping(sections[name][1], name) if name in sections else {}

    def settings(self, node: Any, what: str) -> dict[str, Setting]:
        """The options of one section, by our names."""
        found: dict[str, Setting] = {}
        for key, (where, value) in self.mapping(node, what).items():
            if _SECRET.search(key):
                raise DataError(
                    f"{where}: {what} key {key!r} is a secret, and files are shared: put it into "
                    "the environment variable named by api-key-env"
                )
            name = translate(f"--{key}").lstrip("-")
            if name in found:
                raise DataError(
                    f"{where}: {what} key {key!r} is another name of {name!r}, which is there, "
                    "too: keep one"
                )
            found[name] = Setting(name, self._values(value, f"{what} key {key!r}"), where)
            if name == "api-key-env" and not re.fullmatch(r"\w+", found[name].values[0]):
                # it may be the key itself: not repeated here
                raise DataError(
                    f"{where}: {what} key 'api-key-env' does not hold the name of an environment "
                    "variable: write one such as OPENAI_API_KEY, and put the secret into that"
                )
        return found

    def _values(self, node: Any, what: str) -> tuple[str, ...]:
        nodes = node.value if node.id == "sequence" else [node]
        self._check_tag(node)
        for item in nodes:
            if item.id != "scalar":
                self._refuse(
                    item, f"{what} holds {_describe(item)}: give a value or a list of values"
                )
            self._check_tag(item)
            # unquoted
            if item.style is None and item.value in ("", "~", "null"):
                self._refuse(item, f"{what} has no value: give one, or remove the key")
        return tuple(item.value for item in nodes)

    def _check_tag(self, node: Any) -> None:
        if node.tag not in [f"tag:yaml.org,2002:{tag}" for tag in _TAGS]:
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            self._refuse(node, f"the tag {tag!r} is not taken: write the plain value")

    def _where(self, node: Any) -> str:
        return f"{self.name}, line {node.start_mark.line + 1}"

    def _refuse(self, node: Any, text: str) -> NoReturn:
        raise DataError(f"{self._where(node)}: {text}")


def _describe(node: Any) -> str:
    if node.id == "scalar":
        return f"the text {node.value[:40]!r}" if node.value else "nothing"
    return "a list" if node.id == "sequence" else "a mapping"


def _yaml() -> ModuleType:
    try:
        return importlib.import_module("yaml")
    except ImportError:
        raise MissingExtraError('recipes need PyYAML: pip install "rtsearch-fast[cli]"') from None
