"""The folder for what is made once and used again: converted models, servers' state and logs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir"]


def cache_dir() -> Path:
    """Return ``$RTSEARCH_CACHE``, else ``$XDG_CACHE_HOME/rtsearch_fast``, else the same in
    ``~/.cache``; it need not exist.
    """
    if own := os.environ.get("RTSEARCH_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rtsearch_fast"
