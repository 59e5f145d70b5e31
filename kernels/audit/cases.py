"""The cases that kernels must compute right in the interpreter: small, odd, and hostile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["CASES", "TRAFFIC_CASES", "Case", "Operation"]

Operation = Literal["step", "mlp", "label", "logits", "vocabulary"]
#: "nan" and "inf": in one picked row. "outside": indices below and above all rows.
Fault = Literal["", "nan", "inf", "outside"]


@dataclass(frozen=True)
class Case:
    """One call of a kernel.

    Attributes
    ----------
    name : str
        Unique.
    operation : {"step", "mlp", "label", "logits", "vocabulary"}
    dtype : str
        As torch names it.
    width : int
        Columns that count; rows are `gap` elements longer, and NaN there.
    lengths : tuple of int
        Steps of each candidate; operations without candidates take their sum.
    tokens : int
        Rows of hidden states, around which there are more.
    order : {"shuffled", "repeated"}
        Of the picked rows.
    fault : {"", "nan", "inf", "outside"}
    shift : float
        Added to all logits, by a constant column.
    """

    name: str
    operation: Operation
    dtype: str = "float32"
    width: int = 72
    gap: int = 8
    lengths: tuple[int, ...] = (3, 0, 1, 5, 2)
    tokens: int = 24
    order: Literal["shuffled", "repeated"] = "shuffled"
    index: Literal["int32", "int64"] = "int64"
    fault: Fault = ""
    shift: float = 0.0
    reduction: str = "min"
    labels: int = 3
    vocabulary: int = 50
    splits: int = 3
    seed: int = 0


_DTYPES = ("float32", "float16", "bfloat16")


def _steps() -> Iterator[Case]:
    for reduction in ("min", "product", "mean", "last", "max"):
        yield Case(f"step {reduction}", "step", reduction=reduction)
        for fault in ("nan", "inf", "outside"):
            yield Case(f"step {reduction} {fault}", "step", fault=fault, reduction=reduction)
        yield Case(f"mlp {reduction}", "mlp", "bfloat16", reduction=reduction)
    for dtype in _DTYPES:
        yield Case(f"step {dtype}", "step", dtype, index="int32", order="repeated")
        yield Case(f"mlp {dtype} nan", "mlp", dtype, fault="nan")
    yield Case("step narrower than a block", "step", width=1, gap=0)
    yield Case("step of whole blocks", "step", width=64, gap=0)
    yield Case("step without candidates", "step", lengths=())
    yield Case("step without steps", "step", lengths=(0, 0, 0))
    yield Case("step saturated high", "step", shift=200.0)
    yield Case("step saturated low", "step", shift=-200.0)


def _labels() -> Iterator[Case]:
    for labels in (2, 3, 8):
        yield Case(f"label {labels}", "label", labels=labels)
    for dtype in _DTYPES:
        yield Case(f"label {dtype}", "label", dtype, index="int32", order="repeated", width=67)
    for fault in ("nan", "inf", "outside"):
        yield Case(f"label {fault}", "label", "bfloat16", fault=fault)
        yield Case(f"logits {fault}", "logits", fault=fault)
    for labels in (1, 2, 5):
        yield Case(f"logits {labels}", "logits", "bfloat16", labels=labels)
    yield Case("label all logits below zero", "label", shift=-60.0)
    yield Case("label all logits huge", "label", shift=300.0)
    yield Case("label without rows", "label", lengths=())


def _vocabularies() -> Iterator[Case]:
    for dtype in ("float16", "bfloat16"):
        yield Case(f"vocabulary {dtype}", "vocabulary", dtype, order="repeated", index="int32")
    for fault in ("nan", "inf", "outside"):
        yield Case(f"vocabulary {fault}", "vocabulary", "bfloat16", fault=fault)
    bf16 = "bfloat16"
    yield Case("vocabulary all logits below zero", "vocabulary", bf16, shift=-60.0)
    yield Case("vocabulary all logits huge", "vocabulary", bf16, shift=300.0)
    yield Case("vocabulary last split exactly full", "vocabulary", bf16, vocabulary=96)
    yield Case("vocabulary last splits empty", "vocabulary", bf16, vocabulary=20, splits=5)
    yield Case("vocabulary of whole blocks", "vocabulary", bf16, vocabulary=64, width=64, gap=0)
    yield Case("vocabulary one token", "vocabulary", bf16, vocabulary=1)
    yield Case("vocabulary many rows", "vocabulary", bf16, lengths=(33,))
    yield Case("vocabulary without rows", "vocabulary", bf16, lengths=())


def _random(count: int) -> Iterator[Case]:
    draw = random.Random(20)
    operations: tuple[Operation, ...] = ("step", "mlp", "label", "vocabulary")
    for seed in range(count):
        operation = operations[seed % 4]
        yield Case(
            f"random {seed}",
            operation,
            draw.choice(_DTYPES[1:] if operation == "vocabulary" else _DTYPES),
            width=draw.randint(1, 150),
            gap=draw.choice((0, 1, 8)),
            lengths=tuple(draw.choice((0, 1, 2, 7)) for _ in range(draw.randint(1, 6))),
            order=draw.choice(("shuffled", "repeated")),
            reduction=draw.choice(("min", "product", "mean", "last", "max")),
            labels=draw.randint(2, 8),
            vocabulary=draw.randint(8, 120),
            splits=draw.randint(1, 6),
            seed=seed,
        )


CASES = (*_steps(), *_labels(), *_vocabularies(), *_random(24))

_TRACED = Case("", "step", "bfloat16")
#: Whose memory traffic is counted: no row is picked twice.
TRAFFIC_CASES = (
    replace(_TRACED, name="step_reward"),
    replace(_TRACED, name="step_reward float32", dtype="float32", index="int32"),
    replace(_TRACED, name="mlp epilogue", operation="mlp"),
    replace(_TRACED, name="label_probability", operation="label"),
    replace(_TRACED, name="label_logits", operation="logits", labels=1),
    replace(_TRACED, name="label_logprob", operation="vocabulary"),
    replace(_TRACED, name="label_logprob 20 rows", operation="vocabulary", lengths=(20,)),
)
