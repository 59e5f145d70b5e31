"""How large a piece of work one program of a kernel takes: a table, found ahead of time.

Its entries are those that the audit compiles and holds to its bars. Nothing is tuned at run time
unless `tune_label_logprob` is called, so that two runs compute the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "LABEL_CONFIGS",
    "STEP_CONFIGS",
    "VOCABULARY_CONFIGS",
    "VOCABULARY_ROWS",
    "LabelConfig",
    "StepConfig",
    "VocabularyConfig",
    "family",
    "label_config",
    "set_vocabulary_config",
    "step_config",
    "vocabulary_bucket",
    "vocabulary_config",
]

#: Architectures that take the entries of another one.
_FAMILY = {
    "sm_80": "sm_80",
    "sm_86": "sm_80",
    "sm_89": "sm_80",
    "sm_120": "sm_80",
    "sm_90": "sm_90",
    "sm_100": "sm_100",
    "sm_103": "sm_100",
    "gfx942": "gfx942",
    "gfx950": "gfx942",
}


@dataclass(frozen=True, slots=True)
class StepConfig:
    """`step_reward`: steps and columns read at a time, and warps of a program."""

    block_s: int
    block_h: int
    num_warps: int


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """`label_probability`: columns read at a time, and warps of a program."""

    block_h: int
    num_warps: int


@dataclass(frozen=True, slots=True)
class VocabularyConfig:
    """`label_logprob`: the tile of a matrix product, and the parts the vocabulary is split in."""

    block_n: int
    block_v: int
    block_h: int
    num_warps: int
    num_stages: int
    splits: int


#: By bytes of an element: 16-byte loads in every lane.
STEP_CONFIGS = {2: StepConfig(4, 512, 4), 4: StepConfig(4, 512, 4)}

#: By the labels' number, rounded up to a power of two.
LABEL_CONFIGS = {
    1: LabelConfig(1024, 2),  # with more warps no thread would read 16 bytes
    2: LabelConfig(1024, 4),
    4: LabelConfig(1024, 4),
    8: LabelConfig(512, 4),
}

#: By architecture and rows, rounded up; splits are the processors of the largest such GPU.
VOCABULARY_CONFIGS = {
    "sm_80": {
        16: VocabularyConfig(16, 128, 64, 4, 4, 108),
        32: VocabularyConfig(32, 128, 64, 4, 4, 108),
        64: VocabularyConfig(64, 128, 64, 8, 4, 108),
        128: VocabularyConfig(128, 128, 32, 8, 4, 108),
    },
    "sm_90": {
        16: VocabularyConfig(16, 128, 64, 4, 4, 132),
        32: VocabularyConfig(32, 128, 64, 4, 4, 132),
        64: VocabularyConfig(64, 128, 64, 8, 4, 132),
        128: VocabularyConfig(128, 128, 64, 8, 4, 132),
    },
    "sm_100": {
        16: VocabularyConfig(16, 128, 64, 4, 4, 148),
        32: VocabularyConfig(32, 128, 64, 4, 4, 148),
        64: VocabularyConfig(64, 128, 64, 8, 4, 148),
        128: VocabularyConfig(128, 128, 64, 8, 4, 148),
    },
    "gfx942": {
        16: VocabularyConfig(16, 128, 64, 4, 2, 304),
        32: VocabularyConfig(32, 128, 64, 4, 2, 304),
        64: VocabularyConfig(64, 128, 64, 8, 2, 304),
        128: VocabularyConfig(128, 128, 64, 8, 2, 304),
    },
}

#: Most rows that `label_logprob` takes by its kernel. Each weight is read once for 128 rows, and
#: with more rows the product is bound by arithmetic, where the vendor's GEMM is ahead.
VOCABULARY_ROWS = 128

_tuned: dict[tuple[str, int], VocabularyConfig] = {}


def family(arch: str) -> str | None:
    """Return the architecture whose entries an architecture takes, None if it has none."""
    return _FAMILY.get(arch)


def step_config(element_bytes: int) -> StepConfig:
    """Return the entry for hidden states of so many bytes an element, 2 or 4."""
    return STEP_CONFIGS[element_bytes]


def label_config(labels: int) -> LabelConfig:
    """Return the entry for 1 to 8 labels."""
    return next(config for most, config in LABEL_CONFIGS.items() if labels <= most)


def vocabulary_bucket(rows: int) -> int:
    """Round a number of rows up to one that the table has."""
    return next((size for size in (16, 32, 64) if rows <= size), VOCABULARY_ROWS)


def vocabulary_config(arch: str, rows: int) -> VocabularyConfig:
    """Return the tuned entry if there is one, else that of the table."""
    bucket = vocabulary_bucket(rows)
    return _tuned.get((arch, bucket)) or VOCABULARY_CONFIGS[_FAMILY[arch]][bucket]


def set_vocabulary_config(arch: str, rows: int, config: VocabularyConfig) -> None:
    """Prefer an entry over the table's, in this process."""
    _tuned[arch, vocabulary_bucket(rows)] = config
