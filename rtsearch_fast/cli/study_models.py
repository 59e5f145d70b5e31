"""The models of a study's cells: loaded once, behind one memo for all cells that ask the same."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ..runs.memo import MemoPolicy, MemoReward
from ..runs.study.grid import Cell
from ..runs.study.shard import Setup
from .models import SEQUENCES, Models
from .settings import ModelFlags
from .study_recipe import StudyRecipe

__all__ = ["StudyModels"]


class StudyModels:
    """Gives cells what they run with.

    Parameters
    ----------
    plan : StudyRecipe
    """

    def __init__(self, plan: StudyRecipe) -> None:
        self._plan = plan
        self._models: dict[ModelFlags, Models] = {}
        self._policies: dict[tuple[str, str], MemoPolicy] = {}
        self._rewards: dict[tuple[str, str], MemoReward] = {}

    def setup(self, cell: Cell) -> Setup:
        """What a cell runs with."""
        settings = self._plan.settings(cell)
        flags = settings.models.resolved()
        if flags not in self._models:
            self._models[flags] = Models(flags)
        models = self._models[flags]
        weights = _weights(flags.model)
        judging = weights if flags.reward_model is None else _weights(flags.reward_model)
        policy = self._policies.setdefault((models.policy.name, weights), MemoPolicy(models.policy))
        reward = self._rewards.setdefault((models.reward.name, judging), MemoReward(models.reward))
        sequences = flags.sequences or int(getattr(models.engine, "max_sequences", SEQUENCES))
        return Setup(
            policy, reward, settings.options, settings.splitter, f"{weights}/{judging}", sequences
        )

    async def aclose(self) -> None:
        for models in self._models.values():
            await models.aclose()


@cache
def _weights(model: str | None) -> str:
    """A hash of a model's files, "" if it is no folder: a model trained anew keeps its name."""
    from ..engine.embedded import SHIPPED_MODELS, embedded_model

    folder = embedded_model(model) if model in SHIPPED_MODELS else Path(model or "")
    if model is None or not folder.is_dir():
        return ""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json"):
            digest.update(path.name.encode())
            with open(path, "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
