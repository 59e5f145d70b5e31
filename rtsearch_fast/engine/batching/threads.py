"""The number of threads that torch computes with, for one thread of this process alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["torch_threads"]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let operations that this thread starts be computed by ``count`` threads."""
    import torch

    before = torch.get_num_threads()
    if count == before:
        yield
        return
    _set(count, before)
    try:
        yield
    finally:
        _set(before, before)


def _set(count: int, default: int) -> None:
    import torch

    torch.set_num_threads(count)
    # That counts for this thread, and for all threads yet to be started: put the latter right.
    other = threading.Thread(target=torch.set_num_threads, args=(default,))
    other.start()
    other.join()
