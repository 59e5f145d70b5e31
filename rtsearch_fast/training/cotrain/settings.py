"""What a co-training is told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import InvalidArgumentError

__all__ = ["CotrainSettings"]


@dataclass(frozen=True, kw_only=True)
class CotrainSettings:
    """Settings of the loop; those of each trainer stand in the recipe's other sections."""

    output: Path | None = None
    """Folder of all stages."""

    families: tuple[str, ...] = ()
    """Families of generated problems: countdown, chain."""

    data: tuple[Path, ...] = ()
    """Or JSONL files of problem, answer and solution."""

    dev_data: tuple[Path, ...] = ()
    """JSONL files of problem and answer that are only measured on, beside --data."""

    solutions: int = 10000
    """Solved problems of each family for the first policy."""

    copied: int = 0
    """Solutions of each family, full of random numbers, from whose written checks a model learns to
    copy, before it learns to judge; 0: none."""

    checked: int = 0
    """Right solutions of each family, and as many wrong ones, whose checks and verdicts the model
    learns that the reward model starts from; without these two it starts from the policy."""

    questions: int = 1000
    """Problems of each family, or of the data, that are sampled in a round."""

    samples: int = 8
    """Solutions sampled of each question."""

    rounds: int = 2
    """Rounds of sampling, reward training and preference optimisation."""

    strategy: Literal["active", "random"] = "active"
    """How samples are chosen for the reward model once it has scores."""

    per_question: int = 4
    """Most chosen samples of a question."""

    prefixes: int = 2
    """Unfinished beginnings of each chosen sample that the reward model learns from, too."""

    adversarial: float = 1.0
    """Wrong solutions made on purpose for each chosen sample, where a family makes such."""

    written: bool = True
    """Teach the reward model to write a check before its label, where a family writes checks."""

    policy_start: str | None = None
    """Folder of a policy in the place of the first stage's."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """What samples in this process."""

    sequences: int = 128
    """Samples in flight."""

    temperature: float = 1.0
    """Of the samples."""

    max_solution_tokens: int = 384
    """Most tokens of a sample."""

    check_tokens: int = 48
    """Most tokens of a written check."""

    dev: int = 200
    """Held-out problems of each family on which each round is measured."""

    compare: bool = False
    """In the end also train the last reward model on samples that are chosen at random, and with a
    head instead of labels, and measure both (compare.json)."""

    seed: int = 0
    """Every random choice derives from it."""

    def __post_init__(self) -> None:
        if bool(self.families) == bool(self.data):
            raise InvalidArgumentError(
                f"families={self.families!r} and data={self.data!r}: give families of problems, or "
                "files"
            )
        if self.data and not self.dev_data:
            raise InvalidArgumentError("dev_data=(): name the files of problems to measure on")
        counts = ("solutions", "questions", "rounds", "sequences", "dev", "max_solution_tokens")
        for name in (*counts, "check_tokens"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name}={getattr(self, name)}: must be at least 1")
        for name in ("samples", "per_question"):
            if getattr(self, name) < 2:
                raise InvalidArgumentError(
                    f"{name}={getattr(self, name)}: a right and a wrong one make 2"
                )
        for name in ("copied", "checked", "prefixes", "adversarial", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgumentError(f"{name}={getattr(self, name)}: must be 0 or more")
        if (self.copied or self.checked) and not self.families:
            raise InvalidArgumentError(
                f"copied={self.copied}, checked={self.checked}: files of solutions come without "
                "checks: leave them out, or give families"
            )
        if not 0 < self.temperature < math.inf:
            raise InvalidArgumentError(f"temperature={self.temperature}: must be positive")
