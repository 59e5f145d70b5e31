"""A run over real vLLM, replayed: the same signatures, whatever the concurrency."""

from __future__ import annotations

import json

import pytest
from recorded import METHODS, RECORDING, SIGNATURES, replay

from rtsearch_fast.runs.recording import Recording


@pytest.mark.parametrize("name", METHODS)
def test_replayed_run_has_the_signatures_of_the_recorded_one(name: str) -> None:
    expected = json.loads(SIGNATURES.read_text())[name]
    for settings in ({}, {"sequences": 1}, {"sequences": 8, "concurrency": 2}):
        with Recording(RECORDING, replay=True) as recording:
            results = replay(name, recording, **settings)
        assert [result.signature for result in results] == expected, settings
    assert sum(result.answer is not None for result in results) >= 3
