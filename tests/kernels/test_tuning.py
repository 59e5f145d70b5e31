"""Choosing by the clock, with a clock of the test's own."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")

from rtsearch_fast.kernels import (  # noqa: E402
    KernelUnavailableError,
    configs,
    tune_label_logprob,
)
from rtsearch_fast.kernels.tuning import fastest  # noqa: E402

TABLE = list(configs.VOCABULARY_CONFIGS["sm_90"].values())


def test_fastest_when_one_cannot_be_launched_takes_the_best_of_the_others() -> None:
    def measure(config: configs.VocabularyConfig) -> float:
        if config == TABLE[0]:
            raise triton.runtime.errors.OutOfResources(300_000, 232_448, "shared memory")
        return config.block_n

    assert fastest(TABLE, measure) == TABLE[1]


def test_fastest_when_none_can_be_launched_says_so() -> None:
    def measure(config: configs.VocabularyConfig) -> float:
        raise triton.runtime.errors.OutOfResources(300_000, 232_448, "shared memory")

    with pytest.raises(KernelUnavailableError, match="no configuration fits"):
        fastest(TABLE, measure)


def test_fastest_when_a_fault_is_none_of_resources_lets_it_through() -> None:
    with pytest.raises(ZeroDivisionError):
        fastest(TABLE, lambda config: 1 / 0)


def test_tune_when_there_is_no_gpu_refuses() -> None:
    hidden = torch.zeros(4, 64, dtype=torch.bfloat16)
    with pytest.raises(KernelUnavailableError, match="not on a GPU"):
        tune_label_logprob(hidden, torch.tensor([0]), hidden, torch.tensor([0]))


def test_tuned_configuration_when_set_is_preferred_for_its_sizes_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configs, "_tuned", {})
    usual = configs.vocabulary_config("sm_90", 20)
    configs.set_vocabulary_config("sm_90", 20, TABLE[3])
    assert configs.vocabulary_config("sm_90", 32) == TABLE[3] != usual
    assert configs.vocabulary_config("sm_90", 33) == TABLE[2]
    assert configs.vocabulary_config("sm_80", 20).splits == 108


def test_splits_when_counted_give_whole_waves_of_processors() -> None:
    for arch, entries in configs.VOCABULARY_CONFIGS.items():
        assert len({config.splits for config in entries.values()}) == 1, arch
        assert math.log2(next(iter(entries.values())).block_v).is_integer()
