"""Strict reading of YAML files of settings: every value is a text, every fault has its line."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ..bounds import plain_loader, read_settings
from ..errors import DataError, MissingExtraError
from .aliases import translate

__all__ = ["Reader", "Setting", "unknown_key"]

#: Keys whose values nobody should find in a file.
_SECRET = re.compile(r"(^|-)(api-?key|token|secret|password|credentials?)$")
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


def unknown_key(key: str, known: Iterable[str], remedy: str) -> str:
    """Say that a key is unknown, and which one was probably meant; `remedy` if none was."""
    known = list(known)
    if (positive := key.removeprefix("no-")) != key and positive in known:
        return f"unknown key {key!r}: write {positive}: false"
    if close := get_close_matches(key, known, 1):
        return f"unknown key {key!r}: did you mean {close[0]!r}?"
    return f"unknown key {key!r}: {remedy}"


class Reader:
    """YAML into settings; keeps an eye on lines, for the messages.

    Parameters
    ----------
    name : str
        The file, as the user named it.
    example : str
        What messages say to write.
    """

    def __init__(self, name: str, example: str) -> None:
        self.name = name
        self.example = example

    def root(self, path: Path) -> Any:
        """Parse the file into PyYAML's nodes, which are nothing but texts, lists and mappings."""
        yaml = _yaml()

        class Loader(plain_loader(yaml)):  # type: ignore[misc]
            yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  every value is a text

        try:
            text = read_settings(path).decode("utf-8-sig")
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
                f"{where}: not YAML ({reason}): {self.example}, indented by blanks; texts with "
                "special characters go into quotes"
            ) from None
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{self.name}: not YAML ({reason}): {self.example}") from None
        except RecursionError:
            raise DataError(f"{self.name}: nested too deeply: {self.example}") from None
        if node is None:
            raise DataError(f"{self.name}: the recipe is empty: {self.example}")
        return node

    def mapping(self, node: Any, what: str) -> dict[str, tuple[str, Any]]:
        """Keys (with dashes) -> where they stand, and their nodes."""
        if node.id != "mapping":
            self.refuse(node, f"{what} is {_describe(node)}: {self.example}")
        self._check_tag(node)
        found: dict[str, tuple[str, Any]] = {}
        for key_node, value in node.value:
            if key_node.id != "scalar" or not key_node.value:
                self.refuse(key_node, f"{_describe(key_node)} as a key of {what}: {self.example}")
            key = key_node.value.strip().lstrip("-").replace("_", "-")
            if key in found:
                first = found[key][0].rpartition(" ")[2]
                self.refuse(
                    key_node, f"{what} has the key {key!r} twice, first in line {first}: keep one"
                )
            found[key] = (self.where(key_node), value)
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
            found[name] = Setting(name, self.values(value, f"{what} key {key!r}"), where)
            if name == "api-key-env" and not re.fullmatch(r"\w+", found[name].values[0]):
                # it may be the key itself: not repeated here
                raise DataError(
                    f"{where}: {what} key 'api-key-env' does not hold the name of an environment "
                    "variable: write one such as OPENAI_API_KEY, and put the secret into that"
                )
        return found

    def values(self, node: Any, what: str) -> tuple[str, ...]:
        nodes = node.value if node.id == "sequence" else [node]
        self._check_tag(node)
        for item in nodes:
            if item.id != "scalar":
                self.refuse(
                    item, f"{what} holds {_describe(item)}: give a value or a list of values"
                )
            self._check_tag(item)
            # unquoted
            if item.style is None and item.value in ("", "~", "null"):
                self.refuse(item, f"{what} has no value: give one, or remove the key")
        return tuple(item.value for item in nodes)

    def _check_tag(self, node: Any) -> None:
        if node.tag not in [f"tag:yaml.org,2002:{tag}" for tag in _TAGS]:
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            self.refuse(node, f"the tag {tag!r} is not taken: write the plain value")

    def where(self, node: Any) -> str:
        return f"{self.name}, line {node.start_mark.line + 1}"

    def refuse(self, node: Any, text: str) -> NoReturn:
        raise DataError(f"{self.where(node)}: {text}")


def _describe(node: Any) -> str:
    if node.id == "scalar":
        return f"the text {node.value[:40]!r}" if node.value else "nothing"
    return "a list" if node.id == "sequence" else "a mapping"


def _yaml() -> ModuleType:
    try:
        return importlib.import_module("yaml")
    except ImportError:
        raise MissingExtraError('recipes need PyYAML: pip install "rtsearch-fast[cli]"') from None
