"""Families of generated problems with exact checks, and samples of them.

Every problem belongs for ever to one of two sets, by a hash of its text: seven eighths may be
trained on, one eighth is held out.
"""

from __future__ import annotations

import random
from typing import Literal

from ..errors import InvalidArgumentError
from .chain import Chain
from .countdown import Countdown
from .family import Check, Example, Family
from .naming import is_heldout

__all__ = ["FAMILIES", "Check", "Example", "Family", "examples", "family"]

FAMILIES: dict[str, Family] = {f.name: f for f in (Countdown(), Chain())}


def family(name: str) -> Family:
    """Return the family of this name; InvalidArgumentError if there is none."""
    if name not in FAMILIES:
        raise InvalidArgumentError(
            f"no family of problems is called {name!r}; there are: {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def examples(
    name: str, *, split: Literal["train", "heldout"], count: int, seed: int = 0
) -> list[Example]:
    """Make different problems of one family.

    Parameters
    ----------
    name : str
    split : {"train", "heldout"}
    count : int
    seed : int
        Another seed makes other problems (a few may be the same by chance); a larger count adds to
        the list.

    Returns
    -------
    list of Example
    """
    if split not in ("train", "heldout"):
        raise InvalidArgumentError(f'split is {split!r}: use "train" or "heldout"')
    made = family(name)
    rng = random.Random(f"{name}/{split}/{seed}")
    found: dict[str, Example] = {}
    while len(found) < count:
        example = made.generate(rng)
        if is_heldout(example.unique_id) == (split == "heldout"):
            found.setdefault(example.unique_id, example)
    return list(found.values())
