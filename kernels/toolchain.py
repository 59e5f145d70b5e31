"""Triton where it is installed; without it stand-ins, so that the kernels' files still import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import triton
    import triton.language as tl
except ImportError:  # a kernel is then a function that nobody calls
    triton = tl = None

__all__ = ["INTERPRETED", "jit", "tl", "triton"]

#: Whether kernels run in Triton's interpreter: TRITON_INTERPRET=1 when they were imported.
INTERPRETED: bool = triton is not None and bool(triton.knobs.runtime.interpret)


def jit(*counts: str) -> Callable[[Callable[..., Any]], Any]:
    """Return ``triton.jit``, or nothing where there is no Triton.

    The parameters named are numbers that change from call to call: a kernel is not compiled anew
    for those that are 1, or a multiple of 16.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        return function if triton is None else triton.jit(function, do_not_specialize=counts)

    return decorate
