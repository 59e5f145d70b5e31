"""Logits of a few labels, and their probabilities among these labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .arguments import check_hidden, check_rows, check_width
from .configs import LabelConfig, label_config
from .dispatch import (
    KernelArgumentError,
    Route,
    UseKernels,
    choose,
    misalignments,
    obstacles,
    on_device_of,
)
from .toolchain import jit, tl, triton

__all__ = [
    "MOST_LABELS",
    "label_logits",
    "label_logits_route",
    "label_probability",
    "label_probability_route",
    "launch",
    "reference",
]

#: More than these are no few labels: a GEMM is the better way.
MOST_LABELS = 8


@jit("num_rows")
def label_kernel(
    hidden_ptr: tl.tensor,
    hidden_stride: tl.tensor,
    rows_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    weight_stride: tl.tensor,
    bias_ptr: tl.tensor,
    out_ptr: tl.tensor,
    num_rows: tl.tensor,
    WIDTH: tl.constexpr,
    LABELS: tl.constexpr,
    SOFTMAX: tl.constexpr,
    BLOCK_L: tl.constexpr,
    BLOCK_H: tl.constexpr,
) -> None:
    """One program a picked row: all labels at once, so that the row is read once.

    Accumulates in float32. A row outside of hidden is not read, and its numbers are NaN.
    """
    index = tl.program_id(0).to(tl.int64)
    # A block of one row: Triton 3.9's interpreter takes no scalar masks.
    row = tl.load(rows_ptr + index + tl.arange(0, 1)).to(tl.int64)
    known = (row >= 0) & (row < num_rows)
    label = tl.arange(0, BLOCK_L)
    named = label < LABELS
    total = tl.zeros([BLOCK_L, BLOCK_H], tl.float32)
    for h in range(0, WIDTH, BLOCK_H):
        column = h + tl.arange(0, BLOCK_H)
        part = column < WIDTH
        x = tl.load(hidden_ptr + row * hidden_stride + column, mask=known & part, other=0.0)
        w = tl.load(
            weight_ptr + label[:, None] * weight_stride + column[None, :],
            mask=named[:, None] & part[None, :],
            other=0.0,
        )
        total += x.to(tl.float32)[None, :] * w.to(tl.float32)
    bias = tl.load(bias_ptr + label, mask=named, other=0.0)
    logit = tl.where(named, tl.sum(total, 1) + bias, float("-inf"))
    if SOFTMAX:
        share = tl.exp(logit - tl.max(logit, 0))
        number = share / tl.sum(share, 0)
    else:
        number = logit
    tl.store(out_ptr + index * LABELS + label, tl.where(known, number, float("nan")), mask=named)


def reference(hidden: Tensor, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The logits in torch, which picks the rows first; see `label_logits`."""
    return hidden[rows].float() @ weight.float().t() + bias


def launch(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    config: LabelConfig,
    out: Tensor,
    *,
    softmax: bool,
) -> None:
    """Run the kernel as it is; checks nothing."""
    if not len(rows):
        return
    labels = len(weight)
    with on_device_of(hidden):
        label_kernel[(len(rows),)](
            hidden,
            hidden.stride(0),
            rows,
            weight,
            weight.stride(0),
            bias,
            out,
            len(hidden),
            WIDTH=hidden.shape[1],
            LABELS=labels,
            SOFTMAX=softmax,
            BLOCK_L=triton.next_power_of_2(labels),
            BLOCK_H=config.block_h,
            num_warps=config.num_warps,
            num_stages=1,
            enable_fp_fusion=True,
        )


def label_probability(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    use_kernels: UseKernels = "auto",
) -> Tensor:
    """Return the softmax over a few labels at the picked rows.

    ``softmax(hidden[rows] @ weight.T + bias)``. For two labels of which one probability is wanted,
    and for rewards of candidates, `step_reward` does less work.

    Parameters
    ----------
    hidden : Tensor of float32, float16 or bfloat16, [T, H]
    rows : Tensor of int32 or int64, [S]
        In [0, T), as in `step_reward`.
    weight : Tensor of float32, float16 or bfloat16, [L, H]
        The labels' rows of the head or of the output embedding; 2 to 8 of them.
    bias : Tensor of float32, [L], optional
    use_kernels : {"auto", "triton", "torch"}

    Returns
    -------
    Tensor of float32, [S, L]
        NaN in the whole row if a logit is NaN.

    Raises
    ------
    KernelArgumentError
        An argument has the wrong shape, dtype, device or range.
    KernelUnavailableError
        "triton" was asked for and cannot be had.

    Examples
    --------
    >>> import torch
    >>> hidden, rows = torch.tensor([[1.0], [0.0]]), torch.tensor([1, 0])
    >>> probabilities = label_probability(hidden, rows, torch.tensor([[0.0], [1.0]]))
    >>> [[round(p, 2) for p in row] for row in probabilities.tolist()]
    [[0.5, 0.5], [0.27, 0.73]]
    """
    route = label_probability_route(hidden, rows, weight, bias, use_kernels=use_kernels)
    if route.backend == "torch":
        return torch.softmax(reference(hidden, rows, weight, _or_zeros(bias, weight)), -1)
    return _launched(hidden, rows, weight, bias, softmax=True)


def label_logits(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    use_kernels: UseKernels = "auto",
) -> Tensor:
    """Return the logits of a few labels, or the few numbers of a head, at the picked rows.

    ``hidden[rows] @ weight.T + bias``.

    Parameters
    ----------
    hidden, rows, bias, use_kernels
        As in `label_probability`.
    weight : Tensor of float32, float16 or bfloat16, [L, H]
        1 to 8 rows.

    Returns
    -------
    Tensor of float32, [S, L]

    Raises
    ------
    KernelArgumentError, KernelUnavailableError
        As `label_probability` does.

    Examples
    --------
    >>> import torch
    >>> label_logits(torch.eye(2), torch.tensor([1]), torch.tensor([[5.0, 7.0]])).tolist()
    [[7.0]]
    """
    route = label_logits_route(hidden, rows, weight, bias, use_kernels=use_kernels)
    if route.backend == "torch":
        return reference(hidden, rows, weight, _or_zeros(bias, weight))
    return _launched(hidden, rows, weight, bias, softmax=False)


def label_probability_route(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    use_kernels: UseKernels = "auto",
) -> Route:
    """Return what `label_probability` would run for these arguments, and why."""
    return _route(hidden, rows, weight, bias, use_kernels, fewest=2)


def label_logits_route(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    use_kernels: UseKernels = "auto",
) -> Route:
    """Return what `label_logits` would run for these arguments, and why."""
    return _route(hidden, rows, weight, bias, use_kernels, fewest=1)


def _route(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    use_kernels: UseKernels,
    fewest: int,
) -> Route:
    check_hidden(hidden)
    check_rows(rows, hidden)
    if weight.ndim != 2 or not fewest <= len(weight) <= MOST_LABELS:
        raise KernelArgumentError(
            f"weight has shape {tuple(weight.shape)}: give {fewest} to {MOST_LABELS} rows of labels"
        )
    check_width("weight", weight, hidden)
    if bias is not None and (
        bias.shape != (len(weight),) or bias.dtype != torch.float32 or bias.device != weight.device
    ):
        raise KernelArgumentError(
            f"bias is {bias.dtype} of shape {tuple(bias.shape)} on {bias.device}: it must be "
            f"float32 of shape ({len(weight)},) on {weight.device}"
        )
    return choose(use_kernels, _against(hidden, weight))


def _launched(
    hidden: Tensor, rows: Tensor, weight: Tensor, bias: Tensor | None, *, softmax: bool
) -> Tensor:
    out = hidden.new_empty((len(rows), len(weight)), dtype=torch.float32)
    config = label_config(len(weight))
    launch(hidden, rows, weight, _or_zeros(bias, weight), config, out, softmax=softmax)
    return out


def _or_zeros(bias: Tensor | None, weight: Tensor) -> Tensor:
    return weight.new_zeros(len(weight), dtype=torch.float32) if bias is None else bias


def _against(hidden: Tensor, weight: Tensor) -> Iterator[str]:
    yield from obstacles(hidden, weight)
    yield from misalignments("hidden", hidden)
    yield from misalignments("weight", weight)
