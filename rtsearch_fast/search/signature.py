"""The signature of a whole search: of its tree and of the solutions that it found."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from .records import Candidate

__all__ = ["search_signature"]


def search_signature(tree: int, candidates: Iterable[Candidate]) -> str:
    """Hash of a tree's signature and of the candidates in their order.

    Parameters
    ----------
    tree : int
        64-bit signature of the finished tree, 0 where the method has none.
    candidates : iterable of Candidate

    Returns
    -------
    str
        16 hex digits.

    Examples
    --------
    >>> search_signature(0, []) == search_signature(1, [])
    False
    """
    digest = hashlib.blake2b(struct.pack("<Q", tree), digest_size=8)
    for candidate in candidates:
        text = candidate.text.encode("utf-8", "surrogatepass")
        digest.update(
            struct.pack(
                "<Qd?q", len(text), candidate.score, candidate.finished, candidate.num_tokens
            )
        )
        digest.update(text)
    return digest.hexdigest()
