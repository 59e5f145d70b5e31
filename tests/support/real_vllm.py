"""The real vLLM, which not every machine has, in tests."""

from __future__ import annotations

import os
import re
import urllib.request
from pathlib import Path

import pytest

from rtsearch_fast.engine.embedded import embedded_model
from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import find_vllm
from rtsearch_fast.errors import MissingExtraError

__all__ = ["cache_hits", "model_folder"]


def model_folder() -> Path:
    """The embedded model's folder; skips the test where vLLM or the model is not installed.

    RTS_REQUIRE_VLLM=1 makes that a failure: where the tests should run, they must not be passed
    over in silence.
    """
    try:
        find_vllm()
        return embedded_model("smollm2-135m")
    except MissingExtraError as error:
        if os.environ.get("RTS_REQUIRE_VLLM"):
            raise
        pytest.skip(str(error))


def cache_hits(server: VllmServer) -> float:
    """Tokens that a server found in its prefix cache so far."""
    with urllib.request.urlopen(f"{server.root_url}/metrics") as answer:
        text = answer.read().decode()
    return sum(map(float, re.findall(r"^vllm:prefix_cache_hits_total\{.*\} (\S+)$", text, re.M)))
