"""Short calls of the HTTP engine, each with an event loop and connections of its own."""

from __future__ import annotations

import asyncio

import pytest

from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.errors import EngineError

__all__ = ["complete", "engine_for", "failure", "labels", "run"]


def engine_for(server_or_url, model="test-model", **kwargs):
    url = server_or_url if isinstance(server_or_url, str) else server_or_url.base_url
    return CompletionsEngine(url, model, **{"retry_wait": 0.0, "timeout": 5.0, **kwargs})


def run(engine, work):
    """Run ``work(engine)`` and close the engine."""

    async def main():
        try:
            return await work(engine)
        finally:
            await engine.aclose()

    return asyncio.run(main())


def complete(engine, prompt="P", seeds=(1,), max_tokens=100, **kwargs):
    request = CompletionRequest(prompt, tuple(seeds), max_tokens, **kwargs)
    return run(engine, lambda engine: engine.complete(request))


def labels(engine, *prompts, names=("Yes", "No")):
    return run(engine, lambda engine: engine.label_logprobs(list(prompts), names))


def failure(engine, kind=EngineError, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        complete(engine, **kwargs)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)
