"""Attention over tokens of many sequences that lie side by side in one forward pass.

A token's numbers must not depend on its neighbours nor on where its prefix came from. So:

* The shape of the call in which a token attends depends on its position only, but for the number of
  sequences, which is seen to change nothing (see `attend`). What fills up the shape has no weight.
* A generated token attends by itself. Tokens of a prompt attend in chunks at fixed positions,
  filled up with dummies, so that it does not matter how much of the prompt came from the cache.
  Since these two calls round differently, keys and values of generated tokens must not be reused
  as those of a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import EngineError
from .packed_pass import PackedPass

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["packed_attention"]


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
    if not getattr(module, "is_causal", True):
        raise EngineError(
            "this model reads texts in both directions: only models that read from left to right "
            "are supported here"
        )
    for name in ("softcap", "s_aux"):
        if others.get(name) is not None:
            raise EngineError(f"this model's attention uses {name}, which is not supported here")
    _, heads, tokens, head_size = query.shape
    kv_heads = key.shape[1]
    by_group = query[0].view(kv_heads, heads // kv_heads, tokens, head_size)
    out = packed_pass.attend(
        module.layer_idx,
        by_group.permute(2, 0, 1, 3),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        scaling,
        sliding_window,
    )
    return out.view(1, tokens, heads, head_size), None
