"""Arguments that cannot be right: refused with the value, and with what to do."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from rtsearch_fast.kernels import (  # noqa: E402
    DifferenceRow,
    KernelArgumentError,
    MlpHead,
    label_logits,
    label_logprob,
    label_probability,
    mlp_step_reward,
    step_reward,
)

HIDDEN = torch.zeros(4, 8)
ROWS = torch.tensor([0, 3])
OFFSETS = torch.tensor([0, 2])
HEAD = DifferenceRow(torch.zeros(8))
MLP = MlpHead(torch.zeros(16, 8), torch.zeros(16), DifferenceRow(torch.zeros(16)))


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"hidden": torch.zeros(4, 8, dtype=torch.float64)}, "hidden is torch.float64"),
        ({"hidden": torch.zeros(8)}, r"shape \(8,\)"),
        ({"hidden": torch.zeros(4, 9)}, "head.weight is 8 wide and hidden 9"),
        ({"rows": torch.tensor([0, 4])}, "rows holds 4: hidden has the rows 0 to 3"),
        ({"rows": torch.tensor([-1, 3])}, "rows holds -1"),
        ({"rows": torch.tensor([0.0, 1.0])}, "rows is torch.float32"),
        ({"rows": torch.tensor([[0, 1]])}, "rows is torch.int64 of shape"),
        ({"rows": torch.tensor([0, 9, 3, 9])[::2]}, "contiguous"),
        ({"offsets": torch.tensor([0, 1])}, "rise from 0 to the number of steps, 2"),
        ({"offsets": torch.tensor([1, 2])}, "offsets run from 1 to 2"),
        ({"offsets": torch.tensor([0, 2, 1, 2])}, "rise"),
        ({"offsets": torch.empty(0, dtype=torch.int64)}, "offsets is empty"),
        ({"reduction": "median"}, "reduction='median': choose one of min, product"),
        ({"use_kernels": "yes"}, "use_kernels='yes': choose auto, triton or torch"),
    ],
)
@pytest.mark.parametrize(("operation", "head"), [(step_reward, HEAD), (mlp_step_reward, MLP)])
def test_step_operations_when_an_argument_is_wrong_refuse_it(
    operation: Any, head: Any, changed: dict[str, Any], text: str
) -> None:
    arguments = {"hidden": HIDDEN, "rows": ROWS, "offsets": OFFSETS, "head": head} | changed
    with pytest.raises(KernelArgumentError, match=text):
        operation(**arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DifferenceRow(torch.zeros(2, 8)), r"shape \(2, 8\)"),
        (lambda: DifferenceRow(torch.zeros(8).bfloat16()), "must be float32"),
        (lambda: DifferenceRow(torch.zeros(16)[::2]), "contiguous"),
        (lambda: DifferenceRow.from_linear(torch.zeros(2, 8)), "from_labels"),
        (lambda: DifferenceRow.from_linear(torch.zeros(8), torch.zeros(2)), "bias has 2 entries"),
        (lambda: DifferenceRow.from_labels(torch.zeros(2, 8), 2, 0), "label 2: .* rows 0 to 1"),
        (lambda: DifferenceRow.from_labels(torch.zeros(2, 8), 1, -1), "label -1"),
        (lambda: MlpHead(torch.zeros(16, 8), torch.zeros(8), MLP.output), "weight has 16 rows"),
        (lambda: MlpHead(torch.zeros(16, 8), torch.zeros(16), HEAD), "output the width 8"),
    ],
)
def test_heads_when_their_shapes_do_not_fit_are_refused(make: Any, text: str) -> None:
    with pytest.raises(KernelArgumentError, match=text):
        make()


def test_mlp_step_reward_when_dtypes_differ_refuses() -> None:
    with pytest.raises(KernelArgumentError, match=r"float32 and hidden torch.bfloat16"):
        mlp_step_reward(HIDDEN.bfloat16(), ROWS, OFFSETS, MLP)


@pytest.mark.parametrize(
    ("weight", "bias", "text"),
    [
        (torch.zeros(1, 8), None, "give 2 to 8 rows"),
        (torch.zeros(9, 8), None, "give 2 to 8 rows"),
        (torch.zeros(8), None, "give 2 to 8 rows"),
        (torch.zeros(2, 7), None, "weight is 7 wide"),
        (torch.zeros(2, 8), torch.zeros(3), "bias is torch.float32 of shape"),
        (torch.zeros(2, 8), torch.zeros(2).half(), "bias is torch.float16"),
    ],
)
def test_label_probability_when_an_argument_is_wrong_refuses_it(
    weight: Any, bias: Any, text: str
) -> None:
    with pytest.raises(KernelArgumentError, match=text):
        label_probability(HIDDEN, ROWS, weight, bias)


def test_label_logits_when_there_is_no_label_refuses() -> None:
    with pytest.raises(KernelArgumentError, match="give 1 to 8 rows"):
        label_logits(HIDDEN, ROWS, torch.zeros(0, 8))


@pytest.mark.parametrize(
    ("weight", "labels", "text"),
    [
        (torch.zeros(0, 8), torch.tensor([0]), "weight has shape"),
        (torch.zeros(5, 7), torch.tensor([0]), "weight is 7 wide"),
        (torch.zeros(5, 8), torch.tensor([5]), "labels holds 5: weight has the rows 0 to 4"),
        (torch.zeros(5, 8), torch.tensor([-1]), "labels holds -1"),
        (torch.zeros(5, 8), torch.tensor([0.0]), "labels is torch.float32"),
        (torch.zeros(5, 8), torch.tensor(0), r"labels has shape \(\)"),
        (torch.zeros(5, 8), torch.arange(5).repeat(2), r"L from 1 to 8"),
        (torch.zeros(5, 8), torch.zeros(3, 1, dtype=torch.int64), r"\[L\] or \[2, L\]"),
    ],
)
def test_label_logprob_when_an_argument_is_wrong_refuses_it(
    weight: Any, labels: Any, text: str
) -> None:
    with pytest.raises(KernelArgumentError, match=text):
        label_logprob(HIDDEN, ROWS, weight, labels)
