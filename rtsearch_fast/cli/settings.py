"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..engine.protocol import Engine
from ..policy.prompt import PromptTemplate
from ..policy.prompted import PromptedPolicy
from ..reward.generative import GenerativeReward
from ..reward.question import PRESETS as JUDGE_PRESETS
from ..reward.question import JudgeTemplate
from ..search.methods import make_method
from ..search.options import Budget, SearchOptions
from ..search.searcher import Searcher
from ..steps import make_splitter

__all__ = ["EMBEDDED", "STDIN", "BudgetFlags", "ModelFlags", "Models", "check_search"]

#: What "-" on the command line stands for.
STDIN = "/dev/stdin"

#: The model that needs no server and no download site.
EMBEDDED = "smollm2-135m"


@Parameter(name="*")
@dataclass(frozen=True)
class ModelFlags:
    """Models."""

    model: str | None = None
    """Policy model: a folder in Hugging Face format, or the name that the server at --base-url
    serves. Default: the embedded SmolLM2-135M (or the server's only model)."""

    base_url: str | None = None
    """Server with an OpenAI-compatible /v1/completions, e.g. http://127.0.0.1:8000/v1."""

    reward_model: str | None = None
    """Reward model, as --model. Default: the policy model judges its own solutions."""

    reward_base_url: str | None = None
    """Server of the reward model. Default: that of the policy."""

    template: str | None = None
    """Prompt of the policy: plain, chatml, llama3, labelled, or a file with {problem} in it.
    Default: chatml for the embedded model, else plain."""

    reward_template: str | None = None
    """Question to the reward model: plain, chatml, llama3, or a file with {problem} and {solution}
    in it. Default: as --template if that is a preset."""

    labels: tuple[str, str] = ("Yes", "No")
    """The reward model's labels, one token each, the positive first."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the servers' API key."""

    retries: int = 4
    """Further tries of a server that cannot be reached, is overloaded or fails."""

    @property
    def is_embedded(self) -> bool:
        """Is the policy the embedded model?"""
        return self.base_url is None and self.model in (None, EMBEDDED)

    @property
    def default_tokens(self) -> int:
        """Budget of a problem where none is given: what a CPU does in reasonable time, or more."""
        return 600 if self.is_embedded else 2000


@Parameter(name="*")
@dataclass(frozen=True)
class BudgetFlags:
    """Budget of each problem; whichever limit is met first ends its search."""

    budget_tokens: int | None = None
    """Generated tokens, policy and reward model together."""

    budget_simulations: int | None = None
    """Simulations (samples, for the sampling methods)."""

    budget_nodes: int | None = None
    """Nodes of the tree."""

    budget_seconds: Annotated[float | None, Parameter(alias="--max-seconds")] = None
    """Seconds of wall time. Makes runs irreproducible."""

    def to_budget(self, default_tokens: int) -> Budget:
        """The budget; `default_tokens` where no limit is given."""
        limits = (
            self.budget_tokens,
            self.budget_simulations,
            self.budget_nodes,
            self.budget_seconds,
        )
        if all(limit is None for limit in limits):
            return Budget(tokens=default_tokens)
        return Budget(*limits)


def check_search(
    methods: Iterable[str], budget: Budget, options: SearchOptions, splitter: str
) -> None:
    """Refuse bad settings now: it takes a while to load a model."""
    make_splitter(splitter)
    for method in methods:
        make_method(method, options, budget)


class Models:
    """The policy and the reward model that the flags name.

    Parameters
    ----------
    flags : ModelFlags
    """

    def __init__(self, flags: ModelFlags) -> None:
        template = flags.template or ("chatml" if flags.is_embedded else "plain")
        judge = flags.reward_template or (template if template in JUDGE_PRESETS else "plain")
        # read first: a missing file should not cost the loading of a model
        prompt, question = PromptTemplate.load(template), JudgeTemplate.load(judge)
        self.engine = _engine(flags.model, flags.base_url, flags)
        self.reward_engine = self.engine
        if flags.reward_model or flags.reward_base_url:
            base_url = flags.reward_base_url
            if base_url is None and flags.reward_model and not Path(flags.reward_model).is_dir():
                base_url = flags.base_url
            self.reward_engine = _engine(flags.reward_model, base_url, flags)
        self.policy = PromptedPolicy(self.engine, prompt)
        self.reward = GenerativeReward(self.reward_engine, question, flags.labels)

    def searcher(
        self, method: str, budget: Budget, options: SearchOptions, splitter: str, concurrency: int
    ) -> Searcher:
        return Searcher(
            self.policy,
            self.reward,
            method=method,
            budget=budget,
            options=options,
            splitter=splitter,
            concurrency=concurrency,
        )

    async def aclose(self) -> None:
        await self.policy.aclose()
        await self.reward.aclose()


def _engine(model: str | None, base_url: str | None, flags: ModelFlags) -> Engine:
    if base_url is not None:
        from ..engine.completions import CompletionsEngine

        return CompletionsEngine(
            base_url, model, api_key_env=flags.api_key_env, retries=flags.retries
        )
    from ..engine.embedded import embedded_model
    from ..engine.transformers import TransformersEngine

    if model in (None, EMBEDDED):
        return TransformersEngine(embedded_model(EMBEDDED))
    return TransformersEngine(model)
