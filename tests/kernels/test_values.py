"""The torch path, which runs wherever there is no GPU, against float64."""

from __future__ import annotations

import doctest
from importlib import import_module
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rtsearch_fast.kernels import (  # noqa: E402
    DifferenceRow,
    MlpHead,
    label_logits,
    label_logprob,
    label_probability,
    mlp_step_reward,
    step_reward,
)
from rtsearch_fast.kernels.audit import oracle  # noqa: E402

LENGTHS = (3, 0, 1, 5, 2)
OFFSETS = torch.tensor([0, 3, 3, 4, 9, 11])
ROWS = torch.tensor([7, 1, 19, 0, 4, 4, 3, 12, 2, 5, 6])
WIDTH = 40
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def normal(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def exact(tensor: Any) -> Any:
    return tensor.double().numpy()


def hidden_states(dtype: Any = torch.float32) -> Any:
    return normal(20, WIDTH).to(dtype)


HEAD = DifferenceRow(normal(WIDTH, seed=1) / 6, 0.25)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["min", "product", "mean", "last", "max"])
def test_step_reward_when_ragged_agrees_with_float64(reduction: str, dtype: Any) -> None:
    hidden = hidden_states(dtype)
    got = step_reward(hidden, ROWS, OFFSETS, HEAD, reduction=reduction)
    steps = oracle.step_probabilities(exact(hidden[ROWS]), exact(HEAD.weight), HEAD.bias)
    np.testing.assert_allclose(got.steps.numpy(), steps, atol=1e-6)
    wanted = oracle.rewards(steps, LENGTHS, reduction)
    np.testing.assert_allclose(got.candidates.numpy(), wanted, atol=1e-6)
    assert np.isnan(wanted[1])  # the one without steps


@pytest.mark.parametrize("reduction", ["min", "product", "mean", "max"])
def test_step_reward_when_a_row_is_nan_taints_its_candidate_only(reduction: str) -> None:
    hidden = hidden_states()
    hidden[12, 5] = torch.nan  # row of step 7, the fourth of candidate 3
    got = step_reward(hidden, ROWS, OFFSETS, HEAD, reduction=reduction)
    assert torch.isnan(got.steps).nonzero().flatten().tolist() == [7]
    assert torch.isnan(got.candidates).nonzero().flatten().tolist() == [1, 3]


@pytest.mark.parametrize(("row", "tainted"), [(12, [1]), (2, [1, 3])])
def test_step_reward_when_the_last_counts_asks_no_other(row: int, tainted: list[int]) -> None:
    hidden = hidden_states()
    hidden[row] = torch.nan
    got = step_reward(hidden, ROWS, OFFSETS, HEAD, reduction="last")
    assert torch.isnan(got.candidates).nonzero().flatten().tolist() == tainted


@pytest.mark.parametrize("offsets", [[0], [0, 0, 0]])
def test_step_reward_when_there_are_no_steps_gives_nan_for_each_candidate(
    offsets: list[int],
) -> None:
    no_rows = torch.empty(0, dtype=torch.int64)
    for reduction in ("min", "product", "mean", "last", "max"):
        got = step_reward(
            hidden_states(), no_rows, torch.tensor(offsets), HEAD, reduction=reduction
        )
        assert got.steps.shape == (0,)
        assert got.candidates.shape == (len(offsets) - 1,)
        assert torch.isnan(got.candidates).all()


def test_step_reward_when_its_head_is_two_labels_is_their_softmax() -> None:
    weight, bias = normal(5, WIDTH, seed=3).bfloat16(), normal(5, seed=4)
    head = DifferenceRow.from_labels(weight, positive=4, negative=1, bias=bias)
    got = step_reward(hidden_states(), ROWS, OFFSETS, head).steps
    logits = exact(hidden_states()[ROWS]) @ exact(weight[[4, 1]]).T + exact(bias[[4, 1]])
    shares = np.exp(logits)
    np.testing.assert_allclose(got.numpy(), shares[:, 0] / shares.sum(1), atol=1e-6)


def test_difference_row_when_labels_are_nearly_equal_keeps_their_difference() -> None:
    rows = torch.tensor([[256.0], [258.0]]).bfloat16()  # in bfloat16 neighbours
    assert DifferenceRow.from_labels(rows, 1, 0).weight.dtype == torch.float32
    close = torch.tensor([[1.0], [1.0 + 2**-20]])
    assert DifferenceRow.from_labels(close, 1, 0).weight.item() == 2**-20


def test_difference_row_when_linear_takes_weight_and_bias_as_they_are() -> None:
    layer = torch.nn.Linear(WIDTH, 1)
    head = DifferenceRow.from_linear(layer.weight, layer.bias)
    assert not head.weight.requires_grad
    assert torch.equal(head.weight, layer.weight[0])
    assert head.bias == layer.bias.item()


@pytest.mark.parametrize(("dtype", "tolerance"), [*zip(DTYPES, (1e-6, 2e-3, 1e-2), strict=True)])
def test_mlp_step_reward_when_ragged_agrees_with_float64(dtype: Any, tolerance: float) -> None:
    # The layer between is rounded to the dtype of the model, as the model's own would be.
    hidden, first = hidden_states(dtype), (normal(24, WIDTH, seed=5) / 6).to(dtype)
    head = MlpHead(first, normal(24, seed=6).to(dtype), DifferenceRow(normal(24, seed=7) / 5, -0.5))
    got = mlp_step_reward(hidden, ROWS, OFFSETS, head, reduction="product")
    layer = np.maximum(exact(hidden[ROWS]) @ exact(first).T + exact(head.bias), 0)
    steps = oracle.step_probabilities(layer, exact(head.output.weight), head.output.bias)
    np.testing.assert_allclose(got.steps.numpy(), steps, atol=tolerance)
    wanted = oracle.rewards(steps, LENGTHS, "product")
    np.testing.assert_allclose(got.candidates.numpy(), wanted, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("labels", [2, 3, 8])
def test_label_probability_agrees_with_float64(labels: int, dtype: Any) -> None:
    hidden, weight = hidden_states(dtype), (normal(labels, WIDTH, seed=8) / 6).to(dtype)
    bias = normal(labels, seed=9)
    got = label_probability(hidden, ROWS, weight, bias)
    wanted = oracle.label_probabilities(exact(hidden[ROWS]), exact(weight), exact(bias))
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("labels", [1, 2, 8])
def test_label_logits_agree_with_float64(labels: int, dtype: Any) -> None:
    hidden, weight = hidden_states(dtype), (normal(labels, WIDTH, seed=8) / 6).to(dtype)
    bias = normal(labels, seed=9)
    for given in (bias, None):
        got = label_logits(hidden, ROWS, weight, given)
        of = exact(torch.zeros(labels) if given is None else given)
        wanted = oracle.label_logits(exact(hidden[ROWS]), exact(weight), of)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0.0, -80.0, 80.0])
def test_label_logprob_agrees_with_float64(shift: float, dtype: Any) -> None:
    hidden, weight = hidden_states(dtype), (normal(300, WIDTH, seed=10) / 6).to(dtype)
    hidden[:, 0], weight[:, 0] = 1.0, shift
    labels = torch.stack([ROWS * 15, torch.full_like(ROWS, 299)], 1)
    got = label_logprob(hidden, ROWS, weight, labels)
    wanted = oracle.label_logprobs(exact(hidden[ROWS]), exact(weight), labels.numpy())
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-6 + 1e-6 * abs(shift))


def test_label_logprob_when_cut_into_parts_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from rtsearch_fast.kernels import vocabulary_head

    hidden, weight = hidden_states(), normal(300, WIDTH, seed=10)
    whole = label_logprob(hidden, ROWS, weight, torch.tensor([0, 299]))
    monkeypatch.setattr(vocabulary_head, "_ROWS_AT_A_TIME", 4)
    monkeypatch.setattr(vocabulary_head, "_TOKENS_AT_A_TIME", 7)
    parts = label_logprob(hidden, ROWS, weight, torch.tensor([0, 299]))
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-5)
    assert not torch.isnan(parts).any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_label_logprob_when_a_logit_is_nan_or_infinite_is_nan_in_its_row_only(
    value: float,
) -> None:
    hidden, weight = hidden_states(), normal(300, WIDTH, seed=10).abs()
    hidden[12, 3] = value
    got = label_logprob(hidden, ROWS, weight, torch.tensor([0, 299]))
    assert torch.isnan(got).all(1).nonzero().flatten().tolist() == [7]
    assert int(torch.isnan(got).sum()) == 2


@pytest.mark.parametrize(
    "file", ["difference_row", "label_head", "mlp_head", "step_head", "vocabulary_head"]
)
def test_examples_when_run_print_what_they_say(file: str) -> None:
    failed, tried = doctest.testmod(import_module(f"rtsearch_fast.kernels.{file}"))
    assert tried and not failed


def test_operations_when_the_default_dtype_is_another_give_float32() -> None:
    torch.set_default_dtype(torch.bfloat16)
    try:
        got = step_reward(hidden_states(), ROWS, OFFSETS, HEAD)
        probabilities = label_probability(hidden_states(), ROWS, normal(2, WIDTH).float())
    finally:
        torch.set_default_dtype(torch.float32)
    assert {*(part.dtype for part in got), probabilities.dtype} == {torch.float32}


def test_operations_when_nothing_is_picked_give_nothing() -> None:
    no_rows = torch.empty(0, dtype=torch.int64)
    weight = normal(4, WIDTH)
    assert label_probability(hidden_states(), no_rows, weight).shape == (0, 4)
    assert label_logprob(hidden_states(), no_rows, weight, torch.tensor([1])).shape == (0, 1)
