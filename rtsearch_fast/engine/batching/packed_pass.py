"""What one forward pass holds: tokens of many sequences, in batches that attend together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .attend import attend, unseen
from .shelves import Place, shelf_length

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["CHUNK", "PackedPass", "Span"]

#: Prompt tokens that attend in one call; shelves differ in length by a multiple of it.
CHUNK = 32


@dataclass(slots=True)
class Span:
    """Consecutive tokens of one sequence in a pass.

    Attributes
    ----------
    tokens : sequence of int
    start : int
        Position of the first.
    kv : Place, or Tensor [layers, 2, key-value heads, >= start, head size]
        Holds the positions before ``start``. For one token that the model drew it is a `Place`,
        which has room for it. For tokens of a prompt it is a tensor, which the pass replaces by one
        that holds ``tokens`` too.
    wants_logits : bool
        Whether the logits after the last token are returned.
    """

    tokens: Sequence[int]
    start: int
    kv: Tensor | Place
    wants_logits: bool


class PackedPass:
    """The batches of a pass.

    Parameters
    ----------
    spans : sequence of Span
        Those of samples come first, all that are in flight and in the order in which they lie.
    device : torch.device
    """

    def __init__(self, spans: Sequence[Span], device: torch.device) -> None:
        self.batches: list[_Samples | _Prompts] = []
        row = 0
        while row < len(spans) and isinstance(place := spans[row].kv, Place):
            places = place.shelf.places
            batch = spans[row : row + len(places)]
            if [span.kv for span in batch] != places:
                raise AssertionError("samples are not in the order in which they lie")
            self.batches.append(_Samples(batch, row, place, device))
            row += len(places)
        alike: dict[int, list[tuple[Span, int]]] = {}
        for span in spans[row:]:
            stop = span.start + len(span.tokens)
            alike.setdefault(shelf_length(stop), []).append((span, row))
            row += len(span.tokens)
        self.batches += [_Prompts(length, part, device) for length, part in alike.items()]

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float | None, window: int | None
    ) -> Tensor:
        """Store keys and values and return each token's attention to its own sequence.

        Parameters
        ----------
        layer : int
        q : Tensor, [tokens, key-value heads, heads to share one, head size]
        k, v : Tensor, [tokens, key-value heads, head size]
        scale : float or None
        window : int or None
            Most positions a token looks back on, its own included.

        Returns
        -------
        Tensor, as ``q``
        """
        out = q.new_zeros(q.shape)
        for batch in self.batches:
            batch.attend(layer, q, k, v, out, scale, window)
        return out


class _Samples:
    """One token each of all sequences of a shelf."""

    def __init__(self, spans: Sequence[Span], row: int, place: Place, device: torch.device) -> None:
        import torch

        self._rows = slice(row, row + len(spans))
        self._shelf = place.shelf
        self._positions = torch.tensor([span.start for span in spans], device=device)
        self._indices = torch.arange(len(spans), device=device)
        self._masks: dict[int | None, Tensor] = {}

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        scale: float | None,
        window: int | None,
    ) -> None:
        keys, values = self._shelf.kv[layer]
        keys[self._indices, :, self._positions] = k[self._rows]
        values[self._indices, :, self._positions] = v[self._rows]
        if window not in self._masks:
            self._masks[window] = unseen(
                self._positions[:, None], self._shelf.length, window, q.dtype
            )
        query = q[self._rows]
        count = len(query)
        mask = self._masks[window].expand(-1, -1, query.shape[2], -1)
        # The heads that share keys stand in one call as if they were tokens.
        out[self._rows] = attend(query, keys[:count], values[:count], mask, scale)


class _Prompts:
    """Tokens of prompts that are of one shelf's length by now."""

    def __init__(self, length: int, spans: list[tuple[Span, int]], device: torch.device) -> None:
        import torch

        first = spans[0][0].kv
        assert not isinstance(first, Place)
        layers, two, heads, _, head_size = first.shape
        self._kv = first.new_empty((layers, two, len(spans), heads, length, head_size))
        owners: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        chunks: dict[int, list[tuple[int, int, int, int]]] = {}
        for i, (span, row) in enumerate(spans):
            start, stop = span.start, span.start + len(span.tokens)
            assert not isinstance(span.kv, Place)
            self._kv[:, :, i, :, :start] = span.kv[:, :, :, :start]
            self._kv[:, :, i, :, start:] = 0
            span.kv = self._kv[:, :, i]
            owners += [i] * (stop - start)
            positions += range(start, stop)
            rows += range(row, row + stop - start)
            for begin in range(start // CHUNK * CHUNK, stop, CHUNK):
                seen = shelf_length(begin + CHUNK)
                chunks.setdefault(seen, []).append((i, begin, start, row))
        self._owners = torch.tensor(owners, device=device)
        self._positions = torch.tensor(positions, device=device)
        self._rows = torch.tensor(rows, device=device)
        self._chunks = [_Chunks(seen, part, spans, device) for seen, part in chunks.items()]

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        scale: float | None,
        window: int | None,
    ) -> None:
        keys, values = self._kv[layer]
        keys[self._owners, :, self._positions] = k[self._rows]
        values[self._owners, :, self._positions] = v[self._rows]
        for chunks in self._chunks:
            chunks.attend(q, keys, values, out, scale, window)


class _Chunks:
    """Chunks of prompts that see equally many positions."""

    def __init__(
        self,
        seen: int,
        chunks: list[tuple[int, int, int, int]],
        spans: list[tuple[Span, int]],
        device: torch.device,
    ) -> None:
        import torch

        self._seen = seen
        owners = [i for i, *_ in chunks]
        in_a_row = owners == list(range(owners[0], owners[0] + len(owners)))
        # A slice is no copy.
        self._owners: Tensor | slice = (
            slice(owners[0], owners[0] + len(owners))
            if in_a_row
            else torch.tensor(owners, device=device)
        )
        rows: list[int] = []  # of the pass; a dummy is a copy of the first
        real: list[int] = []  # which of them are no dummies
        for i, begin, start, row in chunks:
            stop = start + len(spans[i][0].tokens)
            low, high = max(begin, start), min(begin + CHUNK, stop)
            real += range(len(rows) + low - begin, len(rows) + high - begin)
            inside = range(row + low - start, row + high - start)
            rows += [row] * (low - begin)
            rows += inside
            rows += [row] * (begin + CHUNK - high)
        begins = torch.tensor([begin for _, begin, *_ in chunks], device=device)
        self._positions = begins[:, None] + torch.arange(CHUNK, device=device)
        self._rows = torch.tensor(rows, device=device)
        self._real = torch.tensor(real, device=device)
        self._targets = self._rows[self._real]
        self._masks: dict[int | None, Tensor] = {}

    def attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        out: Tensor,
        scale: float | None,
        window: int | None,
    ) -> None:
        _, heads, groups, head_size = q.shape
        if window not in self._masks:
            mask = unseen(self._positions, self._seen, window, q.dtype)
            self._masks[window] = mask.repeat(1, 1, groups, 1)
        query = q[self._rows].view(-1, CHUNK, heads, groups, head_size).permute(0, 2, 3, 1, 4)
        attended = attend(
            query.reshape(-1, heads, groups * CHUNK, head_size),
            keys[self._owners, :, : self._seen],
            values[self._owners, :, : self._seen],
            self._masks[window],
            scale,
        ).view(-1, heads, groups, CHUNK, head_size)
        by_row = attended.permute(0, 3, 1, 2, 4).reshape(-1, heads, groups, head_size)
        out[self._targets] = by_row[self._real]
