"""A reward model that writes down its check before it gives its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from ..aio import together
from ..answers import final_answer
from ..engine.protocol import CompletionRequest, Engine
from ..engine.template import neutralise
from ..errors import AnswerFormatError, InvalidArgumentError
from .generative import GenerativeReward
from .labels import check_labels, positive_shares
from .protocol import Judgement
from .question import JudgeTemplate
from .worked import RESULTS, work_out

__all__ = ["VERDICT", "WrittenReward"]

#: What stands between the check and the label, unless the model was trained with something else.
VERDICT = "\nVerdict: "


class WrittenReward:
    """Has a language model check a solution in writing, then asks for the label.

    The check is written greedily until the model begins its verdict. The label is read after the
    check and `verdict`, also where the check was cut off or the model ended its text without a
    verdict. The score is that of `GenerativeReward`.

    Parameters
    ----------
    engine : Engine
        May be shared with the policy.
    template : JudgeTemplate, optional
        Must fit the model; the check follows it. None takes "plain".
    labels : tuple of two str
        The positive and the negative label, one token each, exactly as they follow `verdict`.
    check_tokens : int
        Most tokens of a check.
    verdict : str
        Ends a check, as the model was trained to write it.
    prefixes : {"written", "bare"}
        How a solution without a final answer is judged: like any other, or by its label alone.
    bare_template : JudgeTemplate, optional
        The question of the bare label; None takes `template`.
    calculator : bool
        The check is a list of sums, which ends with `RESULTS`; a calculator writes their results.
        The model must have been trained so; it need copy only.
    """

    def __init__(
        self,
        engine: Engine,
        template: JudgeTemplate | None = None,
        labels: tuple[str, str] = ("Yes", "No"),
        check_tokens: int = 64,
        verdict: str = VERDICT,
        *,
        prefixes: Literal["written", "bare"] = "written",
        bare_template: JudgeTemplate | None = None,
        calculator: bool = False,
    ) -> None:
        if check_tokens < 1:
            raise InvalidArgumentError(
                f"check_tokens={check_tokens}: must be at least 1; the bare label is "
                "GenerativeReward's"
            )
        if not verdict.strip():
            raise InvalidArgumentError(
                f"verdict={verdict!r}: give the text that ends a check, such as {VERDICT!r}"
            )
        if prefixes not in ("written", "bare"):
            raise InvalidArgumentError(f"prefixes={prefixes!r}: choose written or bare")
        self._labels = check_labels(labels)
        self._engine = engine
        self._template = template or JudgeTemplate.load("plain")
        self._check_tokens = check_tokens
        self._verdict = verdict
        self._calculator = calculator
        self._bare = (
            GenerativeReward(engine, bare_template or self._template, self._labels)
            if prefixes == "bare"
            else None
        )
        #: Most tokens of one judgement: the check and the label.
        self.max_tokens = check_tokens + 1
        #: Most tokens of judging a solution without an answer.
        self.prefix_tokens = self.max_tokens if self._bare is None else self._bare.max_tokens

    @cached_property
    def name(self) -> str:
        """All that decides a score: model, questions by content, labels, check and verdict."""
        written = (
            f"{self._engine.name}/{self._template.name}/{'|'.join(self._labels)}"
            f"/check-{self._check_tokens}-{self._verdict!r}{'-calculator' * self._calculator}"
        )
        return written if self._bare is None else f"{written}/prefixes:{self._bare.name}"

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, side by side."""
        return await together(self._judge(problem, steps) for steps in solutions)

    async def _judge(self, problem: str, steps: tuple[str, ...]) -> Judgement:
        if self._bare is not None and final_answer("".join(steps)) is None:
            (judgement,) = await self._bare.score(problem, [steps])
            return judgement
        prompt = self._template.render(problem, steps)
        samples = await self._engine.complete(
            CompletionRequest(
                prompt,
                seeds=(0,),
                max_tokens=self._check_tokens,
                temperature=0.0,
                # without its blanks: a check may be empty, and their tokens depend on what is next
                stop=((RESULTS if self._calculator else self._verdict).strip(),),
            )
        )
        if len(samples) != 1 or not 0 <= samples[0].num_tokens <= self._check_tokens:
            raise AnswerFormatError(
                f"{self._engine.name}: one check of at most {self._check_tokens} tokens was asked, "
                f"{len(samples)} came, or a longer one"
            )
        # the check may quote the problem, and is as little to be trusted
        check = neutralise(samples[0].text).rstrip()
        if self._calculator:
            check = work_out(check)
        shares = await positive_shares(
            self._engine, [f"{prompt}{check}{self._verdict}"], self._labels
        )
        return Judgement(shares[0], samples[0].num_tokens + 1)

    async def aclose(self) -> None:
        """Close the engine (engines may be closed twice, so it may be shared)."""
        await self._engine.aclose()
