"""Finding the numbers of an engine model in the timings of a real engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ...errors import InvalidArgumentError
from .model import EngineModel
from .scheduler import Generation, Scheduler

__all__ = ["Measurement", "fit_engine_model", "predicted_seconds"]

_TERMS = ("base", "per_decode_sequence", "per_prefill_token", "per_context_token", "per_request")


@dataclass(frozen=True, slots=True)
class Measurement:
    """Sequences that were sent to an idle engine at once.

    Attributes
    ----------
    batch : int
        How many.
    prompt_tokens, generated_tokens : int
        Of each; nothing of the prompts was cached.
    seconds : float
        Till the last one was answered.
    """

    batch: int
    prompt_tokens: int
    generated_tokens: int
    seconds: float


def fit_engine_model(
    measurements: Sequence[Measurement],
    like: EngineModel | None = None,
    *,
    context: bool = False,
) -> EngineModel:
    """Find the durations that explain measurements best; none of them is negative.

    Least squares of relative errors. What a measurement consists of, steps and tokens, is counted
    by simulating it.

    Parameters
    ----------
    measurements : sequence of Measurement
        Of several batch sizes, prompt lengths and numbers of generated tokens.
    like : EngineModel, optional
        Where name and limits are taken from.
    context : bool
        Fit `per_context_token` too; without it, that is 0.

    Raises
    ------
    InvalidArgumentError
        The measurements are too few, or too much alike, to tell the durations apart.

    Examples
    --------
    >>> real = EngineModel(base=0.5, per_decode_sequence=0.25, per_prefill_token=0.125)
    >>> sizes = [(1, 8, 2), (1, 8, 4), (4, 8, 2), (1, 64, 1), (2, 32, 8)]
    >>> timed = [Measurement(*size, predicted_seconds(real, size)) for size in sizes]
    >>> round(fit_engine_model(timed).per_prefill_token, 9)
    0.125
    """
    like = like or EngineModel()
    terms = [term for term in _TERMS if context or term != "per_context_token"]
    if wrong := [point for point in measurements if not point.seconds > 0]:
        raise InvalidArgumentError(f"{wrong[0]}: seconds must be positive")
    counts = np.array(
        [
            [_counts(like, (m.batch, m.prompt_tokens, m.generated_tokens))[term] for term in terms]
            for m in measurements
        ],
        float,
    ).reshape(-1, len(terms))
    rows = counts / np.array([m.seconds for m in measurements]).reshape(-1, 1)
    scale = np.abs(rows).max(axis=0, initial=0.0)  # of very different sizes; the rank shall tell
    rank = int(np.linalg.matrix_rank(rows / np.where(scale, scale, 1.0))) if rows.size else 0
    if rank < len(terms):
        raise InvalidArgumentError(
            f"{len(measurements)} measurements tell {rank} of {len(terms)} durations apart: "
            "measure more batch sizes, prompt lengths and numbers of generated tokens"
        )
    # With so few terms all sets of them can be tried; the best that is nowhere negative is the
    # solution under this constraint.
    best, best_error = np.zeros(len(terms)), np.inf
    for number in range(1, len(terms) + 1):
        for chosen in combinations(range(len(terms)), number):
            columns = rows[:, chosen] / scale[list(chosen)]
            found, *_ = np.linalg.lstsq(columns, np.ones(len(rows)), rcond=None)
            error = float(((columns @ found - 1) ** 2).sum())
            if found.min() >= 0 and error < best_error:
                best, best_error = np.zeros(len(terms)), error
                best[list(chosen)] = found / scale[list(chosen)]
    durations: dict[str, Any] = dict.fromkeys(_TERMS, 0.0)
    durations.update(zip(terms, best.tolist(), strict=True))
    return replace(like, **durations)


def predicted_seconds(model: EngineModel, size: tuple[int, int, int]) -> float:
    """What a model says of a measurement (batch, prompt tokens, generated tokens).

    Examples
    --------
    >>> predicted_seconds(EngineModel(base=0.5, per_request=0.25), (1, 10, 4))
    2.25
    """
    counts = _counts(model, size)
    return float(sum(getattr(model, term) * counts[term] for term in _TERMS))


def _counts(model: EngineModel, size: tuple[int, int, int]) -> dict[str, int]:
    """How often each duration is part of a measurement."""
    batch, prompt_tokens, generated_tokens = size
    for name, value in (
        ("batch", batch),
        ("prompt_tokens", prompt_tokens),
        ("generated_tokens", generated_tokens),
    ):
        if value < 1:
            raise InvalidArgumentError(f"{name}={value}: must be at least 1")
    # all arrive at once, so the schedule does not depend on the durations
    scheduler = Scheduler(replace(model, base=1.0))
    for number in range(batch):
        scheduler.add(Generation(f"{number}", prompt_tokens, generated_tokens, 16), at=0.0)
    while (time := scheduler.next_time()) is not None:
        scheduler.advance(time)
    stats = scheduler.stats
    return {
        "base": stats.steps,
        "per_decode_sequence": stats.decode_tokens,
        "per_prefill_token": stats.prefill_tokens,
        "per_context_token": stats.context_tokens,
        "per_request": 1,
    }
