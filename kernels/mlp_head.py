"""Rewards of steps from a head of two layers: one GEMM on the picked rows, and an epilogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .arguments import check_hidden, check_offsets, check_rows, check_width
from .configs import step_config
from .difference_row import DifferenceRow
from .dispatch import KernelArgumentError, Route, UseKernels, choose, obstacles
from .step_head import (
    StepRewards,
    check_reduction,
    empty_rewards,
    launch,
    reduce_segments,
)

__all__ = ["MlpHead", "mlp_step_reward", "mlp_step_reward_route", "reference"]


@dataclass(frozen=True, slots=True)
class MlpHead:
    """``Linear(H, M), ReLU, Linear(M, 2), softmax``, as process reward models have it.

    Attributes
    ----------
    weight : Tensor of the hidden states' dtype, [M, H]
    bias : Tensor of the same dtype, [M]
    output : DifferenceRow
        The second layer, of width M.
    """

    weight: Tensor
    bias: Tensor
    output: DifferenceRow

    def __post_init__(self) -> None:
        width = self.weight.shape[0]
        if self.bias.shape != (width,) or self.output.weight.shape != (width,):
            raise KernelArgumentError(
                f"weight has {width} rows, bias the shape {tuple(self.bias.shape)} and output the "
                f"width {len(self.output.weight)}: all three must be equal"
            )

    def hidden_layer(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Return the first layer before its ReLU on the picked rows, [S, M]: one GEMM."""
        return torch.addmm(self.bias, hidden[rows], self.weight.t())


def reference(
    hidden: Tensor, rows: Tensor, offsets: Tensor, head: MlpHead, reduction: str
) -> StepRewards:
    """The operation in torch, which picks the rows first; see `mlp_step_reward`."""
    layer = torch.relu(head.hidden_layer(hidden, rows)).float()
    steps = torch.sigmoid(layer @ head.output.weight + head.output.bias)
    return StepRewards(steps, reduce_segments(steps, offsets, reduction))


def mlp_step_reward(
    hidden: Tensor,
    rows: Tensor,
    offsets: Tensor,
    head: MlpHead,
    *,
    reduction: str = "min",
    use_kernels: UseKernels = "auto",
) -> StepRewards:
    """Judge steps and candidates as `step_reward` does, with a head of two layers.

    The first layer is torch's GEMM on the S picked rows, not on all T; the kernel does the rest,
    ReLU, second layer, softmax and reduction, in one launch.

    Parameters
    ----------
    hidden, rows, offsets, reduction, use_kernels
        As in `step_reward`, except that a row outside of hidden is torch's to refuse.
    head : MlpHead

    Returns
    -------
    StepRewards

    Raises
    ------
    KernelArgumentError, KernelUnavailableError
        As `step_reward` does.

    Examples
    --------
    >>> import torch
    >>> hidden, rows, offsets = torch.ones(2, 1), torch.tensor([1]), torch.tensor([0, 1])
    >>> head = MlpHead(torch.ones(1, 1), torch.zeros(1), DifferenceRow(torch.ones(1)))
    >>> round(mlp_step_reward(hidden, rows, offsets, head).candidates.item(), 2)
    0.73
    """
    route = mlp_step_reward_route(
        hidden, rows, offsets, head, reduction=reduction, use_kernels=use_kernels
    )
    if route.backend == "torch":
        return reference(hidden, rows, offsets, head, reduction)
    layer = head.hidden_layer(hidden, rows)
    out = empty_rewards(hidden, len(rows), offsets)
    config = step_config(layer.element_size())
    launch(layer, None, offsets, head.output, reduction, config, out, relu=True)
    return out


def mlp_step_reward_route(
    hidden: Tensor,
    rows: Tensor,
    offsets: Tensor,
    head: MlpHead,
    *,
    reduction: str = "min",
    use_kernels: UseKernels = "auto",
) -> Route:
    """Return what `mlp_step_reward` would run for these arguments, and why."""
    check_hidden(hidden)
    check_rows(rows, hidden)
    check_offsets(offsets, len(rows), hidden)
    check_width("head.weight", head.weight, hidden)
    check_reduction(reduction)
    if head.weight.dtype != hidden.dtype:
        raise KernelArgumentError(
            f"head.weight is {head.weight.dtype} and hidden {hidden.dtype}: they must be equal"
        )
    return choose(use_kernels, _against(hidden, head))


def _against(hidden: Tensor, head: MlpHead) -> Iterator[str]:
    yield from obstacles(hidden, head.weight, head.bias, head.output.weight)
    if len(head.weight) % 16:
        yield f"head.weight has {len(head.weight)} rows, not a multiple of 16"
    if head.output.weight.data_ptr() % 16:
        yield "head.output.weight does not start at a multiple of 16 bytes"
