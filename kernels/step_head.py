"""Rewards of steps, and of the candidates they belong to, from a head of one difference row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .arguments import check_hidden, check_offsets, check_rows, check_width
from .configs import StepConfig, step_config
from .difference_row import DifferenceRow
from .dispatch import (
    KernelArgumentError,
    Route,
    UseKernels,
    choose,
    misalignments,
    obstacles,
    on_device_of,
)
from .toolchain import jit, tl

__all__ = [
    "REDUCTIONS",
    "StepRewards",
    "launch",
    "reduce_segments",
    "reference",
    "step_reward",
    "step_reward_route",
]

#: How the steps of a candidate become its reward.
REDUCTIONS = ("min", "product", "mean", "last", "max")


class StepRewards(NamedTuple):
    """Probabilities of "right".

    Attributes
    ----------
    steps : Tensor of float32, [S]
    candidates : Tensor of float32, [N]
        NaN for a candidate without steps, or with a step that counts and has NaN.
    """

    steps: Tensor
    candidates: Tensor


@jit()
def _multiply(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    return a * b


@jit("num_rows")
def step_reward_kernel(
    hidden_ptr: tl.tensor,
    hidden_stride: tl.tensor,
    rows_ptr: tl.tensor,
    offsets_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    bias: tl.tensor,
    steps_ptr: tl.tensor,
    candidates_ptr: tl.tensor,
    num_rows: tl.tensor,
    WIDTH: tl.constexpr,
    REDUCTION: tl.constexpr,
    GATHER: tl.constexpr,
    RELU: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_H: tl.constexpr,
) -> None:
    """One program a candidate: all its steps, BLOCK_S at a time; accumulates in float32.

    Without GATHER the rows are those of the steps themselves. A row outside of hidden is not read,
    and its step is NaN.
    """
    candidate = tl.program_id(0)
    first = tl.load(offsets_ptr + candidate)
    end = tl.load(offsets_ptr + candidate + 1)
    nan = float("nan")
    neutral = 1.0 if REDUCTION == "min" or REDUCTION == "product" else 0.0
    value = tl.full([BLOCK_S], neutral, tl.float32)
    # Minima and maxima pass NaN over, so it is counted.
    missing = tl.zeros([BLOCK_S], tl.int32)
    for start in range(first, end, BLOCK_S):
        step = start + tl.arange(0, BLOCK_S)
        inside = step < end
        if GATHER:
            row = tl.load(rows_ptr + step, mask=inside, other=0).to(tl.int64)
        else:
            row = step.to(tl.int64)
        known = inside & (row >= 0) & (row < num_rows)
        total = tl.zeros([BLOCK_S, BLOCK_H], tl.float32)
        for h in range(0, WIDTH, BLOCK_H):
            column = h + tl.arange(0, BLOCK_H)
            part = column < WIDTH
            x = tl.load(
                hidden_ptr + row[:, None] * hidden_stride + column[None, :],
                mask=known[:, None] & part[None, :],
                other=0.0,
            ).to(tl.float32)
            if RELU:
                x = tl.where(x < 0.0, 0.0, x)  # a maximum would lose NaN
            w = tl.load(weight_ptr + column, mask=part, other=0.0)
            total += x * w[None, :]
        probability = tl.where(known, tl.sigmoid(tl.sum(total, 1) + bias), nan)
        tl.store(steps_ptr + step, probability, mask=inside)
        counted = inside
        if REDUCTION == "last":
            counted = step == end - 1
        missing += tl.where(counted & (probability != probability), 1, 0)
        probability = tl.where(counted, probability, neutral)
        if REDUCTION == "min":
            value = tl.minimum(value, probability)
        elif REDUCTION == "max":
            value = tl.maximum(value, probability)
        elif REDUCTION == "product":
            value *= probability
        else:
            value += probability
    if REDUCTION == "min":
        reward = tl.min(value, 0)
    elif REDUCTION == "max":
        reward = tl.max(value, 0)
    elif REDUCTION == "product":
        reward = tl.reduce(value, 0, _multiply)
    else:
        reward = tl.sum(value, 0)
    if REDUCTION == "mean":
        reward = reward / tl.maximum(end - first, 1).to(tl.float32)
    defined = (tl.sum(missing, 0) == 0) & (end > first)
    tl.store(candidates_ptr + candidate, tl.where(defined, reward, nan))


def reduce_segments(values: Tensor, offsets: Tensor, reduction: str) -> Tensor:
    """Reduce values [S] to one a segment [N]; NaN for an empty one, whatever the reduction."""
    lengths = offsets.diff()
    if reduction == "last":
        padded = torch.cat([values, values.new_full((1,), torch.nan)])
        result = padded[(offsets[1:] - 1).clamp(min=0)]
    else:
        name = {"product": "prod"}.get(reduction, reduction)
        result = torch.segment_reduce(values, name, offsets=offsets, axis=0)
    return torch.where(lengths > 0, result, torch.nan)


def reference(
    hidden: Tensor, rows: Tensor, offsets: Tensor, head: DifferenceRow, reduction: str
) -> StepRewards:
    """The operation in torch, which picks the rows first; see `step_reward`."""
    steps = torch.sigmoid(hidden[rows].float() @ head.weight + head.bias)
    return StepRewards(steps, reduce_segments(steps, offsets, reduction))


def launch(
    hidden: Tensor,
    rows: Tensor | None,
    offsets: Tensor,
    head: DifferenceRow,
    reduction: str,
    config: StepConfig,
    out: StepRewards,
    *,
    relu: bool = False,
) -> None:
    """Run the kernel as it is; without rows, step i has row i. Checks nothing."""
    candidates = len(out.candidates)
    if not candidates:
        return
    with on_device_of(hidden):
        step_reward_kernel[(candidates,)](
            hidden,
            hidden.stride(0),
            offsets if rows is None else rows,
            offsets,
            head.weight,
            head.bias,
            out.steps,
            out.candidates,
            len(hidden),
            WIDTH=hidden.shape[1],
            REDUCTION=reduction,
            GATHER=rows is not None,
            RELU=relu,
            BLOCK_S=config.block_s,
            BLOCK_H=config.block_h,
            num_warps=config.num_warps,
            num_stages=1,
            enable_fp_fusion=True,
        )


def step_reward(
    hidden: Tensor,
    rows: Tensor,
    offsets: Tensor,
    head: DifferenceRow,
    *,
    reduction: str = "min",
    use_kernels: UseKernels = "auto",
) -> StepRewards:
    """Judge steps at their tokens, and candidates by their steps, in one launch.

    ``steps[i] = sigmoid(hidden[rows[i]] . weight + bias)``, and the reward of candidate n is the
    reduction over ``steps[offsets[n]:offsets[n + 1]]``.

    Parameters
    ----------
    hidden : Tensor of float32, float16 or bfloat16, [T, H]
        Hidden states after the last norm, of any number of sequences side by side.
    rows : Tensor of int32 or int64, [S]
        The token that each step is judged at, in [0, T); in any order, also repeated. A GPU is not
        waited for to check the range: there the kernel gives such a step NaN.
    offsets : Tensor of int32 or int64, [N + 1]
        Where each candidate's steps begin; rises from 0 to S.
    head : DifferenceRow
    reduction : {"min", "product", "mean", "last", "max"}
    use_kernels : {"auto", "triton", "torch"}

    Returns
    -------
    StepRewards

    Raises
    ------
    KernelArgumentError
        An argument has the wrong shape, dtype, device or range.
    KernelUnavailableError
        "triton" was asked for and cannot be had.

    Examples
    --------
    >>> import torch
    >>> hidden = torch.tensor([[2.0], [0.0], [-2.0]])
    >>> head = DifferenceRow.from_linear(torch.ones(1, 1))
    >>> rows, offsets = torch.tensor([0, 1, 2]), torch.tensor([0, 2, 3])
    >>> rewards = step_reward(hidden, rows, offsets, head, reduction="min").candidates
    >>> [round(reward, 2) for reward in rewards.tolist()]
    [0.5, 0.12]
    """
    route = step_reward_route(
        hidden, rows, offsets, head, reduction=reduction, use_kernels=use_kernels
    )
    if route.backend == "torch":
        return reference(hidden, rows, offsets, head, reduction)
    out = empty_rewards(hidden, len(rows), offsets)
    launch(hidden, rows, offsets, head, reduction, step_config(hidden.element_size()), out)
    return out


def step_reward_route(
    hidden: Tensor,
    rows: Tensor,
    offsets: Tensor,
    head: DifferenceRow,
    *,
    reduction: str = "min",
    use_kernels: UseKernels = "auto",
) -> Route:
    """Return what `step_reward` would run for these arguments, and why."""
    check_hidden(hidden)
    check_rows(rows, hidden)
    check_offsets(offsets, len(rows), hidden)
    check_width("head.weight", head.weight, hidden)
    check_reduction(reduction)
    return choose(use_kernels, _against(hidden, head))


def check_reduction(reduction: str) -> None:
    """Refuse a name that is none of `REDUCTIONS`."""
    if reduction not in REDUCTIONS:
        raise KernelArgumentError(f"reduction={reduction!r}: choose one of {', '.join(REDUCTIONS)}")


def empty_rewards(hidden: Tensor, steps: int, offsets: Tensor) -> StepRewards:
    """Return room for the kernel's answer."""
    return StepRewards(
        hidden.new_empty(steps, dtype=torch.float32),
        hidden.new_empty(len(offsets) - 1, dtype=torch.float32),
    )


def _against(hidden: Tensor, head: DifferenceRow) -> Iterator[str]:
    yield from obstacles(hidden, head.weight)
    yield from misalignments("hidden", hidden)
    if head.weight.data_ptr() % 16:
        yield "head.weight does not start at a multiple of 16 bytes"
