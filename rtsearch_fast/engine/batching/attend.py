"""Attention of several sequences in one call, where that leaves the bits as they are.

Whether it does is up to the kernel that torch picks, and how its threads share the work. So it is
tried out here, once for each shape; where the bits differ, each sequence gets a call of its own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["attend", "unseen"]

#: Numbers of sequences tried out; fewer where they would be much work.
_COUNTS = (2, 3, 5, 8, 17, 33, 64, 129)
_MOST_WORK = 1 << 22


def attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float | None
) -> Tensor:
    """Return the attention of each sequence to itself.

    Parameters
    ----------
    query : Tensor, [sequences, key-value heads, rows, head size]
    keys, values : Tensor, [sequences, key-value heads, length, head size]
    mask : Tensor, [sequences, 1, rows, length]
        Added to the scores.
    scale : float or None

    Returns
    -------
    Tensor, as ``query``
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    count, heads, rows, head_size = query.shape
    shape = (heads, rows, keys.shape[2], head_size)
    if count == 1 or _agree(shape, query.dtype, query.device, torch.get_num_threads()):
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scale)
    return _one_by_one(query, keys, values, mask, scale)


def unseen(positions: Tensor, length: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """Return what hides later positions, and those before the window: 0 or -inf.

    Parameters
    ----------
    positions : Tensor of int, [sequences, rows]
    length : int
    window : int or None
    dtype
        Of the result.

    Returns
    -------
    Tensor, [sequences, 1, rows, length]
    """
    import torch

    places = torch.arange(length, device=positions.device)
    newest = positions[:, :, None]
    hidden = places > newest
    if window is not None:
        hidden |= places <= newest - window
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, -torch.inf)[:, None]


def _one_by_one(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float | None
) -> Tensor:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    return torch.cat(
        [
            scaled_dot_product_attention(
                query[i : i + 1],
                keys[i : i + 1],
                values[i : i + 1],
                attn_mask=mask[i : i + 1],
                scale=scale,
            )
            for i in range(len(query))
        ]
    )


@cache
def _agree(
    shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device, threads: int
) -> bool:
    """Whether calls of this shape give the same bits for one sequence and for many."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    heads, rows, length, head_size = shape
    most = max(3, _MOST_WORK // (heads * rows * length * head_size))
    counts = [count for count in _COUNTS if count <= most]
    dice = torch.Generator().manual_seed(length)

    def random(size: int) -> Tensor:
        data = torch.randn(counts[-1], heads, size, head_size, generator=dice)
        return data.to(device, dtype)

    query, keys, values = random(rows), random(length), random(length)
    positions = torch.randint(length, (counts[-1], rows), generator=dice).to(device)
    mask = unseen(positions, length, None, dtype)
    alone = _one_by_one(query, keys, values, mask, None)
    return all(
        torch.equal(
            alone[:count],
            scaled_dot_product_attention(
                query[:count], keys[:count], values[:count], attn_mask=mask[:count]
            ),
        )
        for count in counts
    )
