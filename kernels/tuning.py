"""Choosing a configuration by the clock, on the GPU that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .configs import (
    VOCABULARY_CONFIGS,
    VocabularyConfig,
    set_vocabulary_config,
)
from .dispatch import KernelUnavailableError, architecture
from .toolchain import triton
from .vocabulary_head import label_logprob_route, launch

__all__ = ["fastest", "tune_label_logprob"]


def fastest(
    candidates: Iterable[VocabularyConfig], measure: Callable[[VocabularyConfig], float]
) -> VocabularyConfig:
    """Return the configuration that is measured the lowest; one that cannot be launched is not.

    Raises
    ------
    KernelUnavailableError
        None of them can be launched.
    """
    best: tuple[float, VocabularyConfig] | None = None
    for config in candidates:
        try:
            time = measure(config)
        except triton.runtime.errors.OutOfResources:
            continue
        if best is None or time < best[0]:
            best = time, config
    if best is None:
        raise KernelUnavailableError("no configuration fits on this GPU")
    return best[1]


def tune_label_logprob(
    hidden: Tensor, rows: Tensor, weight: Tensor, labels: Tensor
) -> VocabularyConfig:
    """Time all configurations of `label_logprob` on these arguments, and keep the best.

    It holds for later calls in this process with as many rows, rounded up as the table does. The
    last bits of results may change with it: another tile sums in another order.

    Raises
    ------
    KernelUnavailableError
        The kernel does not run here, which needs a GPU.
    """
    label_logprob_route(hidden, rows, weight, labels, use_kernels="triton")
    labels = labels.expand(len(rows), labels.shape[-1]).contiguous()
    out = hidden.new_empty(labels.shape, dtype=torch.float32)

    def measure(config: VocabularyConfig) -> float:
        return float(
            triton.testing.do_bench(lambda: launch(hidden, rows, weight, labels, config, out))
        )

    table = (config for entries in VOCABULARY_CONFIGS.values() for config in entries.values())
    best = fastest(dict.fromkeys(table), measure)
    set_vocabulary_config(architecture(hidden.device), len(rows), best)
    return best
