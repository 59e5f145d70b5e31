"""What the package imports, who may import whom, the stub, and what is in sdist and wheel."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rtsearch_fast
from rtsearch_fast import _core

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rtsearch_fast"

# Who may import whom inside the package; a part may always import itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "aio": set(),
    "answers": set(),
    "bounds": {"errors"},
    "arithmetic": set(),
    "calculator": {"arithmetic"},
    "splitters": {"answers", "errors"},
    "steps": {"splitters", "answers", "errors"},
    "tasks": {"answers", "calculator", "errors"},
    "forest": {"errors", "_core"},
    "reference": {"forest", "errors"},
    "bench": {"forest", "reference", "_core", "errors", "__version__"},
    "engine": {"aio", "bounds", "kernels", "errors"},
    "policy": {"engine", "steps", "kernels", "errors"},
    "reward": {
        "bounds",
        "engine",
        "steps",
        "answers",
        "arithmetic",
        "calculator",
        "kernels",
        "aio",
        "errors",
    },
    "search": {
        "forest",
        "policy.protocol",
        "reward.protocol",
        "steps",
        "answers",
        "calculator",
        "aio",
        "errors",
    },
    "evaluation": {"bounds", "search", "tasks", "steps", "answers", "errors"},
    "training": {
        "aio",
        "bounds",
        "search",
        "evaluation",
        "engine",
        "policy",
        "reward",
        "tasks",
        "steps",
        "splitters",
        "answers",
        "errors",
    },
    "adapters": {
        "bounds",
        "forest",
        "_core",
        "search",
        "policy",
        "reward",
        "engine",
        "steps",
        "splitters",
        "answers",
        "aio",
        "errors",
    },
    "runs": {
        "bounds",
        "evaluation",
        "__version__",
        "search",
        "policy.protocol",
        "reward.protocol",
        "aio",
        "errors",
    },
}


# --- imports -----------------------------------------------------------------------------


def test_import_when_bare_loads_numpy_and_no_other_third_party_module(tmp_path: Path) -> None:
    location = str(Path(rtsearch_fast.__file__).parents[1])
    code = f"""
import json, sys
sys.path.insert(0, {location!r})
before = set(sys.modules)
import rtsearch_fast
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    roots = set(json.loads(done.stdout))
    third_party = {
        root for root in roots if root not in sys.stdlib_module_names and _is_distributed(root)
    }
    assert third_party == {"numpy", "rtsearch_fast"}
    assert not roots & {"torch", "transformers", "aiohttp", "cyclopts", "rich", "vllm", "triton"}


def _is_distributed(root: str) -> bool:
    # Modules such as an editable install's finder have no file of their own name.
    return importlib.util.find_spec(root) is not None and not root.startswith("_")


def imports_of(path: Path, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Each imported module as a tuple of names; `package` is that which holds the file.

    ``from . import x`` gives the path of x, which may be a module.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            if node.module:
                yield module
            else:
                for alias in node.names:
                    yield (*module, alias.name)


def package_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_layers_when_scanned_import_only_what_is_below_them() -> None:
    wrong = []
    for path in package_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        owner = parts[1]
        if owner in ("__init__", "cli"):
            continue  # the front doors may name everything
        assert owner in ALLOWED, f"{owner} has no place in the layers yet"
        for module in imports_of(path, parts[:-1]):
            if module[0] != "rtsearch_fast":
                continue
            inside = module[1:]
            fits = any(
                inside[: len(name.split("."))] == tuple(name.split("."))
                for name in {owner, *ALLOWED[owner]}
            )
            if not fits:
                wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(module)}")
    assert not wrong, "\n".join(wrong)


def test_kernels_when_scanned_import_only_stdlib_torch_triton_and_numpy() -> None:
    wrong = []
    for path in sorted((ROOT / "kernels").rglob("*.py")):
        for module in imports_of(path, path.relative_to(ROOT).parent.parts):
            if module[0] in {"kernels", "torch", "triton", "numpy"}:
                continue
            if module[0] not in sys.stdlib_module_names:
                wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(module)}")
    assert not wrong, "\n".join(wrong)


def test_core_sources_when_outside_the_bindings_do_not_know_python() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "csrc").rglob("*"))
        if path.suffix in (".h", ".cc", ".inc") and "bindings" not in path.parts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.match(r"\s*#\s*include\s*[<\"](pybind11|Python\.h|bindings)", line)
    ]
    assert not wrong


# --- the stub ----------------------------------------------------------------------------


def stub_signature(function: ast.FunctionDef) -> list[tuple[str, str, bool]]:
    """(name, kind, has a default) of each parameter but self."""
    arguments = function.args
    defaults = [False] * (len(arguments.args) - len(arguments.defaults))
    defaults += [True] * len(arguments.defaults)
    found = [
        (argument.arg, "positional", default)
        for argument, default in zip(arguments.args, defaults, strict=True)
    ]
    found += [
        (argument.arg, "keyword", default is not None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return [parameter for parameter in found if parameter[0] != "self"]


def built_signature(function: Any) -> list[tuple[str, str, bool]]:
    """The same, as the function tells it, or from the first line of pybind11's docstring."""
    if inspect.ismethoddescriptor(function) and function.__text_signature__:
        return [
            (
                parameter.name,
                "keyword" if parameter.kind is parameter.KEYWORD_ONLY else "positional",
                parameter.default is not parameter.empty,
            )
            for parameter in inspect.signature(function).parameters.values()
            if parameter.name != "self"
        ]
    line = function.__doc__.splitlines()[0]
    text = line[line.index("(") + 1 : line.rindex(") ->")]
    found, kind = [], "positional"
    for part in re.split(r",\s*(?![^\[(]*[\])])", text):
        name = part.partition(":")[0].strip()
        if name == "*":
            kind = "keyword"
        elif name != "self":
            found.append((name, kind, "=" in part))
    return found


def test_stub_when_compared_with_the_built_module_names_the_same() -> None:
    stub = ast.parse((PACKAGE / "_core.pyi").read_text("utf-8"))
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    constants = {
        node.target.id
        for node in stub.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and ast.unparse(node.annotation) != "TypeAlias"
    }
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    built = {name for name in vars(_core) if not name.startswith("__")}
    assert built == {*classes, *constants, *functions}

    for name, node in classes.items():
        cls = getattr(_core, name)
        if any(ast.unparse(base) == "enum.Enum" for base in node.bases):
            members = {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in node.body
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
            }
            assert {member.name: member.value for member in cls} == members
            continue
        methods = [f for f in node.body if isinstance(f, ast.FunctionDef)]
        public = {
            attribute
            for attribute in vars(cls)
            if not attribute.startswith(("__", "_pybind11")) or attribute == "__init__"
        }
        assert public == {function.name for function in methods}, name
        for function in methods:
            if [ast.unparse(decorator) for decorator in function.decorator_list] == ["property"]:
                assert isinstance(vars(cls)[function.name], property)
            else:
                built = built_signature(vars(cls)[function.name])
                assert built == stub_signature(function), function.name


# --- sdist and wheel -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this checkout, made by the build backend's own hook."""
    pytest.importorskip("scikit_build_core", reason="scikit-build-core is needed to build")
    pytest.importorskip("pybind11", reason="pybind11 is needed to build")
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from scikit_build_core import build; build.build_sdist({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by pip from what the source distribution holds and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    (source,) = folder.iterdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--disable-pip-version-check",
            "--wheel-dir",
            str(folder),
            ".",
        ],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_sdist_when_built_holds_what_a_build_and_its_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in (
        "CMakeLists.txt",
        "pyproject.toml",
        "LICENSE",
        "csrc/core/forest.cc",
        "kernels/__init__.py",
        "rtsearch_fast/_core.pyi",
        "rtsearch_fast/bench/signatures.json",
        "bench/core_loop.cc",
    ):
        assert needed in names
    assert not [
        name for name in names if name.endswith((".so", ".pyc")) or name.startswith("build/")
    ]


def test_wheel_when_built_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = [name for name in names if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in modules} == {"rtsearch_fast"}
    assert len([name for name in modules if re.search(r"/_core[^/]*\.(so|pyd)$", name)]) == 1
    wanted = {
        path.relative_to(ROOT).as_posix()  # modules and data
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyc", ".md")
    }
    wanted |= {
        f"rtsearch_fast/kernels/{path.relative_to(ROOT / 'kernels').as_posix()}"
        for path in (ROOT / "kernels").rglob("*.py")
    }
    assert {"rtsearch_fast/py.typed", "rtsearch_fast/_core.pyi"} <= wanted <= set(names)
    assert "rtsearch_fast/kernels/__init__.py" in names
    stray = [
        name
        for name in names
        if name.endswith((".a", ".h", ".cc", ".pyc", ".md")) or "csrc/" in name or "tests/" in name
    ]
    assert not stray


def test_wheel_when_built_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 9_000_000  # of which the embedded pair has 7 million


def test_wheel_when_unpacked_alone_searches(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import rtsearch_fast.kernels
from rtsearch_fast import Forest
forest = Forest()
print(rtsearch_fast.__file__, forest.select(forest.create_trees(2)).tolist())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(maxsplit=1) == [
        str(tmp_path / "rtsearch_fast" / "__init__.py"),
        "[0, 0]\n",
    ]
