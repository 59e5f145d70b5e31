"""Reading the YAML file of a reward format: every value is a text until its field says what it is.

So YAML's own types do not come in: ``labels: [Yes, No]`` are two words, not two booleans.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from ..bounds import plain_loader, read_settings
from ..errors import DataError, MissingExtraError

__all__ = ["read_spec", "shipped_specs"]


def shipped_specs() -> list[str]:
    """The names of the formats that come with this package."""
    folder = resources.files("rtsearch_fast").joinpath("reward/specs")
    files = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def read_spec(name_or_file: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a format.

    Parameters
    ----------
    name_or_file : str
    kinds : mapping of str to str
        The fields that there are, and their types as annotated.

    Returns
    -------
    dict of str to object
        With `name`.

    Raises
    ------
    DataError
        There is no such file, it is no YAML, or a field is unknown, missing or of another type.
    MissingExtraError
        PyYAML is not installed.
    """
    name, text = _find(name_or_file)
    data = _parse(text, name_or_file)
    if not isinstance(data, dict):
        raise DataError(f"{name_or_file}: the file must hold keys and values, such as read: label")
    for key in data:
        if key not in kinds:
            close = get_close_matches(str(key), kinds, 1)
            meant = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(kinds)}"
            raise DataError(f"{name_or_file}: unknown key {key!r}: {meant}")
    for key in ("template", "read"):
        if key not in data:
            raise DataError(f"{name_or_file}: the key {key!r} is missing")
    found = {"name": name}
    for key, value in data.items():
        try:
            found[key] = _AS[kinds[key]](value)
        except (TypeError, ValueError, KeyError, AttributeError):
            raise DataError(
                f"{name_or_file}: {key}: {value!r} must be {_SAID[kinds[key]]}"
            ) from None
    return found


def _find(name_or_file: str) -> tuple[str, str]:
    names = shipped_specs()
    if name_or_file in names:
        file = resources.files("rtsearch_fast").joinpath(f"reward/specs/{name_or_file}.yaml")
        return name_or_file, file.read_text(encoding="utf-8")
    path = Path(name_or_file)
    try:
        return path.stem, read_settings(path).decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"reward {name_or_file!r} is neither a format ({', '.join(names)}) nor a file that can "
            f"be read: {error.strerror or error}"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name_or_file}: no UTF-8 text: {error.reason}") from None


def _parse(text: str, where: str) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")  # whose types are a package of their own
    except ImportError:
        raise MissingExtraError(
            'reward formats need PyYAML: pip install "rtsearch-fast[cli]"'
        ) from None

    class Texts(plain_loader(yaml)):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            found: set[str] = set()
            for key in (key.value for key, _ in node.value):
                if not isinstance(key, str) or key in found:
                    raise DataError(
                        f"{where}, line {node.start_mark.line + 1}: the key {key!r} is no text, or "
                        "stands there twice"
                    )
                found.add(key)
            return dict(super().construct_mapping(node, deep=True))

    try:
        return yaml.load(text, Loader=Texts)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise DataError(f"{where}{line}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _switch(value: Any) -> bool:
    return {"true": True, "false": False}[_text(value)]


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_text, value))


#: Type of a field -> what makes it of YAML's texts, and what messages call it.
_AS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "Aggregation": _text,
    "bool": _switch,
    "int": lambda value: int(_text(value)),
    "tuple[str, ...]": _texts,
    "tuple[float, ...]": lambda value: tuple(map(float, _texts(value))),
    "Mapping[str, str]": lambda value: {key: _text(text) for key, text in value.items()},
    "Mapping[str, int]": lambda value: {key: int(_text(text)) for key, text in value.items()},
}
_SAID = {
    "str": "a text",
    "Aggregation": "a text",
    "bool": "true or false",
    "int": "a whole number",
    "tuple[str, ...]": "a list of texts",
    "tuple[float, ...]": "a list of numbers",
    "Mapping[str, str]": "texts and their replacements",
    "Mapping[str, int]": "texts and their token ids",
}
