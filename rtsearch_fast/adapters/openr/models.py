"""The two models of an OpenR evaluation, called in threads so that many answers are under way."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...errors import AnswerFormatError, InvalidArgumentError, MissingExtraError

__all__ = ["Models", "Prompt", "Text", "setting"]


def setting(config: Any, name: str) -> Any:
    """Read a field of one of OpenR's configurations.

    Raises
    ------
    InvalidArgumentError
        There is none, or it is None.
    """
    value = getattr(config, name, None)
    if value is None:
        raise InvalidArgumentError(f"{type(config).__name__} has no {name}: give it a value")
    return value


@dataclass(frozen=True, slots=True)
class Prompt:
    """How an environment of OpenR (``envs.<task_name>``) puts a question.

    Attributes
    ----------
    separator : str
        Ends each step.
    render : callable
        Takes the question and returns the text that the model continues.
    """

    separator: str
    render: Callable[[str], str]

    @classmethod
    def of_task(cls, task_name: str) -> Prompt:
        """Take those of an environment.

        Raises
        ------
        MissingExtraError
            It cannot be imported.
        """
        try:
            task = importlib.import_module(f"envs.{task_name}")
        except ImportError as error:
            raise MissingExtraError(
                f"envs.{task_name} cannot be imported ({error}): start in OpenR's folder, or add "
                "it to PYTHONPATH"
            ) from error

        def render(question: str) -> str:
            text: str = task.Env.build_query_str(
                cot_task_desc=task.COT_TASK_DESC,
                cot_examples=task.COT_EXAMPLES,
                problem_format_str=task.PROBLEM_FORMAT_STR,
                problem_input=question,
                is_few_shot=False,
            )
            return text

        return cls(task.SEP, render)


@dataclass(frozen=True, slots=True)
class Text:
    """What the model wrote once.

    Attributes
    ----------
    text : str
        With the separator at its end, if it ended there.
    num_tokens : int
    mean_logprob : float
        Of its tokens, in nats.
    finish_reason : str
        "stop" at a separator or the end of the text, "length" where it was cut off.
    """

    text: str
    num_tokens: int
    mean_logprob: float
    finish_reason: str


class Models:
    """OpenR's ``lm_call`` and ``rm_call`` as functions that can be awaited.

    Parameters
    ----------
    prompt : Prompt
    gen_config : LMCallingConfig
        Never changed; each call gets a copy.
    lm_call, rm_call : callable
    threads : int
        Calls under way at once, at most.
    """

    def __init__(
        self, prompt: Prompt, gen_config: Any, lm_call: Any, rm_call: Any, threads: int
    ) -> None:
        if threads < 1:
            raise InvalidArgumentError(f"threads={threads}: must be at least 1")
        self.prompt = prompt
        self.gen_config = gen_config
        self._lm_call = lm_call
        self._rm_call = rm_call
        self._step_tag = getattr(lm_call, "lm_step_tag", prompt.separator)
        self._pool = ThreadPoolExecutor(threads, "rtsearch-openr")

    async def write(
        self, question: str, answer: str, count: int, *, step: bool, max_tokens: int
    ) -> list[Text]:
        """Continue an answer `count` times, to the end of its next step or to its end.

        Raises
        ------
        AnswerFormatError
            Lists of other lengths came.
        """
        config = replace(
            self.gen_config,
            n=count,
            max_new_tokens=max_tokens,
            stop_str=self.prompt.separator if step else None,
            include_stop_str_in_output=step,
        )
        prompt = self.prompt.render(question) + answer
        result = await self._run(partial(self._lm_call, prompt, config))
        columns = [
            list(getattr(result, name))
            for name in ("text", "num_tokens", "logp_avg_by_len", "finish_reason")
        ]
        if any(len(column) != count for column in columns):
            lengths = ", ".join(str(len(column)) for column in columns)
            raise AnswerFormatError(
                f"lm_call returned {lengths} texts, token counts, log-probabilities and reasons "
                f"where {count} were asked: return one of each for each"
            )
        return [Text(*row) for row in zip(*columns, strict=True)]

    async def step_scores(self, question: str, answers: Sequence[str]) -> list[list[float]]:
        """What the reward model says of the steps of each answer.

        A single answer may come back as a bare list of numbers, as some of OpenR's workers do.

        Raises
        ------
        AnswerFormatError
            Another number of lists came, or a score is no finite number.
        """
        pairs = [(question, answer) for answer in answers]
        found = await self._run(partial(self._rm_call, pairs, lm_step_tag=self._step_tag))
        if len(answers) == 1 and len(found) and not hasattr(found[0], "__len__"):
            found = [found]
        if len(found) != len(answers) or not all(hasattr(scores, "__len__") for scores in found):
            raise AnswerFormatError(
                f"rm_call returned {str(found)[:80]} for {len(answers)} answers: return a list of "
                "the scores of its steps for each"
            )
        scores = [[float(score) for score in row] for row in found]
        for score in (score for row in scores for score in row):
            if not math.isfinite(score):
                raise AnswerFormatError(f"rm_call gave the score {score}: give finite numbers")
        return scores

    def close(self) -> None:
        """Let go of the threads; what runs in them runs to its end, unheard."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)
