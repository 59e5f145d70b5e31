"""Products on AMX tiles: why this process does without them."""

from __future__ import annotations

import os

__all__ = ["keep_from_tiles"]

_VARIABLE, _BELOW_TILES = "ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16"


def keep_from_tiles() -> None:
    """Let oneDNN compute without AMX tiles, unless its variable says something else.

    With tiles a product's rows are summed in another order for some numbers of rows, too few for
    the search for equal sizes to notice. Heeded if nothing was computed with bfloat16 before.
    """
    import torch

    if _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = _BELOW_TILES
    try:
        # oneDNN reads the variable at its first product, and no child may: vLLM's workers die of it
        ones = torch.ones((64, 64), dtype=torch.bfloat16)
        ones @ ones
    finally:
        del os.environ[_VARIABLE]
