"""Faults to plant into the kernels, which must not go unnoticed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .cases import Operation

__all__ = ["MUTANTS", "PLANTED", "Mutant", "plant"]

_SOURCES = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutant:
    """A kernel's file in which one text is replaced by another."""

    name: str
    file: str
    old: str
    new: str

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Those whose cases run the file."""
        return _OPERATIONS[self.file]


_OPERATIONS: dict[str, tuple[Operation, ...]] = {
    "step_head": ("step", "mlp"),
    "label_head": ("label", "logits"),
    "vocabulary_head": ("vocabulary",),
}

#: For the cases of values.
MUTANTS = (
    Mutant(
        "step: columns beyond the width are read",
        "step_head",
        "mask=known[:, None] & part[None, :]",
        "mask=known[:, None]",
    ),
    Mutant("step: rows are as long as wide", "step_head", "* hidden_stride", "* WIDTH"),
    Mutant(
        "step: the next candidate's steps count",
        "step_head",
        "counted = inside",
        "counted = step >= 0",
    ),
    Mutant("step: a row below the first is read", "step_head", "(row >= 0) & ", ""),
    Mutant(
        "step: a row beyond the last is read", "step_head", "(row < num_rows)", "(row <= num_rows)"
    ),
    Mutant("step: no bias", "step_head", "tl.sum(total, 1) + bias", "tl.sum(total, 1)"),
    Mutant(
        "step: ReLU by a maximum, which loses NaN",
        "step_head",
        "tl.where(x < 0.0, 0.0, x)",
        "tl.maximum(x, 0.0)",
    ),
    Mutant("step: no ReLU", "step_head", "if RELU:", "if RELU and not RELU:"),
    Mutant(
        "step: NaN is not counted",
        "step_head",
        "(probability != probability), 1, 0",
        "(probability != probability), 0, 0",
    ),
    Mutant("step: an empty candidate has a reward", "step_head", " & (end > first)", ""),
    Mutant(
        "step: the first step for the last",
        "step_head",
        "counted = step == end - 1",
        "counted = step == first",
    ),
    Mutant(
        "step: a sum for the mean", "step_head", 'if REDUCTION == "mean":', 'if REDUCTION == "sum":'
    ),
    Mutant(
        "step: blocks overwrite each other",
        "step_head",
        "value *= probability",
        "value = probability",
    ),
    Mutant(
        "step: the product begins at 0",
        "step_head",
        'REDUCTION == "min" or REDUCTION == "product"',
        'REDUCTION == "min"',
    ),
    Mutant(
        "step: 32 columns only",
        "step_head",
        "range(0, WIDTH, BLOCK_H)",
        "range(0, BLOCK_H, BLOCK_H)",
    ),
    Mutant(
        "label: columns beyond the width are read", "label_head", "mask=known & part", "mask=known"
    ),
    Mutant(
        "label: padding counts as a label",
        "label_head",
        'tl.where(named, tl.sum(total, 1) + bias, float("-inf"))',
        "tl.sum(total, 1) + bias",
    ),
    Mutant("label: no maximum is taken off", "label_head", "logit - tl.max(logit, 0)", "logit"),
    Mutant("logits: shares for numbers", "label_head", "if SOFTMAX:", "if LABELS:"),
    Mutant("label: no bias", "label_head", "tl.sum(total, 1) + bias", "tl.sum(total, 1)"),
    Mutant(
        "label: a row outside is read", "label_head", "(row >= 0) & (row < num_rows)", "row > -9"
    ),
    Mutant(
        "vocabulary: tokens beyond the last count",
        "vocabulary_head",
        'logits = tl.where(exists[None, :], logits, float("-inf"))',
        "logits = logits + 0.0",
    ),
    Mutant(
        "vocabulary: the last split is lost",
        "vocabulary_head",
        "computed = split < num_splits\n",
        "computed = split < num_splits - 1\n",
    ),
    Mutant(
        "vocabulary: sums keep their old maximum",
        "vocabulary_head",
        "total * tl.exp(top - new_top)",
        "total",
    ),
    Mutant(
        "vocabulary: splits are not brought to one maximum",
        "vocabulary_head",
        "total * tl.exp(top - highest)",
        "total",
    ),
    Mutant(
        "vocabulary: no label in the last token",
        "vocabulary_head",
        "(label < tl.minimum(start + BLOCK_V, num_tokens))",
        "(label < tl.minimum(start + BLOCK_V, num_tokens - 1))",
    ),
    Mutant(
        "vocabulary: labels count from the tile",
        "vocabulary_head",
        "token[None, :] == label[:, None]",
        "(token - start)[None, :] == label[:, None]",
    ),
    Mutant(
        "vocabulary: columns beyond the width are read",
        "vocabulary_head",
        "x_mask = x_mask & (column < WIDTH)[None, :]",
        "x_mask = x_mask",
    ),
    Mutant(
        "vocabulary: a label outside has a logit",
        "vocabulary_head",
        "exists = asked & (label >= 0) & (label < num_tokens)",
        "exists = asked",
    ),
    Mutant(
        "vocabulary: bfloat16 bits are multiplied",
        "vocabulary_head",
        "if INTERPRETED:",
        "if INTERPRETED and not INTERPRETED:",
    ),
)

#: For the tracer: (fault, the traffic case that shows it, what must be complained of).
PLANTED = (
    (
        Mutant(
            "an unmasked load",
            "vocabulary_head",
            "w_mask = exists[:, None]",
            "w_mask = (token >= 0)[:, None]",
        ),
        "label_logprob",
        "outside",
    ),
    (
        Mutant(
            "two programs write one address",
            "step_head",
            "candidates_ptr + candidate,",
            "candidates_ptr + candidate // 2,",
        ),
        "step_reward",
        "two programs",
    ),
    (
        Mutant(
            "rows are read twice",
            "label_head",
            "x = tl.load(hidden_ptr",
            "x = tl.load(hidden_ptr + row * hidden_stride + column, mask=known & part)\n"
            "        x = tl.load(hidden_ptr",
        ),
        "label_probability",
        "hidden",
    ),
)


def plant(mutant: Mutant, folder: Path, name: str) -> str:
    """Copy the kernels into a package of a folder on the path, with the fault; return its name.

    Raises
    ------
    ValueError
        The text to replace is not in the file, or not once.
    """
    package = folder / name
    package.mkdir()
    for source in _SOURCES.glob("*.py"):
        shutil.copy(source, package)
    file = package / f"{mutant.file}.py"
    text = file.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.old!r} is {text.count(mutant.old)} times in {file.name}"
        )
    file.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    return name
