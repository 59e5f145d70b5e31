"""The local model server of the engine tests, as fixtures."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _load(name: str):
    """Make a helper module beside this file importable by its name; tests are no packages."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


_server = _load("openai_server")
_load("engine_calls")


@pytest.fixture
def start_server() -> Iterator[Callable[..., object]]:
    """Start servers with `OpenAIServer`'s arguments; they are closed after the test."""
    servers = []

    def start(*args, **kwargs):
        servers.append(_server.OpenAIServer(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def openai_server(start_server):
    """A server that speaks vLLM's dialect."""
    return start_server()
