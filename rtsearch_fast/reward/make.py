"""The reward model that a format makes of an engine."""

from __future__ import annotations

from typing import cast

from ..engine.marks import MarkReader
from ..engine.pooling_protocol import Classifier, TokenClassifier
from ..engine.protocol import Engine
from ..errors import InvalidArgumentError
from .classifier import ClassifierReward
from .generative import GenerativeReward
from .parsed import ParsedReward
from .process import ProcessReward
from .protocol import Reward
from .spec import RewardSpec
from .written import WrittenReward

__all__ = ["AnyEngine", "make_reward"]

AnyEngine = Engine | Classifier | TokenClassifier | MarkReader


def make_reward(spec: RewardSpec, engine: AnyEngine) -> Reward:
    """Return the reward model of this format over an engine.

    Parameters
    ----------
    spec : RewardSpec
    engine : Engine, Classifier, TokenClassifier or MarkReader
        One that generates reads labels and what is written; `HeadEngine` heads and labels;
        `PoolingEngine` heads.

    Raises
    ------
    InvalidArgumentError
        The engine cannot read this format, or its tokenizer is not that of the format.
    """
    _check_tokens(spec, engine)
    if spec.step and not spec.writes:
        return ProcessReward(cast(MarkReader, engine), spec)  # which looks what it is
    if spec.read in ("class", "value"):
        positive = spec.positive if spec.read == "class" else None
        classifier = cast(Classifier, _able(engine, "classify", spec))
        return ClassifierReward(classifier, spec.question, positive=positive, squash=spec.squash)
    if spec.read != "label":
        return ParsedReward(cast(Engine, _able(engine, "complete", spec)), spec)
    generator = cast(Engine, _able(engine, "label_logprobs", spec))
    if not spec.writes:
        return GenerativeReward(generator, spec.question, spec.label_pair)
    return WrittenReward(generator, spec.question, spec.label_pair, spec.max_tokens, spec.verdict)


def _able(engine: AnyEngine, method: str, spec: RewardSpec) -> AnyEngine:
    if not hasattr(engine, method):
        raise InvalidArgumentError(
            f"reward {spec.name} reads {spec.read}, which {type(engine).__name__} cannot: use an "
            f"engine with `{method}`"
        )
    return engine


def _check_tokens(spec: RewardSpec, engine: AnyEngine) -> None:
    """Compare the ids that the format knows with those of an engine that tells them."""
    encode = getattr(engine, "encode", None)
    if encode is None:
        return
    for text, token in spec.tokens.items():
        found = encode(text)
        if found[-1:] != [token]:
            raise InvalidArgumentError(
                f"reward {spec.name}: {text!r} ends in the token {token}, in {engine.name} it is "
                f"{found}: this is another model's format, or the tokenizer is not the model's"
            )
