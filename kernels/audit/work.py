"""How much the operations have to compute and to move: formulas, held to what kernels do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Work", "label_work", "step_work", "vocabulary_work"]


@dataclass(frozen=True)
class Work:
    """Of one call.

    Attributes
    ----------
    flop : int
        A multiplication with its addition is two. Those on single logits are left out.
    moved : mapping of str to int
        Bytes of each buffer that is read or written, each byte once.
    launches : int
    """

    flop: int
    moved: Mapping[str, int]
    launches: int = 1

    @property
    def bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(self.moved.values())


def step_work(
    steps: int, candidates: int, width: int, *, size: int = 2, index: int = 8, gathers: bool = True
) -> Work:
    """Work of `step_reward`, or without gathering of the epilogue of `mlp_step_reward`.

    `size` and `index` are bytes of an element of the hidden states, and of an index.
    """
    moved = {
        "hidden": steps * width * size,
        "offsets": (candidates + 1) * index,
        "weight": width * 4,
        "steps": steps * 4,
        "candidates": candidates * 4,
    }
    if gathers:
        moved["rows"] = steps * index
    return Work(2 * steps * width, moved)


def label_work(steps: int, labels: int, width: int, *, size: int = 2, index: int = 8) -> Work:
    """Work of `label_probability`, with weights of the hidden states' dtype."""
    return Work(
        2 * steps * labels * width,
        {
            "hidden": steps * width * size,
            "rows": steps * index,
            "weight": labels * width * size,
            "bias": labels * 4,
            "out": steps * labels * 4,
        },
    )


def vocabulary_work(
    steps: int,
    labels: int,
    width: int,
    vocabulary: int,
    splits: int,
    *,
    size: int = 2,
    index: int = 8,
) -> Work:
    """Work of `label_logprob` by its two kernels."""
    return Work(
        2 * steps * vocabulary * width,
        {
            "hidden": steps * width * size,
            "rows": steps * index,
            "weight": vocabulary * width * size,
            "labels": steps * labels * index,
            # written by the first kernel, read by the second
            "tops": splits * steps * 4,
            "sums": splits * steps * 4,
            "logits": steps * labels * 4,
            "out": steps * labels * 4,
        },
        launches=2,
    )
