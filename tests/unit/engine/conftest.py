"""A program in the place of vLLM, found as vLLM is found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtsearch_fast.engine.server import process as server
from rtsearch_fast.engine.server import state as server_state


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("RTSEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def install_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a distribution that brings the module `vllm` the one that is found."""

    def install(
        version: str | None = "0.32.0",
        name: str = "vllm",
        *,
        server: bool = True,
        alone: bool = True,
    ) -> None:
        site = tmp_path / "site"
        module = site / "vllm" / "entrypoints" / "openai"
        module.mkdir(parents=True, exist_ok=True)
        for folder in (site / "vllm", module.parent, module):
            (folder / "__init__.py").touch()
        if server:
            source = Path(__file__).with_name("fake_vllm.py").read_text("utf-8")
            (module / "api_server.py").write_text(source, "utf-8")
        if version is not None:
            info = site / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        others = [path for path in sys.path if not (alone and "site-packages" in path)]
        monkeypatch.setattr(sys, "path", [str(site), *others])
        monkeypatch.setenv("PYTHONPATH", str(site))
        monkeypatch.delitem(sys.modules, "vllm", raising=False)

    return install


@pytest.fixture
def vllm(install_vllm: Callable[..., None], cache: Path) -> Iterator[None]:
    """A stand-in for vLLM 0.32.0; what it started is ended after the test."""
    install_vllm(alone=False)
    yield
    for port in server_state.known_ports():
        server.stop_server(port, grace=0.0)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that passes for a model's."""
    folder = tmp_path / "some-model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return str(folder)
