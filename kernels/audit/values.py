"""Runs the cases in the interpreter, and compares them with float64.

``python -m rtsearch_fast.kernels.audit.values`` prints one JSON object a case; TRITON_INTERPRET=1
must be set. Without it the same cases run on a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..toolchain import INTERPRETED
from . import oracle
from .cases import CASES, Case

__all__ = ["HOME", "Call", "check", "prepare"]

#: The package whose kernels are audited; mutants are packages of other names.
HOME = __package__.removesuffix(".audit")

_DEVICE = "cpu" if INTERPRETED else "cuda"
#: Fills outputs and what is around them; no kernel computes it.
_UNTOUCHED = 7e7
_BLOCK_S, _BLOCK_H, _BLOCK_N, _BLOCK_V = 4, 32, 16, 16


@dataclass(frozen=True)
class Call:
    """A kernel's call, ready to run.

    Attributes
    ----------
    run : callable
        Launches the kernel; takes nothing.
    outputs : dict of Tensor
    expected : dict of ndarray
        The outputs in float64.
    """

    run: Callable[[], None]
    outputs: dict[str, Tensor]
    expected: dict[str, Any]


def check(case: Case, package: str = HOME) -> tuple[bool, str]:
    """Run a case; whether all is as it must be, and how far off it is at most."""
    call = prepare(case, package)
    call.run()
    tolerance = 3e-6 + 1e-6 * abs(case.shift)
    worst = 0.0
    for name, output in call.outputs.items():
        around = output.untyped_storage().size() // output.element_size() - output.numel()
        if int((_whole(output) == _UNTOUCHED).sum()) != around:
            return False, f"{name}: entries left out, or written around it"
        got, wanted = output.double().cpu().numpy(), call.expected[name]
        if not np.array_equal(np.isnan(got), np.isnan(wanted)):
            return False, f"{name}: NaN in other places"
        if got.size:
            worst = max(worst, float(np.nan_to_num(np.abs(got - wanted)).max()))
    return worst <= tolerance, f"off by {worst:.1e}"


def prepare(case: Case, package: str = HOME) -> Call:
    """Make the inputs of a case, and their float64 answer."""
    return _PREPARE[case.operation](case, package)


class _Inputs:
    """Hidden states and picked rows, with guards around them."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.draw = torch.Generator().manual_seed(case.seed)
        steps = sum(case.lengths)
        gathers = case.operation != "mlp"
        tokens = max(case.tokens, steps) if gathers else steps
        # A kernel that reads a row outside must not be saved by NaN, which is the right answer.
        guard = 3.0 if case.fault == "outside" else torch.nan
        self.hidden = self.matrix(tokens, guard)
        if case.shift:
            self.hidden[:, 0] = 1.0
        limit = tokens if case.order == "shuffled" else min(tokens, 3)
        self.rows = torch.randperm(tokens, generator=self.draw)[:steps] % max(limit, 1)
        if not gathers:
            self.rows = torch.arange(steps)
        if case.fault in ("nan", "inf"):
            self.hidden[self.rows[steps // 2], case.width // 2] = float(case.fault)
        if case.fault == "outside":
            self.rows[0], self.rows[8] = -1, tokens
        self.rows = self.rows.to(getattr(torch, case.index))
        self.offsets = torch.tensor([0, *np.cumsum(case.lengths)]).to(self.rows.dtype)

    def matrix(self, rows: int, guard: float) -> Tensor:
        """Random rows, within a matrix that has a guard row on both sides and a gap behind each."""
        case = self.case
        dtype = getattr(torch, case.dtype)
        whole = torch.full((rows + 2, case.width + case.gap), torch.nan, dtype=dtype)
        whole[:, : case.width] = guard
        whole[1:-1, : case.width] = self.normal(rows, case.width).to(dtype)
        return whole.to(_DEVICE)[1:-1, : case.width]

    def weight(self, rows: int) -> Tensor:
        """Rows that give logits of about 1, moved by the case's shift."""
        weight = self.matrix(rows, torch.nan)
        weight /= self.case.width**0.5
        if self.case.shift:
            weight[:, 0] = self.case.shift
        return weight

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.draw)

    def picked(self) -> Any:
        """The picked rows in float64; NaN for one that is not there."""
        hidden = np.pad(_exact(self.hidden), ((0, 1), (0, 0)), constant_values=np.nan)
        rows = self.rows.numpy()
        return hidden[np.where((rows >= 0) & (rows < len(hidden) - 1), rows, -1)]


def _prepare_step(case: Case, package: str) -> Call:
    inputs = _Inputs(case)
    step_head = import_module(f"{package}.step_head")
    row = inputs.normal(case.width) / case.width**0.5
    if case.shift:
        row[0] = case.shift
    bias = 0.25
    head = import_module(f"{package}.difference_row").DifferenceRow(row.to(_DEVICE), bias)
    outputs = step_head.StepRewards(_output(sum(case.lengths)), _output(len(case.lengths)))
    picked = inputs.picked()
    if case.operation == "mlp":
        picked = np.where(picked < 0, 0.0, picked)
    steps = oracle.step_probabilities(picked, _exact(row), bias)
    rows, offsets = inputs.rows.to(_DEVICE), inputs.offsets.to(_DEVICE)
    config = import_module(f"{package}.configs").StepConfig(_BLOCK_S, _BLOCK_H, 4)
    is_mlp = case.operation == "mlp"
    return Call(
        lambda: step_head.launch(
            inputs.hidden,
            None if is_mlp else rows,
            offsets,
            head,
            case.reduction,
            config,
            outputs,
            relu=is_mlp,
        ),
        {"steps": outputs.steps, "candidates": outputs.candidates},
        {"steps": steps, "candidates": oracle.rewards(steps, case.lengths, case.reduction)},
    )


def _prepare_label(case: Case, package: str) -> Call:
    inputs = _Inputs(case)
    label_head = import_module(f"{package}.label_head")
    weight, bias = inputs.weight(case.labels), inputs.normal(case.labels)
    rows, device_bias = inputs.rows.to(_DEVICE), bias.to(_DEVICE)
    out = _output(len(rows), case.labels)
    config = import_module(f"{package}.configs").LabelConfig(_BLOCK_H, 4)
    softmax = case.operation == "label"
    of = oracle.label_probabilities if softmax else oracle.label_logits
    return Call(
        lambda: label_head.launch(
            inputs.hidden, rows, weight, device_bias, config, out, softmax=softmax
        ),
        {"numbers": out},
        {"numbers": of(inputs.picked(), _exact(weight), _exact(bias))},
    )


def _prepare_vocabulary(case: Case, package: str) -> Call:
    inputs = _Inputs(case)
    head = import_module(f"{package}.vocabulary_head")
    weight = inputs.weight(case.vocabulary)
    steps = len(inputs.rows)
    labels = torch.randint(case.vocabulary, (steps, 3), generator=inputs.draw)
    labels[:, 0], labels[:, 1] = case.vocabulary - 1, 0
    there = torch.ones_like(labels, dtype=torch.bool)
    wanted = oracle.label_logprobs(inputs.picked(), _exact(weight), labels.numpy())
    if case.fault == "outside":
        labels[2, 0], labels[3, 1] = case.vocabulary, -1
        there[2, 0] = there[3, 1] = False
    labels = labels.to(inputs.rows.dtype).to(_DEVICE)
    rows, out = inputs.rows.to(_DEVICE), _output(steps, 3)
    config = import_module(f"{package}.configs").VocabularyConfig(
        _BLOCK_N, _BLOCK_V, _BLOCK_H, 4, 1, case.splits
    )
    return Call(
        lambda: head.launch(inputs.hidden, rows, weight, labels, config, out),
        {"logprobs": out},
        {"logprobs": np.where(there, wanted, np.nan)},
    )


_PREPARE = {
    "step": _prepare_step,
    "mlp": _prepare_step,
    "label": _prepare_label,
    "logits": _prepare_label,
    "vocabulary": _prepare_vocabulary,
}


def _output(*shape: int) -> Tensor:
    size = int(np.prod(shape))
    return torch.full((size + 32,), _UNTOUCHED, device=_DEVICE)[16:-16].view(shape)


def _whole(output: Tensor) -> Tensor:
    return torch.empty(0, device=output.device).set_(output.untyped_storage())


def _exact(tensor: Tensor) -> Any:
    return tensor.double().cpu().numpy()


def main() -> None:
    """Print a line of JSON for each case."""
    torch.set_num_threads(1)
    for case in CASES:
        passed, detail = check(case)
        print(json.dumps({"case": case.name, "passed": passed, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
