"""The package without what it can do without."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest


def test_package_when_imported_needs_neither_torch_nor_triton(
    run_python: Callable[..., str],
) -> None:
    code = """
import sys
sys.modules["torch"] = sys.modules["triton"] = None  # an import of either fails
import rtsearch_fast.kernels
import rtsearch_fast.kernels.audit.report
print("step_reward" in rtsearch_fast.kernels.__all__)
"""
    assert run_python(code) == "True\n"


def test_package_when_all_names_are_asked_for_has_them(run_python: Callable[..., str]) -> None:
    pytest.importorskip("torch")
    code = """
import rtsearch_fast.kernels as kernels
print(all(getattr(kernels, name).__name__ == name for name in kernels.__all__))
print(hasattr(kernels, "no_such_name"))
"""
    assert run_python(code) == "True\nFalse\n"


def test_operations_when_triton_is_missing_run_in_torch_and_say_why(
    run_python: Callable[..., str],
) -> None:
    pytest.importorskip("torch")
    code = """
import json, sys
sys.modules["triton"] = None
import torch
from rtsearch_fast.kernels import (
    DifferenceRow, KernelUnavailableError, label_logprob, step_reward, step_reward_route
)
arguments = torch.ones(2, 8), torch.tensor([1]), torch.tensor([0, 1]), DifferenceRow(torch.ones(8))
try:
    step_reward(*arguments, use_kernels="triton")
except KernelUnavailableError as error:
    message = str(error)
print(json.dumps({
    "route": step_reward_route(*arguments),
    "reward": step_reward(*arguments).candidates.item(),
    "logprob": label_logprob(*arguments[:2], torch.zeros(4, 8), torch.tensor([0])).item(),
    "message": message,
}))
"""
    found = json.loads(run_python(code))
    assert found["route"][0] == "torch"
    assert "triton is not installed" in found["route"][1]
    assert found["reward"] == pytest.approx(0.999665)
    assert found["logprob"] == pytest.approx(-1.386294)
    assert found["message"].startswith("use_kernels='triton' cannot be had: triton is not")
    assert "\n" not in found["message"]


def test_operations_when_interpreted_run_their_kernels_and_agree_with_torch(
    triton: None, run_python: Callable[..., str]
) -> None:
    # The whole way through the public functions, with the configurations of the tables.
    code = """
import json, torch
from triton.runtime.interpreter import InterpretedFunction
from rtsearch_fast.kernels import (
    DifferenceRow, MlpHead, label_logits, label_logprob, label_probability, mlp_step_reward,
    step_reward,
)

launched, run = [], InterpretedFunction.run

def counted_run(kernel, *arguments, **options):
    launched.append(kernel.__name__)
    return run(kernel, *arguments, **options)

InterpretedFunction.run = counted_run
torch.manual_seed(0)
hidden = torch.randn(9, 64).bfloat16()
rows, offsets = torch.tensor([8, 0, 3, 3]), torch.tensor([0, 1, 1, 4])
layer, layer_bias = torch.randn(32, 64).bfloat16() / 8, torch.randn(32).bfloat16()
mlp = MlpHead(layer, layer_bias, DifferenceRow(torch.randn(32)))
vocabulary = torch.randn(300, 64).bfloat16()
for operation, arguments in (
    (step_reward, (hidden, rows, offsets, DifferenceRow(torch.randn(64) / 8))),
    (mlp_step_reward, (hidden, rows, offsets, mlp)),
    (label_probability, (hidden, rows, vocabulary[:2])),
    (label_logits, (hidden, rows, vocabulary[:1])),
    (label_logprob, (hidden, rows, vocabulary, torch.tensor([299, 0]))),
):
    mine = operation(*arguments, use_kernels="triton")
    theirs = operation(*arguments, use_kernels="torch")
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)
print(json.dumps(launched))
"""
    assert json.loads(run_python(code, TRITON_INTERPRET="1")) == [
        "step_reward_kernel",
        "step_reward_kernel",
        "label_kernel",
        "label_kernel",
        "vocabulary_partial_kernel",
        "vocabulary_finish_kernel",
    ]
