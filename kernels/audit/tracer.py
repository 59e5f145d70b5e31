"""Counts what kernels read and write in the interpreter, and where they should not."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from triton.runtime import interpreter

__all__ = ["Tracer"]


@dataclass
class _Region:
    """The memory of a tensor: rows of `row_bytes`, `stride_bytes` apart."""

    name: str
    base: int
    rows: int
    row_bytes: int
    stride_bytes: int
    writer: Any  # of each byte, the program that wrote it; -1 for none

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> _Region:
        size = tensor.element_size()
        if tensor.is_contiguous():
            rows, row_bytes, stride_bytes = 1, tensor.numel() * size, tensor.numel() * size
        else:
            rows, row_bytes = tensor.shape[0], tensor.shape[1] * size
            stride_bytes = tensor.stride(0) * size
        writer = np.full(max(rows * stride_bytes, 1), -1, np.int64)
        return cls(name, tensor.data_ptr(), rows, row_bytes, max(stride_bytes, 1), writer)

    def offsets(self, addresses: Any) -> tuple[Any, Any]:
        """Bytes from the start, and whether they belong to the tensor."""
        offsets = addresses.astype(np.int64) - self.base
        within = (offsets >= 0) & (offsets < self.rows * self.stride_bytes)
        return offsets, within & (offsets % self.stride_bytes < self.row_bytes)


class Tracer:
    """A context in which launches of interpreted kernels are counted.

    Buffers are named as the kernel's parameters, without "_ptr". What is outside of all of them is
    counted and not read or written.

    Attributes
    ----------
    requested : dict of str to int
        Bytes that programs asked for, reads and writes.
    unique : dict of str to int
        Bytes of the buffer that were touched.
    outside : int
        Elements outside of all buffers.
    races : int
        Elements written by two programs of one launch.
    """

    def __init__(self) -> None:
        self.requested: dict[str, int] = defaultdict(int)
        self.outside = 0
        self.races = 0
        self._touched: dict[tuple[str, int], Any] = {}
        self._regions: list[_Region] = []

    @property
    def unique(self) -> dict[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for (name, _), touched in self._touched.items():
            counts[name] += int(touched.sum())
        return counts

    def __enter__(self) -> Tracer:
        builder = interpreter.interpreter_builder
        self._load, self._store = builder.create_masked_load, builder.create_masked_store
        self._run = run = interpreter.InterpretedFunction.run

        def traced_run(function: Any, *arguments: Any, **options: Any) -> Any:
            self._start(function.arg_names, arguments)
            return run(function, *arguments, **options)

        builder.create_masked_load = self._traced_load
        builder.create_masked_store = self._traced_store
        interpreter.InterpretedFunction.run = traced_run
        return self

    def __exit__(self, *_: object) -> None:
        builder = interpreter.interpreter_builder
        del builder.create_masked_load, builder.create_masked_store
        interpreter.InterpretedFunction.run = self._run

    def _start(self, names: list[str], arguments: tuple[Any, ...]) -> None:
        # One that is passed under two names has the second.
        regions = {
            tensor.data_ptr(): _Region.of(name.removesuffix("_ptr"), tensor)
            for name, tensor in zip(names, arguments, strict=False)
            if isinstance(tensor, Tensor) and tensor.numel()
        }
        self._regions = list(regions.values())

    def _traced_load(self, pointers: Any, mask: Any, *rest: Any) -> Any:
        return self._load(pointers, self._access(pointers, mask, writes=False), *rest)

    def _traced_store(self, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return self._store(pointers, value, self._access(pointers, mask, writes=True), *rest)

    def _access(self, pointers: Any, mask: Any, *, writes: bool) -> Any:
        """Count an access; return its mask without what is outside."""
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        wanted = np.broadcast_to(mask.data, pointers.data.shape).astype(bool)
        addresses = pointers.data[wanted]
        known = np.zeros(len(addresses), bool)
        x, y, z = interpreter.interpreter_builder.grid_idx
        program = (x << 40) + (y << 20) + z
        for region in self._regions:
            offsets, inside = region.offsets(addresses)
            offsets, known = offsets[inside], known | inside
            self.requested[region.name] += len(offsets) * size
            key = (region.name, region.base)
            touched = self._touched.setdefault(key, np.zeros(len(region.writer), bool))
            if writes:
                before = region.writer[offsets]
                self.races += int(((before != -1) & (before != program)).sum())
            for byte in range(size):
                touched[offsets + byte] = True
                if writes:
                    region.writer[offsets + byte] = program
        self.outside += int((~known).sum())
        allowed = wanted.copy()
        allowed[wanted] = known
        return interpreter.TensorHandle(allowed, mask.dtype)
