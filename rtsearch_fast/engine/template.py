"""Prompt texts with named places, filled in one pass with text that nobody has vouched for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..bounds import read_settings
from ..errors import DataError

__all__ = ["Template"]

#: Tokens that begin and end turns and texts, in the spellings of the common model families. A
#: server reads them as control tokens wherever they stand in a prompt.
_CONTROL = re.compile(
    r"<(?=[|\uff5c][^<>|\uff5c\s]+[|\uff5c]>|/?s>|bos>|eos>|pad>|unk>|(?:start|end)_of_turn>)|\[(?=/?INST\])"
)


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with places such as ``{problem}``.

    Braces mean nothing else: the text may hold any, and a place is filled literally, so problems
    full of braces need no escaping.

    Attributes
    ----------
    name : str
    text : str
        Used to its last character; special tokens of the model are spelled out in it.
    """

    name: str
    text: str

    @property
    def identity(self) -> str:
        """The name and a hash of the text: another wording is another model to a resumed run."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    def fill(self, **values: str) -> str:
        """Put each value into its place.

        All places are filled in one pass, so a value that itself holds ``{problem}`` stays as it
        is. In a value, a chat control token such as ``<|im_end|>`` gets a blank after its first
        character: neither a problem nor a model's solution can end its turn and speak in another
        role, and the meaning of text that only looks so, like ``|x|<|y|>z``, does not change.
        """
        places = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
        return places.sub(lambda found: neutralise(values[found[0][1:-1]]), self.text)

    @classmethod
    def find(cls, source: str, presets: Mapping[str, str], places: tuple[str, ...]) -> Template:
        """Take a preset by its name, or read a file.

        Raises
        ------
        DataError
            Neither exists, the file is no UTF-8 text, or it lacks one of the places.
        """
        if source in presets:
            return cls(source, presets[source])
        path = Path(source)
        try:
            text = read_settings(path).decode("utf-8")
        except OSError as error:
            raise DataError(
                f"template {source!r} is neither a preset ({', '.join(presets)}) nor a file that "
                f"can be read: {error.strerror or error}"
            ) from None
        except UnicodeDecodeError as error:
            raise DataError(f"template {source!r} is no UTF-8 text: {error.reason}") from None
        for place in places:
            if f"{{{place}}}" not in text:
                raise DataError(f"template {source!r} has no {{{place}}}: put it in its place")
        return cls(path.stem, text)


def neutralise(text: str) -> str:
    """Break the chat control tokens in a text by a blank after their first character."""
    return _CONTROL.sub(lambda found: found[0] + " ", text)
