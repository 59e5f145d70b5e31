"""How much is read of a file from elsewhere, before it is known what it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from .errors import DataError

__all__ = ["MAX_LINE", "MAX_SETTINGS", "bounded_lines", "plain_loader", "read_settings"]

#: Bytes of a line of JSONL: as many as of one answer of a server.
MAX_LINE = 64 << 20
#: Bytes of a file that somebody wrote by hand: a recipe, a reward format, a template.
MAX_SETTINGS = 1 << 20


def bounded_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines of a file, their ends included.

    A file without ends of lines, a device or what a few compressed bytes stand for, would else be
    read into memory as one.

    Parameters
    ----------
    file : file, open for reading bytes
    name : str
        For the message.

    Raises
    ------
    DataError
        A line is longer than `MAX_LINE`.
    """
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(
                f"{name}, line {number}: has more than {MAX_LINE >> 20} MiB, which no row has; "
                "write one JSON object a line"
            )
        yield line


def read_settings(path: str | os.PathLike[str]) -> bytes:
    """All of a file that somebody wrote by hand.

    Raises
    ------
    DataError
        It is larger than `MAX_SETTINGS`.
    OSError
    """
    with open(path, "rb") as file:
        data = file.read(MAX_SETTINGS + 1)
    if len(data) > MAX_SETTINGS:
        raise DataError(
            f"{os.fspath(path)}: has more than {MAX_SETTINGS >> 10} KiB, which no file of settings "
            "has; check the path"
        )
    return data


def plain_loader(yaml: Any) -> Any:
    """A safe loader of PyYAML's that takes no aliases: a few lines of them stand for gigabytes.

    Parameters
    ----------
    yaml : module
        PyYAML, which not every installation has.
    """

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                alias = self.peek_event()
                told = f"the alias *{alias.anchor} is not taken: write the value out"
                raise yaml.MarkedYAMLError(problem=told, problem_mark=alias.start_mark)
            return super().compose_node(parent, index)

    return Loader
