"""The bars of compiled code: each of them can fail."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest

pytest.importorskip("torch")
triton = pytest.importorskip("triton")

from rtsearch_fast.kernels.audit.aot import Code, faults  # noqa: E402
from rtsearch_fast.kernels.audit.bars import RECORDED, RECORDED_WITH  # noqa: E402
from rtsearch_fast.kernels.audit.matrix import TARGETS, builds  # noqa: E402

(BUILD,) = (build for build in builds("sm_90") if build.name == "vocabulary partial 64 rows")
REGISTERS, SHARED = RECORDED["sm_90", BUILD.name]
GOOD = Code(REGISTERS, spills=0, shared=SHARED, wide_loads=24, narrow_loads=0, tensor_cores=4)


def test_faults_when_code_is_as_recorded_are_none() -> None:
    assert faults(BUILD, "sm_90", GOOD) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (replace(GOOD, spills=8), "spills: 8"),
        (replace(GOOD, wide_loads=3), "16-byte loads: 3, at least 4 expected"),
        (replace(GOOD, narrow_loads=2), "2-byte loads: 2"),
        (replace(GOOD, tensor_cores=0), "no tensor core is used"),
    ],
)
def test_faults_when_code_is_over_a_bar_name_it(code: Code, text: str) -> None:
    assert faults(BUILD, "sm_90", code) == [text]


def test_faults_when_shared_memory_is_more_than_the_gpu_has_name_it() -> None:
    code = replace(GOOD, shared=232_449)
    assert "shared memory: 232449 bytes of 232448" in faults(BUILD, "sm_90", code)


@pytest.mark.skipif(triton.__version__ != RECORDED_WITH, reason="numbers of another Triton")
@pytest.mark.parametrize(("what", "bar"), [("registers", REGISTERS), ("shared", SHARED)])
def test_faults_when_a_number_has_grown_name_what_was_recorded(what: str, bar: int) -> None:
    code = replace(GOOD, **{what: int(bar * 1.2)})
    assert faults(BUILD, "sm_90", code) == [f"{what}: {int(bar * 1.2)}, recorded are {bar}"]


def test_recorded_numbers_when_listed_cover_the_matrix() -> None:
    assert set(RECORDED) == {(target, build.name) for target in TARGETS for build in builds(target)}


@pytest.mark.parametrize("name", sorted({build.kernel for build in builds("sm_90")}))
def test_kernel_when_a_count_changes_is_not_compiled_anew(name: str) -> None:
    file, function = name.split(".")
    kernel = getattr(import_module(f"rtsearch_fast.kernels.{file}"), function)
    counts = {p.name for p in kernel.params if p.name.startswith(("num_", "tiles_"))}
    assert counts
    assert {p.name for p in kernel.params if p.do_not_specialize} == counts
