"""The reward models that the flags of the command line stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from ..engine.pooling import PoolingEngine
from ..engine.protocol import Engine
from ..engine.served_heads import ServedHeads
from ..errors import InvalidArgumentError
from ..policy.prompt import PromptTemplate
from ..reward.calculated import CalculatedReward
from ..reward.classifier import ClassifierReward
from ..reward.generative import GenerativeReward
from ..reward.make import AnyEngine
from ..reward.process import ProcessReward
from ..reward.protocol import Reward
from ..reward.question import JudgeTemplate
from ..reward.spec import RewardSpec
from ..reward.stepwise import ProcessTemplate
from ..reward.written import WrittenReward

if TYPE_CHECKING:
    from .settings import ModelFlags

__all__ = ["generative_reward", "pooled_reward", "pooling_task", "reward_spec", "spec_engine"]

#: Flags that say what a format says.
_OF_FORMATS = (
    "reward_kind",
    "reward_template",
    "reward_check_tokens",
    "reward_calculator",
    "reward_verdict",
    "reward_check_template",
    "reward_prefixes",
    "reward_step_tag",
    "labels",
)


def reward_spec(flags: ModelFlags) -> RewardSpec:
    """The format that --reward names, with the aggregation of --reward-aggregation.

    Raises
    ------
    InvalidArgumentError
        Another flag says what the format says.
    DataError
        There is no such format.
    """
    assert flags.reward is not None
    defaults = {field.name: field.default for field in fields(flags)}
    for name in _OF_FORMATS:
        if getattr(flags, name) != defaults[name]:
            raise InvalidArgumentError(
                f"--{name.replace('_', '-')} and --reward {flags.reward}: the format says that "
                "already: leave one out"
            )
    spec = RewardSpec.load(flags.reward)
    if flags.reward_aggregation is None:
        return spec
    return replace(spec, aggregation=flags.reward_aggregation)


def spec_engine(
    spec: RewardSpec,
    flags: ModelFlags,
    policy: Engine,
    generator: Callable[[], Engine],
) -> AnyEngine:
    """What runs the reward model of a format.

    Parameters
    ----------
    spec : RewardSpec
    flags : ModelFlags
    policy : Engine
        Judges itself where no other model is named.
    generator : callable
        Makes the engine of a reward model that generates.
    """
    if flags.reward_model is None and flags.reward_base_url is None:
        if spec.source:
            raise InvalidArgumentError(
                f"--reward {flags.reward} is the format of {spec.source}: name the model by "
                "--reward-model FOLDER, or its server by --reward-base-url"
            )
        return policy
    url = flags.judge_base_url
    if spec.writes or (spec.read == "label" and (url is not None or not spec.step)):
        return generator()
    if flags.reward_base_url is not None:
        served = _pooling_engine(flags, flags.reward_base_url)
        reads_marks = bool(spec.step) and served.task() == "classify"
        return ServedHeads(served) if reads_marks else served
    if url is not None:
        raise InvalidArgumentError(
            f"--reward {flags.reward} reads a head, which a server that generates has not: give "
            "--reward-base-url, a vLLM server with --runner pooling, or --reward-model FOLDER"
        )
    from ..engine.embedded import model_folder
    from ..engine.heads import HeadEngine

    return HeadEngine(model_folder(flags.reward_model or ""), labels=spec.labels or None)


def generative_reward(
    flags: ModelFlags, judge: str, prompt: PromptTemplate
) -> Callable[[Engine], Reward]:
    """What makes the reward model of --reward-kind generative out of its engine.

    Templates are read now: a missing file should not cost the loading of a model.

    Parameters
    ----------
    flags : ModelFlags
    judge : str
        The template of the bare label.
    prompt : PromptTemplate
        The policy's, for questions that follow in its conversation.
    """

    def load(name: str) -> JudgeTemplate:
        follows = name == "followup"
        return JudgeTemplate.following(prompt.template) if follows else JudgeTemplate.load(name)

    check_tokens = flags.reward_check_tokens or 0
    if check_tokens < 0:
        raise InvalidArgumentError(
            f"--reward-check-tokens {check_tokens}: give a number of tokens, or 0 for "
            "the bare label"
        )
    bare = load(judge)
    question = load(flags.reward_check_template or judge)

    def make(engine: Engine) -> Reward:
        if check_tokens == 0:
            return GenerativeReward(engine, bare, flags.labels)
        return WrittenReward(
            engine,
            question,
            flags.labels,
            check_tokens,
            flags.reward_verdict.replace("\\n", "\n"),
            prefixes=flags.reward_prefixes or "written",
            bare_template=bare,
            calculator=bool(flags.reward_calculator),
        )

    return (lambda engine: CalculatedReward(make(engine))) if flags.reward_calculator else make


def pooling_task(flags: ModelFlags) -> str:
    """What a server must be started for to serve the reward model."""
    if flags.reward is not None:
        return "token_classify" if reward_spec(flags).step else "classify"
    return "classify" if flags.reward_kind == "classifier" else "token_classify"


def pooled_reward(
    flags: ModelFlags, judge: str
) -> tuple[PoolingEngine, ClassifierReward | ProcessReward]:
    """The reward model of --reward-kind classifier or process, and its engine.

    Parameters
    ----------
    flags : ModelFlags
    judge : str
        The classifier's template.
    """
    if flags.reward_check_tokens:
        raise InvalidArgumentError(
            f"--reward-check-tokens {flags.reward_check_tokens} needs --reward-kind generative: a "
            f"{flags.reward_kind} reward model writes nothing"
        )
    if flags.reward_calculator:
        raise InvalidArgumentError(
            f"--reward-calculator needs --reward-kind generative: a {flags.reward_kind} reward "
            "model is shown solutions as they are"
        )
    if flags.reward_base_url is None:
        # the policy's server cannot be meant: one that classifies does not generate
        raise InvalidArgumentError(
            f"--reward-kind {flags.reward_kind} needs --reward-base-url: a vLLM server that runs "
            "the reward model with --runner pooling"
        )
    engine = _pooling_engine(flags, flags.reward_base_url)
    if flags.reward_kind == "classifier":
        return engine, ClassifierReward(engine, JudgeTemplate.load(judge))
    template = ProcessTemplate.load(flags.reward_template or "qwen-prm", flags.reward_step_tag)
    spec = RewardSpec(
        template.template.name,
        template.template.text,
        "class",
        step=template.step,
        tag=template.step_tag,
        aggregation=flags.reward_aggregation or "last",
    )
    return engine, ProcessReward(engine, spec)


def _pooling_engine(flags: ModelFlags, url: str) -> PoolingEngine:
    return PoolingEngine(
        url,
        flags.reward_model,
        api_key_env=flags.api_key_env,
        timeout=flags.timeout,
        retries=flags.retries,
        patience=flags.patience,
    )
