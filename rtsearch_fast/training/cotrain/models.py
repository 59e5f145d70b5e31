"""The models of a stage as the search sees them: a policy and a reward model over one engine."""

from __future__ import annotations

from pathlib import Path

from ...engine.protocol import Engine
from ...policy.prompt import PromptTemplate
from ...policy.prompted import PromptedPolicy
from ...policy.protocol import Policy
from ...reward.calculated import CalculatedReward
from ...reward.generative import GenerativeReward
from ...reward.protocol import Reward
from ...reward.question import JudgeTemplate
from ...reward.written import WrittenReward
from ...splitters import unescape
from ..settings import RewardSettings
from .settings import CotrainSettings

__all__ = ["open_engine", "policy_of", "reward_of"]


def open_engine(settings: CotrainSettings, folder: Path) -> Engine:
    """Load a model to sample from, or to judge with."""
    if settings.engine == "vllm":
        from ...engine.vllm import VllmEngine

        return VllmEngine(folder, max_sequences=settings.sequences)
    from ...engine.transformers import TransformersEngine

    return TransformersEngine(folder, max_batch=settings.sequences)


def policy_of(engine: Engine, template: str) -> Policy:
    """The policy that was trained with this template."""
    return PromptedPolicy(engine, PromptTemplate.load(template))


def reward_of(
    engine: Engine, told: RewardSettings, settings: CotrainSettings, *, written: bool
) -> Reward:
    """The reward model that was trained with these settings, as search uses it."""
    template = JudgeTemplate.load(told.template)
    inner: Reward
    if written:
        inner = WrittenReward(
            engine,
            JudgeTemplate.load(told.check_template or told.template),
            told.labels,
            settings.check_tokens,
            unescape(told.verdict),
            prefixes="bare",
            bare_template=template,
            calculator=told.calculator,
        )
    else:
        inner = GenerativeReward(engine, template, told.labels)
    return CalculatedReward(inner)
