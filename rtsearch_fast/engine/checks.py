"""Checks of a running engine, each a one-line verdict: what `rtsearch doctor` prints."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..errors import EngineError
from .protocol import CompletionRequest, Engine, Sample

__all__ = ["Check", "check_engine", "run_check"]

#: Any model continues a count, and at some length.
_PROMPT = "One, two, three, four, five, six, seven,"
_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes
    ----------
    name : str
    ok : bool
    detail : str
        One line: what was seen, or why it failed and what that means for a search.
    """

    name: str
    ok: bool
    detail: str


async def run_check(name: str, check: Callable[[], Awaitable[tuple[bool, str]]]) -> Check:
    """Run one check; an engine's error is its negative outcome."""
    try:
        ok, detail = await check()
    except EngineError as error:
        return Check(name, False, str(error))
    return Check(name, ok, detail)


async def check_engine(engine: Engine, labels: tuple[str, ...] = ("Yes", "No")) -> list[Check]:
    """Check what a search needs of any engine.

    Parameters
    ----------
    engine : Engine
    labels : tuple of str
        The reward model's labels.

    Returns
    -------
    list of Check
        "generation", "logprobs", "labels", "stop", "seeds"; only the first if it fails.
    """

    async def sample(
        seeds: tuple[int, ...], temperature: float, stop: tuple[str, ...] = ()
    ) -> Sequence[Sample]:
        return await engine.complete(
            CompletionRequest(_PROMPT, seeds, _TOKENS, temperature=temperature, stop=stop)
        )

    async def generation() -> tuple[bool, str]:
        begin = time.perf_counter()
        (answer,) = await sample((0,), 0.0)
        seconds = time.perf_counter() - begin
        if not answer.text:
            return False, "the model generated no text"
        return True, f"{answer.num_tokens} tokens in {seconds:.2f} s"

    async def logprobs() -> tuple[bool, str]:
        (answer,) = await sample((0,), 0.0)
        if math.isnan(answer.logprob):
            return False, "not told: searches that use the policy's probabilities cannot run"
        return True, f"mean {answer.logprob / max(answer.num_tokens, 1):.3f} nats a token"

    async def label_scores() -> tuple[bool, str]:
        (found,) = await engine.label_logprobs([_PROMPT], labels)
        values = dict(zip(labels, found, strict=True))
        missing = [label for label, value in values.items() if math.isnan(value)]
        if missing:
            return False, (
                f"no log-probability for {', '.join(missing)}: solutions whose label is missing "
                "get no score"
            )
        return True, ", ".join(f"{label} {value:.3f}" for label, value in values.items())

    async def stop() -> tuple[bool, str]:
        (free,) = await sample((0,), 0.0)
        # A piece of the model's own greedy text is met again for certain.
        middle = len(free.text) // 2
        mark = free.text[middle : middle + 3]
        if not mark.strip():
            return False, "not tried: the model's text is too short"
        (cut,) = await sample((0,), 0.0, (mark,))
        if mark in cut.text or not free.text.startswith(cut.text):
            return False, f"the text does not end before the stop string {mark!r}"
        if cut.finish_reason != "stop":
            return False, f"met a stop string, but the reason given is {cut.finish_reason!r}"
        return True, "a stop string ends the text and is left out"

    async def seeds() -> tuple[bool, str]:
        (first,) = await sample((1,), 1.0)
        (second,) = await sample((1,), 1.0)
        if first.text != second.text:
            return False, "same seed, other text: runs cannot be repeated on this server"
        if (await sample((1, 2, 3, 4), 1.0))[0].text != first.text:
            # Sums are ordered by batch size: with few bits, near ties fall the other way.
            return True, "same seed, same text alone, but not in company: runs repeat roughly"
        return True, "same seed, same text"

    checks = [await run_check("generation", generation)]
    if checks[0].ok:
        for name, check in (
            ("logprobs", logprobs),
            ("labels", label_scores),
            ("stop", stop),
            ("seeds", seeds),
        ):
            checks.append(await run_check(name, check))
    return checks
