"""The frameworks that adapters are tested against, where they are installed."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def peer(name: str) -> Any:
    """The module, or a skip; with RTS_REQUIRE_PEERS set it must be there."""
    if os.environ.get("RTS_REQUIRE_PEERS"):
        return importlib.import_module(name)
    return pytest.importorskip(name, reason=f"{name} is not installed")
