"""The plugin: one conversation in, one answer out, and how many tokens it took."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from ...aio import run_apart
from ...answers import final_answer
from ...engine.protocol import Engine
from ...errors import EngineError
from ...reward.generative import GenerativeReward
from ...reward.protocol import Reward
from ...search.options import Budget, SearchOptions
from ...search.records import Problem, SearchResult
from ...search.searcher import Searcher
from ...steps import Splitter, make_splitter
from ..foreign import ForeignPolicy, ForeignReward
from ..leaves import chosen, spread_leaves
from .chat import ChatJudge, ChatWriter, continues_messages, tells_labels
from .settings import Settings

__all__ = ["SLUG", "run"]

SLUG = "rtsearch"

_log = logging.getLogger(__name__)
#: Search trees: they go on from a step that is written.
_TREES = ("beam", "mcts", "mcts_g")
#: Fields of a request that say how to sample, and are passed on.
_PASSED = ("frequency_penalty", "presence_penalty", "logit_bias")


class AnyAnswer:
    """A splitter for texts of any kind: where they box no answer, they are it."""

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._splitter, name)

    def answer(self, text: str) -> str | None:
        return final_answer(text) or text.strip() or None


def run(
    system_prompt: str,
    initial_query: str,
    client: Any,
    model: str,
    request_config: Mapping[str, Any] | None = None,
    messages: Sequence[dict[str, Any]] | None = None,
) -> tuple[str, int]:
    """Answer a conversation by a search.

    Parameters
    ----------
    system_prompt, initial_query : str
        The conversation, flattened by optillm.
    client : openai.OpenAI, or what looks like it
    model : str
    request_config : mapping, optional
        The fields of the request; `rtsearch` holds settings (see `Settings`).
    messages : sequence of dict, optional
        The conversation as it came; the flattened one is used where it is missing.

    Returns
    -------
    str
        The answer.
    int
        Tokens that were generated, judgements included.

    Raises
    ------
    InvalidArgumentError
        A setting is wrong.
    EngineError
        The server does not answer, or no answer came about.
    """
    config = dict(request_config or {})
    settings = Settings.of(os.environ, config.get("rtsearch"))
    if not messages:
        messages = [{"role": "system", "content": system_prompt}] if system_prompt else []
        messages.append({"role": "user", "content": initial_query})
    found = run_apart(_search(settings, config, client, model, messages, initial_query))
    if not found.candidates:
        raise EngineError(
            f"no answer came about within budget={settings.budget} (stopped by "
            f"{found.stop_reason}): give more"
        )
    return found.candidates[chosen(found)].text.strip(), found.usage.tokens


async def _search(
    settings: Settings,
    config: Mapping[str, Any],
    client: Any,
    model: str,
    messages: Sequence[dict[str, Any]],
    flattened: str,
) -> SearchResult:
    continues = {"yes": True, "no": False}.get(settings.prefill)
    if continues is None:
        continues = continues_messages(client, model)
    reward = _reward(settings, client, model)
    method = _method(settings, continues, reward is not None)
    limit_name = "max_completion_tokens" if "max_completion_tokens" in config else "max_tokens"
    writer = ChatWriter(
        client,
        model,
        messages,
        continues=continues,
        limit_name=limit_name,
        **{name: config[name] for name in _PASSED if config.get(name) is not None},
    )
    policy = ForeignPolicy(f"chat/{model}", writer, single=True, threads=settings.concurrency)
    options, simulations = _options(settings, config), settings.budget
    if method in ("mcts", "mcts_g"):
        options, simulations = spread_leaves(options, settings.budget)
    elif method == "beam":
        beam = min(options.beam_width, settings.budget)
        options = replace(options, beam_width=beam, width=settings.budget // beam)
        simulations = beam * options.max_depth  # never met
    budget = Budget(simulations=simulations, tokens=settings.tokens, seconds=settings.seconds)
    searcher = Searcher(
        policy,
        reward or ForeignReward("no verdict", lambda problem, solutions: [None] * len(solutions)),
        method=method,
        budget=budget,
        options=options,
        splitter=cast(Splitter, AnyAnswer(make_splitter(settings.splitter))),
        sequences=settings.concurrency,
    )
    try:
        (found,) = await searcher.solve_async([Problem("0", _problem(messages, flattened))])
    finally:
        await searcher.reward.aclose()
        await policy.aclose()
    _log.info(
        "rtsearch: %s, %d solutions, %d + %d tokens of solutions + judgements, stopped by %s",
        *(method, len(found.candidates), found.usage.policy_tokens, found.usage.reward_tokens),
        found.stop_reason,
    )
    return found


def _problem(messages: Sequence[dict[str, Any]], flattened: str) -> str:
    """What a reward model is shown: the only question, or the whole conversation."""
    asked = [message.get("content") for message in messages if message.get("role") != "system"]
    return asked[0] if len(asked) == 1 and isinstance(asked[0], str) else flattened


def _options(settings: Settings, config: Mapping[str, Any]) -> SearchOptions:
    limit = int(config.get("max_tokens") or 4096)
    return SearchOptions(
        width=settings.width,
        exploration=settings.exploration,
        value=settings.value,  # type: ignore[arg-type]
        in_flight=settings.in_flight,
        max_depth=settings.max_depth,
        calculator=settings.calculator,
        seed=secrets.randbelow(2**31) if settings.seed is None else settings.seed,
        temperature=float(config.get("temperature", 0.8)),
        top_p=float(config.get("top_p", 1.0)),
        max_solution_tokens=limit,
        max_step_tokens=limit,
        narrow=settings.tokens is not None,
    )


def _method(settings: Settings, continues: bool, judged: bool) -> str:
    """The method asked for, or the one of those that can be had that is nearest to it."""
    method = settings.method
    if method in _TREES and not continues:
        method = "weighted_majority"
        _log.warning(
            "rtsearch: %s needs a server that continues messages, as vLLM and SGLang do; whole "
            "solutions are drawn instead (RTSEARCH_PREFILL=yes if yours does)",
            settings.method,
        )
    if method not in ("cot", "majority") and not judged:
        _log.warning("rtsearch: %s has nobody to judge; the majority decides", settings.method)
        method = "majority"
    return method


def _reward(settings: Settings, client: Any, model: str) -> Reward | None:
    """The reward model; None where there is none, or none is needed."""
    if settings.method in ("cot", "majority"):
        return None
    if settings.reward_url is not None and settings.reward_format is not None:
        return _served(settings.reward_url, settings.reward_format, settings.reward_model)
    if settings.reward == "none" or not tells_labels(client, model):
        return None
    return GenerativeReward(cast(Engine, ChatJudge(client, model, settings.concurrency)))


def _served(url: str, name: str, model: str | None) -> Reward:
    """The reward model of a server; one that generates is asked, any other classifies."""
    from ...engine.completions import CompletionsEngine
    from ...engine.pooling import PoolingEngine
    from ...engine.served_heads import ServedHeads
    from ...reward.make import AnyEngine, make_reward
    from ...reward.spec import RewardSpec

    spec = RewardSpec.load(name)
    engine: AnyEngine
    if spec.writes or (spec.read == "label" and not spec.step):
        engine = CompletionsEngine(url, model)
    else:
        pooling = PoolingEngine(url, model)
        engine = ServedHeads(pooling) if spec.step and pooling.task() == "classify" else pooling
    return make_reward(spec, engine)
