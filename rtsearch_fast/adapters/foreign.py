"""Models of another framework as policy and reward model of ours: any function will do.

A framework's model is a function that continues a solution, its reward model one that scores
solutions. Both may be asynchronous or not: what blocks runs in threads. `Gathered` is for models
that want many questions in one call.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from ..aio import together
from ..engine.protocol import FinishReason
from ..errors import AnswerFormatError, EngineError, InvalidArgumentError, SearchError
from ..policy.protocol import Sample, SampleRequest
from ..reward.aggregate import Aggregation, aggregate, check_aggregation
from ..reward.protocol import Judgement

__all__ = ["Continuation", "ForeignPolicy", "ForeignReward", "Gathered", "most_tokens", "why_ended"]

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a framework's model wrote, with what the framework tells about it.

    Attributes
    ----------
    text : str
        Without the stop string.
    num_tokens : int, optional
        Generated tokens; None where the framework does not count them.
    finish_reason : {"stop", "eos", "length"}, optional
        As in `rtsearch_fast.engine.protocol.Sample`; None where the framework does not tell.
    logprob : float
        Sum of the log-probabilities of the generated tokens, in nats; NaN where it is not told.
    """

    text: str
    num_tokens: int | None = None
    finish_reason: FinishReason | None = None
    logprob: float = math.nan


#: Continues one partial solution: one continuation for each of ``request.seeds``, in their order.
Continue = Callable[[SampleRequest], Sequence[Continuation] | Awaitable[Sequence[Continuation]]]

#: What a reward function may say of a solution: its score in [0, 1], the scores of its steps, a
#: judgement with the tokens that it took, or None for no verdict.
Verdict = float | Sequence[float] | Judgement | None

#: Judges solutions of one problem, each the tuple of its steps, in their order.
Score = Callable[[str, Sequence[tuple[str, ...]]], Sequence[Verdict] | Awaitable[Sequence[Verdict]]]

_VERDICT = "a verdict is a number in [0, 1], one for each step, or None"


def most_tokens(text: str) -> int:
    """Most tokens that a text and its end can be: one a byte, which holds for byte-level BPE.

    Examples
    --------
    >>> most_tokens("2 + 2 = 4")
    10
    """
    return len(text.encode("utf-8", "surrogatepass")) + 1


def why_ended(choice: Mapping[str, Any]) -> FinishReason | None:
    """Tell why a choice of an OpenAI-compatible answer ended; None where it leaves that open.

    "stop" means a stop string or the end of the text to that API. vLLM adds ``stop_reason`` and
    SGLang ``matched_stop``: the string, or something else at the end of the text.

    Examples
    --------
    >>> why_ended({"finish_reason": "stop", "stop_reason": None})
    'eos'
    """
    reason = choice.get("finish_reason")
    if reason == "length":
        return "length"
    if reason != "stop":
        return None if reason is None else "eos"
    for key in ("stop_reason", "matched_stop"):
        if key in choice:
            return "stop" if isinstance(choice[key], str) else "eos"
    return None


def _listed(name: str, answers: Any, wanted: int) -> list[Any]:
    """The answers, if they are as many as were wanted."""
    try:
        listed = list(answers)
    except TypeError:
        raise AnswerFormatError(
            f"{name} returned {str(answers)[:80]!r}: return a list of {wanted}"
        ) from None
    if len(listed) != wanted:
        raise AnswerFormatError(
            f"{name} returned {len(listed)} answers, {wanted} were asked: return one for each"
        )
    return listed


def _first(error: BaseException) -> BaseException:
    """The first of a group of errors, where one is the cause: it says more than their number."""
    cause: BaseException | None = error
    while cause is not None:
        group = getattr(cause, "exceptions", ())
        if group:
            return _first(group[0])
        cause = cause.__cause__
    return error


class _Call:
    """A function that may block, or not, as one that can be awaited.

    Errors that are not ours come out as EngineError.
    """

    def __init__(self, name: str, function: Callable[..., Any], threads: int) -> None:
        if threads < 1:
            raise InvalidArgumentError(f"threads={threads}: must be at least 1")
        self._name = name
        self._function = function
        self._waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object with `async __call__`
        )
        self._pool = None if self._waits else ThreadPoolExecutor(threads, "rtsearch-foreign")

    async def __call__(self, *arguments: Any) -> Any:
        try:
            if self._pool is None:
                return await self._function(*arguments)
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._pool, self._function, *arguments)
            return await answer if inspect.isawaitable(answer) else answer
        except SearchError:
            raise
        except Exception as error:
            first = _first(error)
            text = f"{self._name}: {type(first).__name__}: {first}"
            raise EngineError(" ".join(text.split())) from error

    def close(self) -> None:
        """Let go of the threads; what runs in them runs to its end, unheard."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class Gathered(Generic[_Item, _Answer]):
    """One question at a time, for a function that wants many: those that wait go together.

    At most one call is under way. What is asked meanwhile makes up the next one, so a model in this
    process gets batches as large as the search is wide. One event loop may use it at a time.

    Parameters
    ----------
    function : callable
        Takes a list of questions and returns as many answers, in their order; may be asynchronous,
        and runs in a thread of its own otherwise.
    most : int, optional
        Most questions of one call.
    name : str, optional
        For errors; that of the function if left out.

    Examples
    --------
    >>> double = Gathered(lambda numbers: [2 * number for number in numbers])
    >>> asyncio.run(double(4))
    8
    """

    def __init__(
        self,
        function: Callable[[list[_Item]], Sequence[_Answer] | Awaitable[Sequence[_Answer]]],
        most: int | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if most is not None and most < 1:
            raise InvalidArgumentError(f"most={most}: must be at least 1")
        self._name = name or str(getattr(function, "__qualname__", type(function).__name__))
        self._call = _Call(self._name, function, 1)
        self._most = most
        self._waiting: list[tuple[_Item, asyncio.Future[_Answer]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, question: _Item) -> _Answer:
        """Wait for the answer; whoever is cancelled before the call begins is left out of it."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # who asks in the same moment comes along
            waiting = [entry for entry in self._waiting if not entry[1].done()]
            batch, self._waiting = waiting[: self._most], waiting[self._most or len(waiting) :]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[tuple[_Item, asyncio.Future[_Answer]]]) -> None:
        futures = [future for _, future in batch]
        try:
            questions = [question for question, _ in batch]
            answers = _listed(self._name, await self._call(questions), len(questions))
        except BaseException as error:
            for future in futures:
                if not future.done():
                    if isinstance(error, Exception):
                        future.set_exception(error)
                    else:
                        future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for future, answer in zip(futures, answers, strict=True):
            if not future.done():
                future.set_result(answer)


class ForeignPolicy:
    """A function that continues solutions, as a policy.

    Parameters
    ----------
    name : str
        Identifies model and prompt: same name, same answers to expect.
    function : callable
        Takes a `SampleRequest` and returns one `Continuation` for each of its seeds; asynchronous,
        or else run in threads. A framework without seeds leaves them aside; its runs cannot be
        repeated then. Cancelling a search cancels what it awaits; a thread runs to its end,
        unheard.
    count : callable, optional
        Tells the tokens of a text that the framework did not count: its tokenizer. Without it,
        such a text counts as the most that it can be (`most_tokens`, and no more than was asked
        for), so that budgets of tokens are never exceeded. They end early instead.
    single : bool
        The function is asked for one seed at a time, several times side by side.
    threads : int
        How many calls of a blocking function may run at once.

    Notes
    -----
    Where the framework does not tell why a text ended, it was cut off if it is as long as was asked
    for, by a count that is told. Otherwise a text without stop strings, or an empty one, has come
    to its end; any other met a stop string. So an end that is not told costs one more, empty,
    sample.
    """

    def __init__(
        self,
        name: str,
        function: Continue,
        *,
        count: Callable[[str], int] | None = None,
        single: bool = False,
        threads: int = 1,
    ) -> None:
        self.name = name
        self._call = _Call(name, function, threads)
        self._count = count
        self._single = single

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` continuations, in the order of the seeds.

        Raises
        ------
        EngineError
            The function failed; its error is the cause.
        AnswerFormatError
            It returned another number of continuations, or something else.
        """
        asked = [request]
        if self._single:
            asked = [replace(request, seeds=(seed,)) for seed in request.seeds]
        answers = await together(map(self._call, asked))
        return [
            self._read(one, continuation)
            for one, answer in zip(asked, answers, strict=True)
            for continuation in _listed(self.name, answer, len(one.seeds))
        ]

    def _read(self, request: SampleRequest, continuation: Continuation) -> Sample:
        if not (isinstance(continuation, Continuation) and isinstance(continuation.text, str)):
            raise AnswerFormatError(
                f"{self.name} returned {str(continuation)[:80]!r}: return a Continuation, its text "
                "a str"
            )
        text, told = continuation.text, continuation.num_tokens
        if told is None:
            counted = most_tokens(text) if self._count is None else self._count(text)
            num_tokens = min(counted, request.max_tokens)
        else:
            num_tokens = told
        if num_tokens < 0:
            raise AnswerFormatError(f"{self.name} counted {num_tokens} tokens of {text[:40]!r}")
        reason = continuation.finish_reason
        if reason is None:
            if told is not None and told >= request.max_tokens:
                reason = "length"
            else:
                reason = "stop" if text and request.stop else "eos"
        return Sample(text, num_tokens, reason, continuation.logprob)

    async def aclose(self) -> None:
        """Let go of the threads; the framework's model stays its owner's."""
        self._call.close()


class ForeignReward:
    """A function that scores solutions, as a reward model.

    Parameters
    ----------
    name : str
        Identifies model and question: same name, same scores.
    function : callable
        Takes the problem and a sequence of solutions, each the tuple of its steps, and returns for
        each a score in [0, 1], the scores of its steps, a `Judgement`, or None for no verdict;
        asynchronous, or else run in threads.
    aggregation : {"last", "min", "max", "product", "mean"}, or callable
        What makes one score of those of the steps.
    max_tokens : int
        Most tokens that one judgement generates; 0 for a model that generates nothing. A judgement
        that does not tell its tokens counts as this many.
    threads : int
        How many calls of a blocking function may run at once.
    """

    def __init__(
        self,
        name: str,
        function: Score,
        *,
        aggregation: Aggregation = "last",
        max_tokens: int = 0,
        threads: int = 1,
    ) -> None:
        if max_tokens < 0:
            raise InvalidArgumentError(f"max_tokens={max_tokens}: must not be negative")
        check_aggregation(aggregation)
        self.name = name
        self.max_tokens = max_tokens
        self._call = _Call(name, function, threads)
        self._aggregation = aggregation

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, in their order.

        Raises
        ------
        EngineError
            The function failed; its error is the cause.
        AnswerFormatError
            It returned another number of verdicts, or a score outside [0, 1].
        """
        verdicts = _listed(self.name, await self._call(problem, solutions), len(solutions))
        return [self._read(verdict) for verdict in verdicts]

    def _read(self, verdict: Verdict) -> Judgement:
        if isinstance(verdict, Judgement):
            return verdict
        if verdict is None:
            return Judgement(math.nan, self.max_tokens)
        try:
            steps = [] if isinstance(verdict, str) else list(cast(Sequence[float], verdict))
        except TypeError:  # a number, or an array or tensor of one
            return Judgement(self._score(verdict), self.max_tokens)
        scores = [self._score(step) for step in steps]
        if not scores:
            raise AnswerFormatError(f"{self.name} gave {verdict!r}: {_VERDICT}")
        return Judgement(aggregate(scores, self._aggregation), self.max_tokens)

    def _score(self, value: Any) -> float:
        try:
            score = float(value)
        except (TypeError, ValueError):
            raise AnswerFormatError(f"{self.name} gave {value!r}: {_VERDICT}") from None
        if not 0 <= score <= 1:
            raise AnswerFormatError(
                f"{self.name} gave the score {score}: scale scores to [0, 1], and give None for no "
                "verdict"
            )
        return score

    async def aclose(self) -> None:
        """Let go of the threads; the framework's model stays its owner's."""
        self._call.close()
