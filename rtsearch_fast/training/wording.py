"""Texts as the filters compare them, and an order that only a seed and the texts decide."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["normal", "shuffle_key", "tokens", "words"]


def normal(text: str) -> str:
    """The text without what does not tell two texts apart: case, and kinds of white space.

    Examples
    --------
    >>> normal("  So  X = 2,\\nhence")
    'so x = 2, hence'
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def tokens(text: str) -> list[str]:
    """Words and single signs of the normal text: in mathematics the signs count.

    Examples
    --------
    >>> tokens("So x=2.")
    ['so', 'x', '=', '2', '.']
    """
    return re.findall(r"\w+|[^\w\s]", normal(text))


def words(text: str) -> list[str]:
    """Words and numbers alone, so that another typesetting is the same text.

    Examples
    --------
    >>> words("If $x$ is 2, then?")
    ['if', 'x', 'is', '2', 'then']
    """
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def shuffle_key(seed: int, *texts: str) -> int:
    """A place in a random order that depends on `seed` and `texts`, not on what else there is."""
    joined = "\x1f".join((str(seed), *texts))
    digest = hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
