"""The key-value memory of a simulated engine: blocks in use, blocks kept for reuse, free blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Block", "BlockPool"]


@dataclass(slots=True, eq=False)
class Block:
    """Room for the keys and values of `block_tokens` tokens.

    Attributes
    ----------
    key : int, optional
        Stands for its tokens and all tokens before them; None until it is full.
    users : int
        Sequences that read it.
    """

    key: int | None = None
    users: int = 0


class BlockPool:
    """Full blocks are found by their key until the room is needed, the least recently used first.

    Parameters
    ----------
    capacity : int
        Blocks in all.

    Examples
    --------
    >>> pool = BlockPool(2)
    >>> block = pool.take()
    >>> pool.fill(block, key=7)
    >>> pool.release([block])
    >>> pool.find(7) is block, pool.available
    (True, 2)
    """

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._by_key: dict[int, Block] = {}
        self._unused: OrderedDict[Block, None] = OrderedDict()  # full, the oldest first

    @property
    def available(self) -> int:
        """Blocks that nobody uses."""
        return self._free + len(self._unused)

    def find(self, key: int) -> Block | None:
        """The full block of this key."""
        return self._by_key.get(key)

    def share(self, block: Block) -> None:
        """Add a user to a full block."""
        if block.users == 0:
            del self._unused[block]
        block.users += 1

    def take(self) -> Block:
        """An empty block, the caller its user; there must be one available."""
        if self._free:
            self._free -= 1
        else:
            oldest, _ = self._unused.popitem(last=False)
            assert oldest.key is not None
            del self._by_key[oldest.key]
        return Block(users=1)

    def fill(self, block: Block, key: int) -> None:
        """Make a full block known, unless another one with the same tokens is."""
        if key not in self._by_key:
            block.key = key
            self._by_key[key] = block

    def release(self, blocks: Iterable[Block]) -> None:
        """Take a user away from blocks that follow each other.

        The last of them becomes the least recently used: without the others it is worth nothing.
        """
        for block in reversed(list(blocks)):
            block.users -= 1
            if block.users:
                continue
            if block.key is None:
                self._free += 1
            else:
                self._unused[block] = None
