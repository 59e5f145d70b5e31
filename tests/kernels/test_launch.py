"""Whether what the audit compiles is what the launchers launch."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

pytest.importorskip("torch")

# Triton's own just-in-time path, with a driver that only claims to be an H100, up to the launch.
CODE = """
import json, sys, types
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction
from rtsearch_fast.kernels import DifferenceRow, label_head, step_head, vocabulary_head
from rtsearch_fast.kernels.audit import aot, matrix
from rtsearch_fast.kernels.configs import label_config, step_config, vocabulary_config

driver.set_active(types.SimpleNamespace(
    get_current_device=lambda: 0,
    get_current_stream=lambda device: 0,
    get_current_target=lambda: GPUTarget("cuda", 90, 32),
))
launched, run = [], JITFunction.run

def compile_only(kernel, *arguments, grid, warmup, **options):
    launched.append(run(kernel, *arguments, grid=grid, warmup=True, **options))

JITFunction.run = compile_only
hidden = torch.zeros(32, matrix.WIDTH, dtype=torch.bfloat16)
rows, offsets = torch.arange(17), torch.tensor([0, 17])
head = DifferenceRow(torch.zeros(matrix.WIDTH))
rewards = step_head.StepRewards(torch.empty(17), torch.empty(1))
labels, out = torch.zeros(17, 2, dtype=torch.int64), torch.empty(17, 2)

step_head.launch(hidden, rows, offsets, head, "min", step_config(2), rewards)
step_head.launch(hidden, None, offsets, head, "min", step_config(2), rewards, relu=True)
label_head.launch(hidden, rows, hidden[:2], torch.zeros(2), label_config(2), out, softmax=True)
vocabulary_head.launch(hidden, rows, hidden, labels, vocabulary_config("sm_90", 17), out)

builds = {build.name: build for build in matrix.builds("sm_90")}
print(json.dumps({
    name: aot.compile_build(builds[name], "sm_90").asm["ptx"] == kernel.asm["ptx"]
    for kernel, name in zip(launched, (
        "step_reward bf16",
        "mlp epilogue bf16",
        "label_probability 2 labels",
        "vocabulary partial 32 rows",
        "vocabulary finish",
    ), strict=True)
}))
"""


def test_launchers_when_stopped_before_the_launch_have_compiled_what_the_audit_does(
    triton: None, run_python: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = str(tmp_path_factory.mktemp("triton"))
    same = json.loads(run_python(CODE, TRITON_CACHE_DIR=cache))
    assert len(same) == 5
    assert all(same.values()), same
