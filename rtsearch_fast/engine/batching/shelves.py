"""Keys and values of the samples in flight, on shelves of sequences of one length.

A shelf's sequences lie side by side, so one call attends for all of them where they are. Which
shelf a sequence is on depends on its length alone; one that outgrows its shelf moves to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Place", "Shelf", "Shelves", "shelf_length"]

#: Lengths of shelves differ by this at least: less is filled up in vain, more is moved more often.
_STEP = 32


def shelf_length(length: int) -> int:
    """Return the positions that a sequence of this length is given: up to an eighth more, or 31.

    Examples
    --------
    >>> [shelf_length(n) for n in (1, 32, 33, 256, 257, 1000)]
    [32, 32, 64, 256, 320, 1024]
    """
    step = _STEP
    while length > 8 * step:
        step *= 2
    return -(-length // step) * step


@dataclass(eq=False, slots=True)
class Place:
    """Where the keys and values of a sequence are; they move."""

    shelf: Shelf
    index: int

    def grow(self, length: int) -> None:
        """See that ``length`` positions fit."""
        old, index = self.shelf, self.index
        if length > old.length:
            old.shelves.shelf(length).add(self, old.kv[:, :, index], old.length)
            old.remove(index)

    def drop(self) -> None:
        """Give the room back."""
        self.shelf.remove(self.index)

    @property
    def order(self) -> tuple[int, int]:
        """Sorts sequences as they lie."""
        return self.shelf.length, self.index


class Shelf:
    """Room for sequences of up to ``length`` positions.

    Attributes
    ----------
    kv : Tensor, [layers, 2, capacity, key-value heads, length, head size]
        Index 1 is keys, values; the first ``len(places)`` sequences count.
    places : list of Place
    """

    def __init__(self, length: int, shelves: Shelves) -> None:
        self.length = length
        self.shelves = shelves
        self.places: list[Place] = []
        self.kv = self._room(0)

    def add(self, place: Place, source: Tensor, count: int) -> None:
        """Put a sequence at the end: the first ``count`` positions of ``source``, then zeros.

        Zeros, since attention also reads (and gives no weight to) what is not yet written.
        """
        index = len(self.places)
        if index == self.kv.shape[2]:
            kv = self._room(max(1, 2 * index))
            kv[:, :, :index] = self.kv
            self.kv = kv
        self.kv[:, :, index, :, :count] = source[:, :, :, :count]
        self.kv[:, :, index, :, count:] = 0
        self.places.append(place)
        place.shelf, place.index = self, index

    def remove(self, index: int) -> None:
        """Forget a sequence; the last one takes its room."""
        last = self.places.pop()
        if index < len(self.places):
            self.kv[:, :, index] = self.kv[:, :, len(self.places)]
            self.places[index] = last
            last.index = index
        if not self.places:
            self.kv = self._room(0)

    def _room(self, capacity: int) -> Tensor:
        return self.shelves.room(capacity, self.length)


class Shelves:
    """All shelves of a model.

    Parameters
    ----------
    shape : (layers, 2, key-value heads, head size)
    dtype, device
        Of keys and values.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        import torch

        self._shape = shape
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._shelves: dict[int, Shelf] = {}

    def place(self, length: int, source: Tensor, count: int) -> Place:
        """Make room for a sequence that grows to ``length`` now.

        Parameters
        ----------
        length : int
        source : Tensor, [layers, 2, key-value heads, >= count, head size]
        count : int
            Positions known.
        """
        shelf = self.shelf(length)
        place = Place(shelf, -1)
        shelf.add(place, source, count)
        return place

    def room(self, capacity: int, length: int) -> Tensor:
        """Return a tensor for ``capacity`` sequences, see `Shelf`."""
        layers, two, heads, head_size = self._shape
        return self._like.new_empty((layers, two, capacity, heads, length, head_size))

    def shelf(self, length: int) -> Shelf:
        """Return the shelf for sequences of this length."""
        length = shelf_length(length)
        if length not in self._shelves:
            self._shelves[length] = Shelf(length, self)
        return self._shelves[length]
