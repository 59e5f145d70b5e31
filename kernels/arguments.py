"""Checks of arguments that the operations share."""

from __future__ import annotations

from torch import Tensor, bfloat16, float16, float32, int32, int64

from .dispatch import KernelArgumentError

__all__ = ["check_hidden", "check_offsets", "check_rows", "check_width"]


def check_hidden(hidden: Tensor) -> None:
    """Hidden states are [T, H] of a dtype that models compute with."""
    if hidden.ndim != 2 or hidden.dtype not in (float32, float16, bfloat16):
        raise KernelArgumentError(
            f"hidden is {hidden.dtype} of shape {tuple(hidden.shape)}: it must be float32, float16 "
            "or bfloat16 of shape [tokens, width]"
        )


def check_width(name: str, tensor: Tensor, hidden: Tensor) -> None:
    """Weights have as many columns as hidden states, on the same device."""
    if tensor.shape[-1] != hidden.shape[1]:
        raise KernelArgumentError(
            f"{name} is {tensor.shape[-1]} wide and hidden {hidden.shape[1]}: they must be equal"
        )
    if tensor.device != hidden.device:
        raise KernelArgumentError(f"{name} is on {tensor.device} and hidden on {hidden.device}")


def check_rows(rows: Tensor, hidden: Tensor) -> None:
    """Indices of rows are whole numbers in [0, T), the range checked where that costs no wait."""
    _check_indices("rows", rows, hidden)
    if rows.device.type == "cpu" and len(rows):
        low, high = (int(bound) for bound in rows.aminmax())
        if low < 0 or high >= len(hidden):
            raise KernelArgumentError(
                f"rows holds {low if low < 0 else high}: hidden has the rows 0 to {len(hidden) - 1}"
            )


def check_offsets(offsets: Tensor, steps: int, hidden: Tensor) -> None:
    """Offsets rise from 0 to the number of steps, checked where that costs no wait."""
    _check_indices("offsets", offsets, hidden)
    if not len(offsets):
        raise KernelArgumentError("offsets is empty: it holds one more entry than candidates")
    if offsets.device.type == "cpu" and not (
        offsets[0] == 0 and offsets[-1] == steps and bool((offsets.diff() >= 0).all())
    ):
        raise KernelArgumentError(
            f"offsets run from {int(offsets[0])} to {int(offsets[-1])}: they must rise from 0 to "
            f"the number of steps, {steps}"
        )


def _check_indices(name: str, indices: Tensor, hidden: Tensor) -> None:
    if indices.ndim != 1 or indices.dtype not in (int32, int64) or not indices.is_contiguous():
        raise KernelArgumentError(
            f"{name} is {indices.dtype} of shape {tuple(indices.shape)}: it must be int32 or int64 "
            "of one dimension, contiguous"
        )
    if indices.device != hidden.device:
        raise KernelArgumentError(f"{name} is on {indices.device} and hidden on {hidden.device}")
