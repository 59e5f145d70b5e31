"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import hypothesis
import pytest

from rtsearch_fast.engine.batching.tiles import keep_from_tiles

if find_spec("torch") is not None:
    # before any test computes, as in a process that begins with an engine
    keep_from_tiles()
# a busy machine is no fault of what is tested
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty folder.

    A program started with ``python -c`` looks for modules in its folder first, and in the root of
    the repository would find the package's sources without their compiled core.
    """
    here = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(here)
