"""Whether the kernel would run, and the reason if not."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="without Triton that is the reason, see test_imports.py")

from rtsearch_fast.kernels import (  # noqa: E402
    DifferenceRow,
    KernelUnavailableError,
    MlpHead,
    configs,
    dispatch,
    label_logprob_route,
    label_probability_route,
    mlp_step_reward_route,
    step_reward,
    step_reward_route,
)

ROWS, OFFSETS = torch.tensor([0, 1]), torch.tensor([0, 2])
LABELS = torch.tensor([1, 2])


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tensors on the CPU pass, as they do in the interpreter."""
    monkeypatch.setattr(dispatch, "INTERPRETED", True)


def rows_apart(stride: int, width: int = 64) -> Any:
    return torch.zeros(4, stride, dtype=torch.bfloat16)[:, :width]


def head(width: int = 64) -> DifferenceRow:
    return DifferenceRow(torch.zeros(width))


@pytest.mark.parametrize(
    ("hidden", "reason"),
    [
        (rows_apart(80), None),
        (rows_apart(72), "the rows of hidden are 72 elements apart, not a multiple of 16"),
        (rows_apart(64, 60), "hidden has 60 columns, not a multiple of 8"),
        (rows_apart(80)[:, 1:57], "hidden does not start at a multiple of 16 bytes"),
        (torch.zeros(64, 4).bfloat16().t(), "the columns of hidden are 4 elements apart"),
        (rows_apart(64).requires_grad_(), "a gradient is wanted"),
    ],
)
def test_step_reward_when_the_rows_lie_so_takes_the_kernel_or_says_why_not(
    as_on_a_gpu: None, hidden: Any, reason: str | None
) -> None:
    arguments = hidden, ROWS, OFFSETS, head(hidden.shape[1])
    route = step_reward_route(*arguments)
    if reason is None:
        assert route == ("triton", "nothing is against it")
        assert step_reward_route(*arguments, use_kernels="torch").backend == "torch"
    else:
        assert route.backend == "torch" and route.reason.startswith(reason)
        with pytest.raises(KernelUnavailableError, match=f"cannot be had: {reason}"):
            step_reward_route(*arguments, use_kernels="triton")


def test_mlp_step_reward_when_its_weights_are_trained_takes_the_kernel_only_without_gradients(
    as_on_a_gpu: None,
) -> None:
    layer = torch.nn.Linear(64, 32, dtype=torch.bfloat16)
    arguments = rows_apart(64), ROWS, OFFSETS, MlpHead(layer.weight, layer.bias, head(32))
    assert mlp_step_reward_route(*arguments).reason.startswith("a gradient is wanted")
    with torch.inference_mode():
        assert mlp_step_reward_route(*arguments).backend == "triton"


def test_step_reward_when_the_head_is_not_aligned_says_so(as_on_a_gpu: None) -> None:
    row = DifferenceRow(torch.zeros(65)[1:])
    route = step_reward_route(rows_apart(64), ROWS, OFFSETS, row)
    assert route == ("torch", "head.weight does not start at a multiple of 16 bytes")


@pytest.mark.parametrize(
    ("layer", "reason"), [(32, None), (24, "head.weight has 24 rows, not a multiple of 16")]
)
def test_mlp_step_reward_when_its_layer_is_so_wide_says_whether_it_fits(
    as_on_a_gpu: None, layer: int, reason: str | None
) -> None:
    bf16 = torch.bfloat16
    mlp = MlpHead(torch.zeros(layer, 64, dtype=bf16), torch.zeros(layer, dtype=bf16), head(layer))
    route = mlp_step_reward_route(rows_apart(64), ROWS, OFFSETS, mlp)
    assert route == (("torch", reason) if reason else ("triton", "nothing is against it"))


def test_label_probability_when_the_labels_are_not_aligned_says_so(as_on_a_gpu: None) -> None:
    assert label_probability_route(rows_apart(64), ROWS, rows_apart(64)).backend == "triton"
    route = label_probability_route(rows_apart(64), ROWS, rows_apart(72))
    assert route.reason == "the rows of weight are 72 elements apart, not a multiple of 16"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, None),
        ({"weight": rows_apart(72)}, "the rows of weight are 72"),
        ({"weight": torch.zeros(4, 64)}, "hidden is torch.bfloat16 and weight torch.float32"),
        ({"hidden": torch.zeros(4, 64), "weight": torch.zeros(4, 64)}, "tensor cores would round"),
        ({"rows": torch.zeros(128, dtype=torch.int64)}, None),
        ({"rows": torch.zeros(129, dtype=torch.int64)}, "129 rows are more than 128"),
    ],
)
def test_label_logprob_when_called_so_takes_the_kernel_or_says_why_not(
    as_on_a_gpu: None, changed: dict[str, Any], reason: str | None
) -> None:
    arguments = {"hidden": rows_apart(64), "rows": ROWS, "weight": rows_apart(64)} | changed
    route = label_logprob_route(**arguments, labels=LABELS)
    assert route.backend == ("torch" if reason else "triton")
    assert route.reason.startswith(reason or "nothing")


def test_label_logprob_when_the_gpu_has_no_configuration_says_so(
    as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtsearch_fast.kernels import vocabulary_head

    monkeypatch.setattr(vocabulary_head, "architecture", lambda device: "gfx1100")
    route = label_logprob_route(rows_apart(64), ROWS, rows_apart(64), LABELS)
    assert route == ("torch", "there is no configuration for gfx1100")


def test_step_reward_when_on_the_cpu_runs_in_torch_and_refuses_to_be_pressed() -> None:
    arguments = rows_apart(64), ROWS, OFFSETS, head()
    assert step_reward_route(*arguments) == ("torch", "the tensors are on cpu, not on a GPU")
    with pytest.raises(ValueError, match=r"^use_kernels='triton' cannot be had: the tensors are"):
        step_reward(*arguments, use_kernels="triton")


def test_configurations_when_looked_up_cover_each_size() -> None:
    for arch in ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_103", "sm_120", "gfx942"):
        for rows in range(1, configs.VOCABULARY_ROWS + 1):
            assert configs.vocabulary_config(arch, rows).block_n >= min(rows, 128)
    assert [configs.label_config(n).block_h for n in range(2, 9)] == [1024] * 3 + [512] * 4
    assert configs.family("sm_75") is None
