"""Keys and values of prompt prefixes computed before, in blocks, the least recently used dropped.

Tree search asks for a parent's path and then for each child's: all but the last step is shared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLOCK_TOKENS", "PrefixCache"]

#: Reuse happens in whole blocks, and what is left over is computed again: any token costs more than
#: the few microseconds of a block.
BLOCK_TOKENS = 4

_ROOT = 0


class PrefixCache:
    """A tree of token blocks, kept as a mapping (parent block, tokens) -> block.

    Parameters
    ----------
    capacity_tokens : int
        Most tokens held; 0 switches reuse off.

    Notes
    -----
    Every use touches a path from its last block to its first, so that a block is always fresher
    than the blocks that continue it, and what is dropped first is always the end of a path.
    """

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity = capacity_tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[tuple[int, tuple[int, ...]], tuple[int, Tensor]] = OrderedDict()
        self._next_id = _ROOT + 1

    @property
    def enabled(self) -> bool:
        """Whether it holds anything ever."""
        return self._capacity > 0

    @property
    def num_tokens(self) -> int:
        """Tokens held now."""
        return len(self._blocks) * BLOCK_TOKENS

    def match(self, tokens: Sequence[int]) -> list[Tensor]:
        """Return the blocks of the longest known prefix of ``tokens``.

        Returns
        -------
        list of Tensor
            Each [layers, 2, key-value heads, BLOCK_TOKENS, head size]; index 1 is keys, values.
        """
        path = self._walk(tokens)
        self._touch([key for key, _ in path])
        return [block for _, block in path]

    def insert(self, tokens: Sequence[int], kv: Tensor) -> None:
        """Remember the whole blocks of ``tokens``.

        Parameters
        ----------
        tokens : sequence of int
        kv : Tensor, [layers, 2, key-value heads, >= len(tokens), head size]
            What the blocks not yet known are copied from.
        """
        keys = []
        parent = _ROOT
        num_blocks = min(len(tokens) // BLOCK_TOKENS, self._capacity)
        for start in range(0, num_blocks * BLOCK_TOKENS, BLOCK_TOKENS):
            key = (parent, tuple(tokens[start : start + BLOCK_TOKENS]))
            if key not in self._blocks:
                self._blocks[key] = (
                    self._next_id,
                    kv[:, :, :, start : start + BLOCK_TOKENS].clone(),
                )
                self._next_id += 1
            parent = self._blocks[key][0]
            keys.append(key)
        self._touch(keys)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()

    def _walk(self, tokens: Sequence[int]) -> list[tuple[tuple[int, tuple[int, ...]], Tensor]]:
        path = []
        parent = _ROOT
        for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            key = (parent, tuple(tokens[start : start + BLOCK_TOKENS]))
            found = self._blocks.get(key)
            if found is None:
                break
            parent, block = found
            path.append((key, block))
        return path

    def _touch(self, keys: Sequence[tuple[int, tuple[int, ...]]]) -> None:
        for key in reversed(keys):
            self._blocks.move_to_end(key)
