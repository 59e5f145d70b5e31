"""What is compiled ahead of time: each kernel with each configuration, for each target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..configs import LABEL_CONFIGS, STEP_CONFIGS, VOCABULARY_CONFIGS, VocabularyConfig

__all__ = ["KNOWN_BAD", "TARGETS", "Build", "builds"]

TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")

#: Hidden width and vocabulary labels of the builds: those of a 7B model judged by two labels.
WIDTH, LABELS = 3584, 2


@dataclass(frozen=True)
class Build:
    """One kernel as its launcher would have it compiled.

    Attributes
    ----------
    name : str
        Unique among the builds of a target.
    kernel : str
        File and function.
    constants : dict
        The compile-time arguments.
    dtype : {"bf16", "fp32"}
        Of hidden states and weights.
    aligned : bool
        Whether bases and row strides are multiples of 16, as the launcher insists.
    wide_loads : int
        Loads of 16 bytes that the code must at least have.
    tensor_cores : bool
        Whether the code must use them.
    """

    name: str
    kernel: str
    constants: dict[str, int | str | bool]
    dtype: str = "bf16"
    num_warps: int = 4
    num_stages: int = 1
    aligned: bool = True
    wide_loads: int = 0
    tensor_cores: bool = False


def builds(target: str) -> Iterator[Build]:
    """All builds that must be good on a target."""
    for size, dtype in ((2, "bf16"), (4, "fp32")):
        yield _step(f"step_reward {dtype}", size, dtype=dtype)
    yield _step("step_reward bf16 product", 2, reduction="product")
    yield _step("mlp epilogue bf16", 2, relu=True)
    for labels in LABEL_CONFIGS:
        yield _label(labels, softmax=labels > 1)
    for rows, config in VOCABULARY_CONFIGS[target].items():
        yield _vocabulary(f"vocabulary partial {rows} rows", config)
    splits = next(iter(VOCABULARY_CONFIGS[target].values())).splits
    yield Build(
        "vocabulary finish",
        "vocabulary_head.vocabulary_finish_kernel",
        {"LABELS": LABELS, "BLOCK_L": LABELS, "BLOCK_Q": 1 << (splits - 1).bit_length()},
    )


def _step(
    name: str,
    size: int,
    *,
    dtype: str = "bf16",
    reduction: str = "min",
    relu: bool = False,
    aligned: bool = True,
) -> Build:
    config = STEP_CONFIGS[size]
    return Build(
        name,
        "step_head.step_reward_kernel",
        {
            "WIDTH": WIDTH,
            "REDUCTION": reduction,
            "GATHER": not relu,
            "RELU": relu,
            "BLOCK_S": config.block_s,
            "BLOCK_H": config.block_h,
        },
        dtype,
        config.num_warps,
        aligned=aligned,
        wide_loads=2,
    )


def _label(labels: int, *, softmax: bool) -> Build:
    config = LABEL_CONFIGS[labels]
    return Build(
        f"label_probability {labels} labels" if softmax else f"label_logits {labels} label",
        "label_head.label_kernel",
        {
            "WIDTH": WIDTH,
            "LABELS": labels,
            "SOFTMAX": softmax,
            "BLOCK_L": labels,
            "BLOCK_H": config.block_h,
        },
        num_warps=config.num_warps,
        wide_loads=2,
    )


def _vocabulary(name: str, config: VocabularyConfig) -> Build:
    return Build(
        name,
        "vocabulary_head.vocabulary_partial_kernel",
        {
            "WIDTH": WIDTH,
            "LABELS": LABELS,
            "BLOCK_N": config.block_n,
            "BLOCK_V": config.block_v,
            "BLOCK_H": config.block_h,
            "INTERPRETED": False,
        },
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        wide_loads=4,
        tensor_cores=True,
    )


#: (target, build, the fault that must be reported): whether the bars can fail at all.
KNOWN_BAD = (
    (
        "sm_80",
        _vocabulary("128 rows by 4 warps", VocabularyConfig(128, 128, 64, 4, 3, 108)),
        "spills",
    ),
    (
        "sm_100",
        _vocabulary("128 rows by 4 warps", VocabularyConfig(128, 128, 64, 4, 4, 148)),
        "spills",
    ),
    ("sm_90", _step("step_reward of rows that are not aligned", 2, aligned=False), "16-byte loads"),
    (
        "gfx942",
        _vocabulary("128 rows by 4 stages", VocabularyConfig(128, 128, 64, 8, 4, 304)),
        "shared memory",
    ),
)
