"""The models that the flags of a command line stand for."""

from __future__ import annotations

from ..engine.protocol import Engine
from ..errors import InvalidArgumentError
from ..policy.prompt import PromptTemplate
from ..policy.prompted import PromptedPolicy
from ..policy.protocol import Policy
from ..reward.golden import Golden, check_golden
from ..reward.make import AnyEngine, make_reward
from ..reward.protocol import Reward
from ..reward.question import PRESETS as JUDGE_PRESETS
from ..runs.recording import RecordedPolicy, RecordedReward, Recording
from ..search.options import Budget, SearchOptions
from ..search.searcher import Searcher
from .rewards import generative_reward, pooled_reward, reward_spec, spec_engine
from .settings import POLICY, ModelFlags

__all__ = ["SEQUENCES", "Models"]

#: Sequences in flight where neither the user nor the engine says how many.
SEQUENCES = 128


class Models:
    """The policy and the reward model that the flags name.

    Parameters
    ----------
    flags : ModelFlags

    Attributes
    ----------
    policy, reward : Policy, Reward
    engine, reward_engine : Engine, or one that reads heads, optional
        What runs them; None where all answers come from a recording.
    golden : Golden, optional
        Scores that the reward model must give, where some are known.
    """

    policy: Policy
    reward: Reward
    engine: Engine | None = None
    reward_engine: AnyEngine | None = None
    golden: Golden | None = None

    def __init__(self, flags: ModelFlags) -> None:
        if flags.vllm and flags.base_url is not None:
            raise InvalidArgumentError(
                "--vllm runs the model in this process, --base-url names a server: leave one out"
            )
        for url in (flags.base_url, flags.reward_base_url):
            if url is not None and "," in url:
                raise InvalidArgumentError(
                    f"{url}: several servers take several replicas, rtsearch eval --engine ray"
                )
        self._sequences = flags.sequences
        self._recording: Recording | None = None
        if flags.replay is not None:
            if flags.record is not None:
                raise InvalidArgumentError("--record and --replay: give one of them")
            self._recording = Recording(flags.replay, replay=True)
            self.policy = RecordedPolicy(self._recording)
            self.reward = RecordedReward(self._recording)
            return
        flags = flags.resolved()
        template = flags.template or "plain"
        judge = flags.reward_template or (template if template in JUDGE_PRESETS else "plain")
        # read first: a missing file should not cost the loading of a model
        prompt = PromptTemplate.load(template)
        if flags.reward_golden is not None:
            self.golden = Golden.load(flags.reward_golden)
        if flags.record is not None:
            self._recording = Recording(flags.record)
        if flags.reward is not None:
            spec = reward_spec(flags)
            self.engine = policy = _engine(flags.model, flags.base_url, flags)
            self.reward_engine = spec_engine(
                spec,
                flags,
                policy,
                lambda: _engine(flags.reward_model, flags.judge_base_url, flags),
            )
            self.reward = make_reward(spec, self.reward_engine)
        elif flags.reward_kind == "generative":
            make = generative_reward(flags, judge, prompt)
            self.engine = judging = _engine(flags.model, flags.base_url, flags)
            if flags.reward_model or flags.reward_base_url:
                judging = _engine(flags.reward_model, flags.judge_base_url, flags)
            self.reward_engine = judging
            self.reward = make(judging)
        else:
            self.reward_engine, self.reward = pooled_reward(flags, judge)
            self.engine = _engine(flags.model, flags.base_url, flags)
        self.policy = PromptedPolicy(self.engine, prompt)
        if self.golden is None and flags.judge_is_embedded:  # the name of another may be asked for
            self.golden = Golden.known(self.reward.name)
        if self._recording is not None:
            self.policy = RecordedPolicy(self._recording, self.policy)
            self.reward = RecordedReward(self._recording, self.reward)

    async def check_reward(self) -> float | None:
        """Let the reward model give its golden scores, if there are any.

        Returns
        -------
        float or None
            The largest difference that was found.

        Raises
        ------
        RewardGoldenError
            A difference is too large.
        """
        return None if self.golden is None else await check_golden(self.reward, self.golden)

    def searcher(
        self, method: str, budget: Budget, options: SearchOptions, splitter: str, concurrency: int
    ) -> Searcher:
        # an engine in this process knows how many it runs
        sequences = self._sequences
        if sequences is None:
            sequences = int(getattr(self.engine, "max_sequences", SEQUENCES))
        return Searcher(
            self.policy,
            self.reward,
            method=method,
            budget=budget,
            options=options,
            splitter=splitter,
            sequences=sequences,
            concurrency=concurrency,
        )

    async def aclose(self) -> None:
        await self.policy.aclose()
        await self.reward.aclose()
        if self._recording is not None:
            self._recording.close()


def _engine(model: str | None, base_url: str | None, flags: ModelFlags) -> Engine:
    if base_url is not None:
        from ..engine.completions import CompletionsEngine

        return CompletionsEngine(
            base_url,
            model,
            api_key_env=flags.api_key_env,
            timeout=flags.timeout,
            retries=flags.retries,
            patience=flags.patience,
            # all samples in flight, and as many judgements
            max_concurrency=max(256, 3 * (flags.sequences or SEQUENCES)),
        )
    from ..engine.embedded import model_folder

    folder = model_folder(model or POLICY)
    if flags.vllm:
        from ..engine.vllm import VllmEngine

        sequences = SEQUENCES if flags.sequences is None else flags.sequences
        return VllmEngine(folder, max_sequences=sequences)
    from ..engine.transformers import TransformersEngine

    return TransformersEngine(folder)
