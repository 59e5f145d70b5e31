"""Other packages on the same work: K children an expansion, rewards by a hash, c = 1.4.

Each is driven the way that its own documentation drives it, without a model: what is timed is its
tree. Packages that are not installed are left out.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from . import lightzero, llm_reasoners, mctx, open_spiel, treequest

__all__ = ["Peer", "installed_peers"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A package to compare with.

    Attributes
    ----------
    name, version : str
    prepare : callable
        Gives, for (children, simulations, trees), a function that does one whole search.
    most_nodes : int
        Of a tree that takes seconds, not minutes.
    many_trees : bool
        Can it search many trees in step?
    """

    name: str
    version: str
    prepare: Callable[[int, int, int], Callable[[], None]]
    most_nodes: int
    many_trees: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"


#: Name, distribution, and what a Peer holds besides.
_KNOWN = (
    ("LightZero muzero ctree", "LightZero", lightzero.prepare, 40_000, True),
    ("mctx muzero", "mctx", mctx.prepare, 16_000, True),
    ("OpenSpiel Python MCTS", "open_spiel", open_spiel.prepare, 40_000, False),
    ("llm-reasoners MCTS", "llm-reasoners", llm_reasoners.prepare, 16_000, False),
    ("treequest StandardMCTS", "treequest", treequest.prepare, 4_000, False),
)


def installed_peers() -> list[Peer]:
    """Those that this environment has."""
    found = []
    for name, distribution, prepare, most, many in _KNOWN:
        try:
            version = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append(Peer(name, version, prepare, most, many))
    return found
