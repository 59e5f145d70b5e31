"""Trees as text: JSON, compressed, in base64."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from ...errors import DataError

__all__ = ["pack", "unpack"]


def pack(tree: Mapping[str, Any]) -> str:
    data = json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(data)).decode()


#: A tree of a million nodes with long steps stays below.
_MAX_TREE = 1 << 30


def unpack(packed: str) -> Any:
    engine = zlib.decompressobj()
    try:
        data = engine.decompress(base64.b64decode(packed), _MAX_TREE)
        if engine.eof:
            return json.loads(data)
    except (zlib.error, ValueError, RecursionError):
        pass
    raise DataError(f"a tree is damaged, or has more than {_MAX_TREE} bytes")
