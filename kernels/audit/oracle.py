"""The operations in float64 and plain numpy, written apart from kernels and references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["label_logits", "label_logprobs", "label_probabilities", "rewards", "step_probabilities"]

# Rows are those picked, [S, H]; a row that was not there is NaN.


def step_probabilities(rows: Any, weight: Any, bias: float) -> Any:
    """Sigmoid of the logits, [S]."""
    with np.errstate(over="ignore", invalid="ignore"):
        return 1.0 / (1.0 + np.exp(-(rows @ weight + bias)))


def rewards(steps: Any, lengths: tuple[int, ...], reduction: str) -> Any:
    """One number a candidate, [N]; NaN for one without steps."""
    reductions: dict[str, Callable[[Any], Any]] = {
        "min": np.min,
        "max": np.max,
        "mean": np.mean,
        "product": np.prod,
        "last": lambda part: part[-1],
    }
    how = reductions[reduction]
    parts = np.split(steps, np.cumsum(lengths))[: len(lengths)]
    return np.array([how(part) if len(part) else np.nan for part in parts], np.float64)


def label_logits(rows: Any, weight: Any, bias: Any) -> Any:
    """The labels' logits, [S, L]."""
    return rows @ weight.T + bias


def label_probabilities(rows: Any, weight: Any, bias: Any) -> Any:
    """Softmax over the labels, [S, L]."""
    return np.exp(_log_softmax(rows @ weight.T + bias))


def label_logprobs(rows: Any, weight: Any, labels: Any) -> Any:
    """Log-softmax over the vocabulary at the labels, [S, L]."""
    return np.take_along_axis(_log_softmax(rows @ weight.T), labels, 1)


def _log_softmax(logits: Any) -> Any:
    with np.errstate(invalid="ignore"):
        logits = logits - logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))
