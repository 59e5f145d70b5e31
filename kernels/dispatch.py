"""Which code computes an operation, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .toolchain import INTERPRETED, triton

__all__ = [
    "KernelArgumentError",
    "KernelUnavailableError",
    "Route",
    "UseKernels",
    "architecture",
    "choose",
    "misalignments",
    "obstacles",
    "on_device_of",
]

#: Take the kernel where it can be had, insist on it, or never take it.
UseKernels = Literal["auto", "triton", "torch"]


class KernelArgumentError(ValueError):
    """An argument has the wrong shape, dtype, device or range."""


class KernelUnavailableError(ValueError):
    """The kernel was insisted on and cannot be had; the message says why."""


class Route(NamedTuple):
    """Which code computes an operation, and the reason in words."""

    backend: Literal["triton", "torch"]
    reason: str


def choose(use_kernels: str, reasons_against: Iterable[str]) -> Route:
    """Decide between kernel and torch.

    Parameters
    ----------
    use_kernels : {"auto", "triton", "torch"}
    reasons_against : iterable of str
        What keeps the kernel from running; only the first is asked for.

    Raises
    ------
    KernelArgumentError
        There is no such choice.
    KernelUnavailableError
        "triton" was asked for, and there is a reason against it.
    """
    if use_kernels not in ("auto", "triton", "torch"):
        raise KernelArgumentError(f"use_kernels={use_kernels!r}: choose auto, triton or torch")
    if use_kernels == "torch":
        return Route("torch", "torch was asked for")
    reason = next(iter(reasons_against), None)
    if reason is None:
        return Route("triton", "nothing is against it")
    if use_kernels == "triton":
        raise KernelUnavailableError(f"use_kernels='triton' cannot be had: {reason}")
    return Route("torch", reason)


def obstacles(hidden: Tensor, *weights: Tensor) -> Iterator[str]:
    """What keeps any kernel from running on these hidden states and weights."""
    if triton is None:
        yield 'triton is not installed: pip install "rtsearch-fast[kernels]"'
    if hidden.device.type != "cuda" and not INTERPRETED:
        yield f"the tensors are on {hidden.device.type}, not on a GPU"
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (hidden, *weights)):
        yield "a gradient is wanted, and the kernels give none: use torch.inference_mode()"


def misalignments(name: str, matrix: Tensor) -> Iterator[str]:
    """What keeps the rows of a matrix from being read 16 bytes at a time."""
    columns, stride = matrix.shape[1], matrix.stride(0)
    if matrix.stride(1) != 1:
        yield f"the columns of {name} are {matrix.stride(1)} elements apart, not side by side"
    if columns % 8:
        yield f"{name} has {columns} columns, not a multiple of 8"
    if stride % 16:  # the multiple that Triton specialises a kernel for
        yield f"the rows of {name} are {stride} elements apart, not a multiple of 16"
    if matrix.data_ptr() % 16:
        yield f"{name} does not start at a multiple of 16 bytes"


@cache
def architecture(device: torch.device) -> str:
    """Return the name of a GPU's instruction set, such as "sm_90" or "gfx942".

    The interpreter takes the place of an "sm_90".
    """
    if device.type != "cuda":
        return "sm_90"
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(device).gcnArchName).partition(":")[0]
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def on_device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Launch on the GPU that holds a tensor: Triton takes the current one."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
