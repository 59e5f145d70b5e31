"""Compiles the matrix for GPUs that need not be there, and reads what the code is like.

``python -m rtsearch_fast.kernels.audit.aot sm_90`` prints one JSON object a build. TRITON_INTERPRET
must not be set.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from .bars import RECORDED, RECORDED_WITH, SHARED_LIMITS
from .matrix import KNOWN_BAD, Build, builds

__all__ = ["Code", "compile_build", "faults", "read_code"]

_TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
#: Tiles of 16 and 32 rows are too small for the instructions of Hopper and Blackwell.
_TENSOR_CORES = {
    "sm_80": r"\bHMMA",
    "sm_90": r"\bHG?MMA",
    "sm_100": r"\b(UTC\w*|H)MMA",
    "gfx942": r"\bv_mfma",
}
_ELEMENT_TYPES = {"offsets_ptr": "i64", "rows_ptr": "i64", "labels_ptr": "i64"}
_OF_THE_MODEL = ("hidden_ptr", "weight_ptr")
#: What a recorded number may grow by before somebody should look.
_SLACK = 1.15


@dataclass(frozen=True)
class Code:
    """What a compiled kernel takes of a processor, and what it reads memory with.

    `spills` are bytes of stack (NVIDIA) or spilled registers (AMD), `shared` bytes a program. Loads
    are wide with 16 bytes and narrow with 2 or less.
    """

    registers: int
    spills: int
    shared: int
    wide_loads: int
    narrow_loads: int
    tensor_cores: int


def compile_build(build: Build, target: str) -> Any:
    """Compile a kernel for a target, as its launcher would have it compiled there."""
    file, function = build.kernel.split(".")
    kernel = getattr(import_module(f"..{file}", __package__), function)
    signature, attributes = {}, {}
    for index, name in enumerate(kernel.arg_names):
        signature[name] = _type_of(name, build)
        if build.aligned and name.endswith(("_ptr", "_stride")):
            attributes[(index,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(kernel, signature, build.constants, attributes),
        target=_TARGETS[target],
        options={
            "num_warps": build.num_warps,
            "num_stages": build.num_stages,
            "enable_fp_fusion": True,
        },
    )


def read_code(compiled: Any, target: str) -> Code:
    """Count what is in the code of a compiled kernel."""
    return (
        _amd_code(compiled, target) if target.startswith("gfx") else _nvidia_code(compiled, target)
    )


def faults(build: Build, target: str, code: Code) -> list[str]:
    """Say in words which bars the code is over, or under."""
    return list(_faults(build, target, code))


def _faults(build: Build, target: str, code: Code) -> Iterator[str]:
    if code.spills:
        yield f"spills: {code.spills}"
    if code.shared > SHARED_LIMITS[target]:
        yield f"shared memory: {code.shared} bytes of {SHARED_LIMITS[target]}"
    if code.wide_loads < build.wide_loads:
        yield f"16-byte loads: {code.wide_loads}, at least {build.wide_loads} expected"
    if build.wide_loads and build.dtype == "bf16" and code.narrow_loads:
        yield f"2-byte loads: {code.narrow_loads}"
    if build.tensor_cores and not code.tensor_cores:
        yield "no tensor core is used"
    recorded = RECORDED.get((target, build.name))
    if recorded and triton.__version__ == RECORDED_WITH:
        for what, bar in zip(("registers", "shared"), recorded, strict=True):
            if getattr(code, what) > bar * _SLACK:
                yield f"{what}: {getattr(code, what)}, recorded are {bar}"


def _type_of(name: str, build: Build) -> str:
    if name in build.constants:
        return "constexpr"
    if name.endswith("_ptr"):
        is_fp32_row = name == "weight_ptr" and build.kernel.startswith("step_head")
        if name in _OF_THE_MODEL and not is_fp32_row:
            return f"*{build.dtype}"
        return f"*{_ELEMENT_TYPES.get(name, 'fp32')}"
    return "fp32" if name == "bias" else "i32"


def _nvidia_code(compiled: Any, target: str) -> Code:
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        usage = _nvidia_tool("cuobjdump", "--dump-resource-usage", str(cubin))
        text = _nvidia_tool("nvdisasm", "-c", str(cubin))
    counts = {name: int(n) for name, n in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    local = 4 * _count(r"\b(LDL|STL)\b", text)  # a spill that needs no stack frame of its own
    return Code(
        registers=counts["REG"],
        spills=max(counts["STACK"], counts["LOCAL"], local),
        shared=compiled.metadata.shared,
        wide_loads=_count(r"\b(LDG|LDGSTS)\.\S*\b128\b", text),
        narrow_loads=_count(r"\bLDG\.\S*\b[US](8|16)\b", text),
        tensor_cores=_count(_TENSOR_CORES[target], text),
    )


def _nvidia_tool(name: str, *arguments: str) -> str:
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    done = subprocess.run(
        [str(folder / name), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def _amd_code(compiled: Any, target: str) -> Code:
    text = compiled.asm["amdgcn"]
    counts = {
        name: int(n) for name, n in re.findall(r"\.(\w+_count|group_segment\w+):\s+(\d+)", text)
    }
    return Code(
        registers=counts["vgpr_count"],
        spills=counts["vgpr_spill_count"] + counts["sgpr_spill_count"],
        shared=compiled.metadata.shared,
        wide_loads=_count(r"\b(global|buffer)_load_dwordx4\b", text),
        narrow_loads=_count(r"\b(global|buffer)_load_(ushort|sshort|short|ubyte|sbyte)\w*", text),
        tensor_cores=_count(_TENSOR_CORES[target], text),
    )


def _count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text))


def main(targets: list[str]) -> None:
    """Print a line of JSON for each build, the known bad ones of a target last."""
    for target in targets:
        for build in builds(target):
            _report(build, target, None)
        for where, build, fault in KNOWN_BAD:
            if where == target:
                _report(build, target, fault)


def _report(build: Build, target: str, known_fault: str | None) -> None:
    code = read_code(compile_build(build, target), target)
    print(
        json.dumps(
            {
                "build": build.name,
                "target": target,
                **asdict(code),
                "faults": faults(build, target, code),
                "known_fault": known_fault,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
