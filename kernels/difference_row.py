"""Heads of one logit, and heads of two labels, as one row of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .dispatch import KernelArgumentError

__all__ = ["DifferenceRow"]


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """A head that gives the probability of "right" as ``sigmoid(hidden . weight + bias)``.

    The softmax over two labels is the sigmoid of the difference of their logits, so a head of two
    labels is one row as well. Make it once, when the model is loaded.

    Attributes
    ----------
    weight : Tensor of float32, [H]
        Side by side in memory. The difference is taken in float32: bfloat16 rows of two labels
        that are nearly equal would lose it.
    bias : float

    Examples
    --------
    >>> import torch
    >>> head = DifferenceRow.from_labels(torch.tensor([[1.0, 2.0], [4.0, 8.0]]), 1, 0)
    >>> head.weight.tolist(), head.bias
    ([3.0, 6.0], 0.0)
    """

    weight: Tensor
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.weight.ndim != 1 or self.weight.dtype != torch.float32:
            raise KernelArgumentError(
                f"weight is {self.weight.dtype} of shape {tuple(self.weight.shape)}: it must be "
                "float32 of one dimension"
            )
        if not self.weight.is_contiguous():
            raise KernelArgumentError("weight is not contiguous: pass weight.contiguous()")

    @classmethod
    def from_linear(cls, weight: Tensor, bias: Tensor | None = None) -> DifferenceRow:
        """Take a linear layer of one output: weight [1, H] or [H], bias [1] or none."""
        shape = tuple(weight.shape)
        if len(shape) > 1 and shape[0] != 1:
            raise KernelArgumentError(
                f"weight has shape {shape}: a head of one output has [1, H]; for two labels use "
                "from_labels"
            )
        if bias is not None and bias.numel() != 1:
            raise KernelArgumentError(
                f"bias has {bias.numel()} entries: a head of one output has 1"
            )
        return cls._of(weight.reshape(-1), bias)

    @classmethod
    def from_labels(
        cls, weight: Tensor, positive: int, negative: int, bias: Tensor | None = None
    ) -> DifferenceRow:
        """Take two rows of a matrix [labels or vocabulary, H], that of "right" first.

        Raises
        ------
        KernelArgumentError
            There is no such row.
        """
        for label in (positive, negative):
            if not 0 <= label < weight.shape[0]:
                raise KernelArgumentError(
                    f"label {label}: weight has the rows 0 to {weight.shape[0] - 1}"
                )
        row = weight[positive].float() - weight[negative].float()
        return cls._of(
            row, None if bias is None else bias[positive].float() - bias[negative].float()
        )

    @classmethod
    def _of(cls, weight: Tensor, bias: Tensor | None) -> DifferenceRow:
        number = 0.0 if bias is None else bias.detach().item()
        return cls(weight.detach().float().contiguous(), number)
