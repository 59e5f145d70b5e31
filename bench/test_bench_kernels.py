"""Heads on the picked rows against heads on every token, on this CPU, in torch.

Nothing here passes or fails by a time; answers are checked, ratios and peak memory are printed.
A candidate here has a few tokens only, so that the head on all of them ends in seconds; the ratios
grow with that number, which is in the hundreds in a search.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from rtsearch_fast.kernels import (  # noqa: E402
    DifferenceRow,
    MlpHead,
    label_probability,
    mlp_step_reward,
)

CANDIDATES = (16, 64, 256)
ROUNDS = 3


def normal(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_labels_of_a_vocabulary(candidates: int, capsys: pytest.CaptureFixture[str]) -> None:
    # SmolLM2-135M judges by two labels at the last token.
    tokens, width, vocabulary = 4, 576, 49_152
    hidden = normal(candidates * tokens, width)
    weight = normal(vocabulary, width, seed=1) / width**0.5
    labels = torch.tensor([vocabulary - 1, 5])
    rows = torch.arange(candidates) * tokens + tokens - 1

    def on_every_token() -> Any:
        return torch.softmax((hidden @ weight.t())[rows][:, labels], -1)

    def on_picked_rows() -> Any:
        return label_probability(hidden, rows, weight[labels])

    compare(f"2 labels of SmolLM2-135M, N={candidates}", on_every_token, on_picked_rows, capsys)


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_mlp_head(candidates: int, capsys: pytest.CaptureFixture[str]) -> None:
    # A process reward model of 1.5B parameters judges each step at its tag.
    tokens, steps, width = 32, 4, 1536
    hidden = normal(candidates * tokens, width)
    first = normal(width, width, seed=1) / width**0.5
    head = MlpHead(first, normal(width, seed=2), DifferenceRow(normal(width, seed=3) / width**0.5))
    rows = torch.arange(candidates * steps) * (tokens // steps)
    offsets = torch.arange(candidates + 1) * steps

    def on_every_token() -> Any:
        layer = torch.relu(torch.addmm(head.bias, hidden, head.weight.t()))
        every = torch.sigmoid(layer @ head.output.weight + head.output.bias)
        return every[rows].view(candidates, steps).amin(1)

    def on_picked_rows() -> Any:
        return mlp_step_reward(hidden, rows, offsets, head).candidates

    compare(f"MLP head of a 1.5B model, N={candidates}", on_every_token, on_picked_rows, capsys)


def compare(
    name: str,
    on_every_token: Callable[[], Any],
    on_picked_rows: Callable[[], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.testing.assert_close(on_picked_rows(), on_every_token(), rtol=1e-4, atol=1e-5)
    every, picked = [], []
    for _ in range(ROUNDS):  # in turns, so that both see the same machine
        picked.append(milliseconds(on_picked_rows))
        every.append(milliseconds(on_every_token))
    every_ms, picked_ms = statistics.median(every), statistics.median(picked)
    every_mb, picked_mb = peak_megabytes(on_every_token), peak_megabytes(on_picked_rows)
    with capsys.disabled():
        print(
            f"\n{name}: {every_ms:.1f} ms on every token, {picked_ms:.2f} ms on the picked rows; "
            f"ratio {every_ms / picked_ms:.0f}; peak memory {every_mb:.2f} against "
            f"{picked_mb:.2f} MB"
        )


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def peak_megabytes(call: Callable[[], Any]) -> float:
    """Memory of the tensors that a call makes, at the moment when it is most."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    events = sorted(profile.events(), key=lambda event: event.time_range.start)
    in_use = itertools.accumulate(event.self_cpu_memory_usage for event in events)
    return max(in_use) / 2**20
