"""Attention over tokens of many sequences that lie side by side in one forward pass.

A token's numbers must not depend on its neighbours nor on where its prefix came from. So:

* A generated token attends by a call of its own, whose shape depends on its position only.
* Prompt tokens attend in chunks at fixed positions, filled up with dummies, so that their numbers
  do not depend on how much of the prompt came from the cache. Since these two calls round
  differently, keys and values of generated tokens must not be reused as those of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import EngineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["CHUNK", "PackedPass", "Span", "packed_attention"]

#: Prompt tokens that attend in one call.
CHUNK = 64


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one sequence in a pass.

    Attributes
    ----------
    tokens : sequence of int
    start : int
        Position of the first.
    kv : Tensor, [layers, 2, key-value heads, capacity, head size]
        Holds the positions before ``start``; the pass writes those of ``tokens``.
    generated : bool
        True for one token that the model drew, False for tokens of a prompt.
    wants_logits : bool
        Whether the logits after the last token are returned.
    """

    tokens: Sequence[int]
    start: int
    kv: Tensor
    generated: bool
    wants_logits: bool


class PackedPass:
    """What the attention layers of one pass must know: the spans, and masks made once."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self._masks: dict[tuple[int, int, int | None], Tensor] = {}

    def mask(self, chunk: int, groups: int, window: int | None, device: torch.device) -> Tensor:
        """Return who may see whom, bool [groups * CHUNK, (chunk + 1) * CHUNK]."""
        import torch

        key = (chunk, groups, window)
        if key not in self._masks:
            seen = torch.ones(CHUNK, (chunk + 1) * CHUNK, dtype=torch.bool, device=device)
            seen = seen.tril(chunk * CHUNK)
            if window is not None:
                seen = seen.triu(chunk * CHUNK - window + 1)
            self._masks[key] = seen.repeat(groups, 1)
        return self._masks[key]


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_pass: PackedPass,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within each span's own sequence; called by transformers, once per layer.

    Parameters
    ----------
    query : Tensor, [1, heads, tokens, head size]
    key, value : Tensor, [1, key-value heads, tokens, head size]

    Returns
    -------
    Tensor, [1, tokens, heads, head size]
    None
    """
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise EngineError(f"this model's attention uses {name}, which is not supported here")
    _, heads, _, head_size = query.shape
    kv_heads = key.shape[1]
    groups = heads // kv_heads
    q = query[0].view(kv_heads, groups, -1, head_size)
    out = query.new_zeros(query.shape[2], kv_heads, groups, head_size)
    by_group = out.permute(1, 2, 0, 3)
    row = 0
    for span in packed_pass.spans:
        past = span.kv[module.layer_idx]
        end = row + len(span.tokens)
        stop = span.start + len(span.tokens)
        past[0, :, span.start : stop] = key[0, :, row:end]
        past[1, :, span.start : stop] = value[0, :, row:end]
        if span.generated:
            first = 0 if sliding_window is None else max(0, stop - sliding_window)
            # The heads that share keys stand in one call as if they were tokens.
            by_group[:, :, row] = _sdpa(
                q[:, :, row], past[0, :, first:stop], past[1, :, first:stop], None, scaling
            )
        else:
            while row < end:
                chunk, offset = divmod(stop - (end - row), CHUNK)
                take = min(CHUNK - offset, end - row)
                padded = query.new_zeros(kv_heads, groups, CHUNK, head_size)
                padded[:, :, offset : offset + take] = q[:, :, row : row + take]
                seen = (chunk + 1) * CHUNK
                attended = _sdpa(
                    padded.view(kv_heads, groups * CHUNK, head_size),
                    past[0, :, :seen],
                    past[1, :, :seen],
                    packed_pass.mask(chunk, groups, sliding_window, query.device),
                    scaling,
                ).view(kv_heads, groups, CHUNK, head_size)
                by_group[:, :, row : row + take] = attended[:, :, offset : offset + take]
                row += take
        row = end
    return out.view(1, -1, heads, head_size), None


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Attend in one call that holds one sequence only, [key-value heads, rows, head size].

    Several sequences in one call would be faster, but the bits would depend on their number: the
    threads share the work differently.
    """
    from torch.nn.functional import scaled_dot_product_attention

    return scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scale)[0]
