"""What the stages of a co-training are made with: settings, the stages' folders, models at work."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from ...engine.protocol import Engine
from ...errors import InvalidArgumentError
from ...evaluation.data import Item
from ...reward.protocol import Reward
from ..samples import Sampled
from ..settings import DpoSettings, RewardSettings, SftSettings
from .measure import measure_adversarial, measure_reward, score_steps
from .models import open_engine, policy_of, reward_of
from .sampling import NoReward, sample_solutions
from .settings import CotrainSettings
from .stages import Stages

__all__ = ["Workbench"]

T = TypeVar("T")

#: Settings of a trainer that do not decide what it makes.
_OF_NO_ACCOUNT = {
    "data",
    "eval_data",
    "model",
    "tokenizer",
    "output",
    "resume",
    "logging_steps",
    "save_steps",
    "keep",
    "report_to",
}


class Workbench:
    """Runs stages, trainers and models for the loop.

    Parameters
    ----------
    settings : CotrainSettings
    sft, reward, dpo : SftSettings, RewardSettings, DpoSettings
    quiet : bool
        Tell nothing on stderr.
    """

    def __init__(
        self,
        settings: CotrainSettings,
        sft: SftSettings,
        reward: RewardSettings,
        dpo: DpoSettings,
        quiet: bool,
    ) -> None:
        assert settings.output is not None
        self.output = settings.output
        self.settings = settings
        self.sft, self.reward, self.dpo = sft, reward, dpo
        self.quiet = quiet
        self.stages = Stages(settings.output, quiet=quiet)
        #: Folders of what was trained, by stage.
        self.trained: dict[str, Path] = {}

    @property
    def is_written(self) -> bool:
        """Whether the reward model writes checks."""
        return self.settings.written and bool(self.settings.families)

    def told(self, names: Sequence[str], *folders: Path | None) -> dict[str, Any]:
        """What decides a stage that trains nothing: settings, and the stages it builds on."""
        return {
            "settings": {name: getattr(self.settings, name) for name in ("seed", *names)},
            "template": self.sft.template,
            "folders": [None if f is None else self.stages.identity(f) for f in folders],
        }

    def train(self, name: str, train: Callable[..., Any], told: Any, *folders: Path) -> Path:
        """Run a trainer as a stage, which goes on from its checkpoints; returns the model."""

        def work(folder: Path) -> dict[str, Any]:
            resumed = bool(list(folder.glob("checkpoint-*")))
            if not resumed:
                shutil.rmtree(folder)
            result = train(replace(told, output=folder, resume=resumed), quiet=self.quiet)
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            return dict(result.metrics)

        # where files lie does not matter, what they hold does
        facts = {k: v for k, v in asdict(told).items() if k not in _OF_NO_ACCOUNT}
        facts["folders"] = [self.stages.identity(folder) for folder in folders]
        self.trained[name] = self.stages.run(name, work, facts, resumable=True)
        return self.trained[name]

    def draw(
        self,
        items: Sequence[Item],
        policy: Path,
        judge: Path | None,
        samples: int,
        *,
        greedy: bool = False,
    ) -> list[Sampled]:
        """Sample solutions, with scores if there is a judge."""

        async def draw(engine: Engine) -> list[Sampled]:
            reward: Reward = NoReward()
            judging: Engine | None = None
            if judge is not None:
                judging = open_engine(self.settings, judge)
                reward = self._judge(judging)
            try:
                return await sample_solutions(
                    items,
                    policy_of(engine, self.sft.template),
                    reward,
                    self.settings,
                    samples=samples,
                    greedy=greedy,
                    quiet=self.quiet,
                )
            finally:
                if judging is not None:
                    await judging.aclose()

        return self.with_engine(policy, draw)

    def with_scores(self, samples: Sequence[Sampled], judge: Path) -> tuple[list[Sampled], int]:
        """The samples with the scores of a reward model, and the tokens that these cost."""
        asked = [(s.problem, s.solution) for s in samples if s.answer is not None]

        async def ask(engine: Engine) -> tuple[list[float], int]:
            return await score_steps(self._judge(engine), asked)

        scores, tokens = self.with_engine(judge, ask)
        told = iter(scores)
        return [s if s.answer is None else replace(s, score=next(told)) for s in samples], tokens

    async def ask(self, engine: Engine, sampled: Sequence[Sampled]) -> dict[str, Any]:
        """Measure a generative judge in all its forms."""
        found = await self.ask_judge(self._judge(engine, written=False), sampled, "bare label")
        if self.is_written:
            judge = self._judge(engine, written=True)
            found |= await self.ask_judge(judge, sampled, "written check", steps=False)
        return found

    async def ask_judge(
        self, judge: Reward, sampled: Sequence[Sampled], form: str, *, steps: bool = True
    ) -> dict[str, Any]:
        """Measure a judge on samples and on traps."""
        found: dict[str, Any] = {form: await measure_reward(judge, sampled, steps=steps)}
        if self.settings.families:
            found[f"{form}, adversarial"] = await measure_adversarial(judge, self.settings)
        return found

    def _judge(self, engine: Engine, *, written: bool | None = None) -> Reward:
        if self.reward.kind != "generative":
            raise InvalidArgumentError(
                f"reward kind={self.reward.kind!r}: co-training samples with a generative one"
            )
        if written is None:
            written = self.is_written
        return reward_of(engine, self.reward, self.settings, written=written)

    def with_engine(self, model: Path, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Do something with a model that is loaded for it."""

        async def run() -> T:
            engine = open_engine(self.settings, model)
            try:
                return await work(engine)
            finally:
                await engine.aclose()

        return asyncio.run(run())
