"""What the heads cost next to the model below them: floors from formulas, and this CPU's clock.

A floor is the time of the larger of arithmetic and memory traffic at the peaks of an H100 SXM, plus
its launches; no GPU has confirmed it. ``python -m rtsearch_fast.kernels.audit.roofline`` prints one
JSON object a row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import torch

from ..difference_row import DifferenceRow
from ..mlp_head import MlpHead, mlp_step_reward
from .work import Work, label_work, step_work, vocabulary_work

__all__ = ["MODELS", "Model", "Row", "floor_rows", "floor_seconds"]

#: Of an H100 SXM, by its data sheet: bytes and bfloat16 operations a second, without sparsity.
BYTES_PER_SECOND, FLOP_PER_SECOND = 3.35e12, 990e12
#: An assumption: what a kernel costs beyond its work.
LAUNCH_SECONDS = 3e-6


@dataclass(frozen=True)
class Model:
    """The shapes that count here, and the parameters below the head."""

    name: str
    width: int
    vocabulary: int
    parameters: float


MODELS = (
    Model("7B", 3584, 152_064, 6.53e9),
    Model("1.5B", 1536, 151_936, 1.31e9),
    Model("135M", 576, 49_152, 1.06e8),
)

#: Of a candidate that is scored: new tokens, and steps that are judged.
TOKENS, STEPS = 256, 4


@dataclass(frozen=True)
class Row:
    """One line of the table; `share` is of the floor of the forward pass below the head."""

    model: str
    what: str
    microseconds: float
    share: float | None
    source: str


def floor_seconds(work: Work) -> float:
    """Return the least time that an H100 could take, with its launches."""
    bound = max(work.bytes / BYTES_PER_SECOND, work.flop / FLOP_PER_SECOND)
    return bound + work.launches * LAUNCH_SECONDS


def floor_rows(model: Model, candidates: int) -> Iterator[Row]:
    """Yield the model's forward pass, and what the heads add to it."""
    tokens, steps = candidates * TOKENS, candidates * STEPS
    width, vocabulary = model.width, model.vocabulary
    body = Work(int(2 * model.parameters * tokens), {"parameters": int(2 * model.parameters)}, 0)
    whole = floor_seconds(body)
    for what, works in (
        ("forward pass below the head", [body]),
        ("logits of every token", [_gemm(tokens, width, vocabulary)]),
        ("MLP head on every token", [_gemm(tokens, width, width), _gemm(tokens, width, 2)]),
        (
            "mlp_step_reward: gather, GEMM, epilogue",
            [
                _copy(steps, width),
                _gemm(steps, width, width),
                step_work(steps, candidates, width, gathers=False),
            ],
        ),
        ("step_reward", [step_work(steps, candidates, width)]),
        ("label_probability, 2 labels", [label_work(steps, 2, width)]),
        (
            "label_logprob at the last token",
            [vocabulary_work(candidates, 2, width, vocabulary, 132)],
        ),
    ):
        seconds = sum(map(floor_seconds, works))
        yield Row(f"{model.name}, N={candidates}", what, 1e6 * seconds, seconds / whole, "floor")


def _gemm(rows: int, width: int, outputs: int) -> Work:
    moved = {"in": 2 * rows * width, "weight": 2 * width * outputs, "out": 2 * rows * outputs}
    return Work(2 * rows * width * outputs, moved)


def _copy(rows: int, width: int) -> Work:
    return Work(0, {"in": 2 * rows * width, "out": 2 * rows * width})


def measured_rows(candidates: int) -> Iterator[Row]:
    """Time the smallest model's MLP head on this CPU, on picked rows and on every token."""
    model = MODELS[-1]
    draw = torch.Generator().manual_seed(0)
    tokens, width = candidates * TOKENS, model.width
    hidden = torch.randn((tokens, width), generator=draw)
    head = MlpHead(
        torch.randn((width, width), generator=draw) / width**0.5,
        torch.zeros(width),
        DifferenceRow(torch.randn(width, generator=draw) / width**0.5),
    )
    for what, steps in (("on every token", tokens), ("on the picked rows", candidates * STEPS)):
        rows, offsets = torch.arange(steps), torch.tensor([0, steps])
        seconds = _best_of(5, partial(mlp_step_reward, hidden, rows, offsets, head))
        name = f"{model.name}, N={candidates}"
        yield Row(name, f"MLP head {what}", 1e6 * seconds, None, "measured on CPU")


def _best_of(times: int, call: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return min(once() for _ in range(times))


def main() -> None:
    """Print a line of JSON for each row."""
    torch.set_num_threads(1)
    rows = [row for model in MODELS for row in floor_rows(model, 64)]
    for row in (*rows, *measured_rows(4)):
        print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    main()
