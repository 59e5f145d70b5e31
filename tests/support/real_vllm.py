"""The embedded model for tests of the real vLLM, which not every machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rtsearch_fast.engine.embedded import embedded_model
from rtsearch_fast.engine.server.settings import find_vllm
from rtsearch_fast.errors import MissingExtraError

__all__ = ["model_folder"]


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
