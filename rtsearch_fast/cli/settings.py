"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ..reward.written import VERDICT
from ..search.methods import make_method
from ..search.options import Budget, SearchOptions
from ..steps import make_splitter

__all__ = ["POLICY", "REWARD", "SMOLLM2", "STDIN", "BudgetFlags", "ModelFlags", "check_search"]

#: What "-" on the command line stands for.
STDIN = "/dev/stdin"

#: The pair that comes with rtsearch: small, and trained on two families of problems alone.
POLICY = "tiny-policy"
REWARD = "tiny-reward"
#: Most tokens of its checks; none that is right has more.
CHECK_TOKENS = 80
#: A chat model that needs no download site.
SMOLLM2 = "smollm2-135m"


RewardKind = Literal["generative", "classifier", "process"]
Prefixes = Literal["written", "bare"]


@Parameter(name="*")
@dataclass(frozen=True)
class ModelFlags:
    """Models."""

    model: str | None = None
    """Policy model: a folder in Hugging Face format, or the name that the server at --base-url
    serves; or smollm2-135m. Default: tiny-policy, which comes with rtsearch (or the server's only
    model)."""

    base_url: str | None = None
    """Server with an OpenAI-compatible /v1/completions, e.g. http://127.0.0.1:8000/v1; several,
    with commas between, for as many replicas."""

    reward_model: str | None = None
    """Reward model, as --model. Default: tiny-reward judges tiny-policy, any other policy model
    judges its own solutions."""

    reward_base_url: str | None = None
    """Server of the reward model. Default: that of the policy."""

    template: str | None = None
    """Prompt of the policy: plain, chatml, llama3, labelled, bare, or a file with {problem} in it.
    Default: bare for tiny-policy, chatml for smollm2-135m, else plain."""

    reward: str | None = None
    """Format of the reward model: a name such as qwen2.5-math-prm or math-shepherd (docs/rewards.md
    lists them) or a YAML file. It says all that --reward-kind and what follows it would;
    `rtsearch doctor --reward NAME` shows what it reads."""

    reward_kind: RewardKind = "generative"
    """How the reward model judges: generative (by its next word), classifier (by a class of the
    whole text) or process (by a class of each step). The last two need a vLLM server of their own
    that was started with --runner pooling: --reward-base-url."""

    reward_template: str | None = None
    """Question to the reward model: followup (in the policy's own conversation, which is in the
    prefix cache already: for a model that judges itself), plain, chatml, llama3, verdict, check
    (process: qwen-prm, plain), or a file with {problem} and {solution} in it. Default: verdict for
    tiny-reward, else as --template if that is a preset (process: qwen-prm)."""

    reward_check_tokens: int | None = None
    """Most tokens of a check that the reward model writes before its label (generative); 0: the
    bare label. Default: 80 for tiny-reward, else 0."""

    reward_calculator: bool | None = None
    """Show the reward model solutions whose arithmetic the calculator put right, and work out the
    sums of its check (generative); it must have been trained so, as rtsearch train cotrain does.
    Default: for tiny-reward."""

    reward_verdict: str = VERDICT
    """What stands between check and label, as the reward model was trained; \\n is a line break."""

    reward_check_template: str | None = None
    """Question that a written check answers, as --reward-template. Default: check for tiny-reward,
    else --reward-template."""

    reward_prefixes: Prefixes | None = None
    """How solutions without an answer yet are judged where checks are written: written, too, or
    bare (by the label alone, after --reward-template). Default: bare for tiny-reward, else
    written."""

    reward_aggregation: str | None = None
    """How the scores of the steps become that of a solution (process, or a --reward of steps):
    last, min, max, product, mean, or NAME:K for the last K steps. Default: last, or as the format
    has it."""

    reward_step_tag: str = "<extra_0>"
    """Token that ends each step, as the reward model was trained (process)."""

    reward_golden: Path | None = None
    """File of scores that the reward model must give before a search begins, as doctor
    --write-golden records them. Default: for the embedded model those that come with rtsearch."""

    labels: tuple[str, str] = ("Yes", "No")
    """The reward model's labels, one token each, the positive first."""

    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the servers' API key."""

    retries: int = 4
    """Further tries of a server that cannot be reached, is overloaded or fails."""

    timeout: float = 600.0
    """Seconds that one answer of a server may take."""

    patience: float = 300.0
    """Seconds to wait for a server that is lost in the middle of a run."""

    vllm: Annotated[bool, Parameter(negative=())] = False
    """Run --model with vLLM in this process, instead of transformers."""

    sequences: int | None = None
    """Sequences that the policy's engine generates at once (a server's --max-num-seqs): problems
    are begun while fewer are wanted. Default: 128; 64 with transformers in this process."""

    record: Path | None = None
    """Keep every answer of the models in this file, and take those that it holds from there."""

    replay: Path | None = None
    """Take all answers from this file, without any model."""

    @property
    def servers(self) -> list[str]:
        """The servers that the flags name for the policy."""
        return _urls(self.base_url)

    def of_replica(self, number: int) -> ModelFlags:
        """The flags of one replica: its own of the servers."""
        policy, reward = _urls(self.base_url), _urls(self.reward_base_url)
        return replace(
            self,
            base_url=policy[number % len(policy)] if policy else None,
            reward_base_url=reward[number % len(reward)] if reward else None,
        )

    def resolved(self) -> ModelFlags:
        """These flags, with what follows from the models in the place of what was left out."""
        policy = self.embedded_policy
        changes: dict[str, Any] = {"model": policy or self.model}
        if self.template is None:
            changes["template"] = {POLICY: "bare", SMOLLM2: "chatml"}.get(policy or "", "plain")
        if self.reward is not None:
            return replace(self, **changes)
        if self.reward_model is None and self.judge_base_url is None and policy == POLICY:
            changes["reward_model"] = REWARD
        judge = replace(self, **changes)
        tiny = judge.reward_kind == "generative" and judge.reward_model == REWARD
        defaults: dict[str, Any] = {
            "reward_template": "verdict" if tiny else None,
            "reward_check_template": "check" if tiny else None,
            "reward_check_tokens": CHECK_TOKENS if tiny else 0,
            "reward_prefixes": "bare" if tiny else "written",
            "reward_calculator": tiny,
        }
        left_out = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return replace(judge, **left_out)

    @property
    def embedded_policy(self) -> str | None:
        """The name of the policy if it is one that needs no server and no download site."""
        served = self.base_url is not None or self.replay is not None
        model = self.model or POLICY
        return None if served or model not in (POLICY, REWARD, SMOLLM2) else model

    @property
    def judge_base_url(self) -> str | None:
        """The server of a reward model that is not the policy; None runs it in this process."""
        if self.reward_base_url is None and self.reward_model:
            return None if Path(self.reward_model).is_dir() else self.base_url
        return self.reward_base_url

    @property
    def judge_is_embedded(self) -> bool:
        """Is the reward model an embedded one, in this process?"""
        if self.reward or self.reward_kind != "generative" or self.judge_base_url is not None:
            return False
        embedded = (POLICY, REWARD, SMOLLM2)
        return self.reward_model in embedded if self.reward_model else bool(self.embedded_policy)

    @property
    def default_tokens(self) -> int:
        """Budget of a problem where none is given: what a CPU does in reasonable time, or more."""
        return 600 if self.embedded_policy else 2000


def _urls(text: str | None) -> list[str]:
    return [url.strip() for url in (text or "").split(",") if url.strip()]


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
