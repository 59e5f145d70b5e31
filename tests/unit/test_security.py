"""What SECURITY.md says is defended: no code out of data, bounded reading and time, loopback."""

from __future__ import annotations

import ast
import gzip
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtsearch_fast import bounds
from rtsearch_fast.adapters.search_and_learn.recipe import load_recipe
from rtsearch_fast.engine.server import log as server_log
from rtsearch_fast.engine.server.status import parse_metrics
from rtsearch_fast.errors import DataError
from rtsearch_fast.evaluation.answers import compare_plainly
from rtsearch_fast.evaluation.data import load_problems
from rtsearch_fast.reward.parse import verdicts
from rtsearch_fast.reward.spec import RewardSpec
from rtsearch_fast.reward.worked import work_out
from rtsearch_fast.runs import recording
from rtsearch_fast.runs.recording import Recording
from rtsearch_fast.runs.study.grid import Comparison, Study
from rtsearch_fast.tasks import countdown
from rtsearch_fast.training.jsonl import read_grouped, read_jsonl

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "rtsearch_fast").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]

# --- no code out of data -------------------------------------------------------------------

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
    "pickle.loads", "marshal.loads", "shelve.open", "torch.load", "torch.hub.load", "joblib.load",
    "yaml.safe_load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "numpy.load",
    "np.load", "tempfile.mktemp", "subprocess.getoutput", "subprocess.getstatusoutput",
}  # fmt: skip


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_package_when_scanned_runs_no_text() -> None:
    wrong = []
    for where, call in calls():
        name = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        loader = given.get("Loader", "")
        if (
            name in FORBIDDEN
            or given.get("shell", "False") != "False"
            # their base takes no aliases, and builds nothing but texts, lists and mappings
            or (name == "yaml.load" and loader not in ("Texts", "plain_loader(yaml)"))
        ):
            wrong.append(f"{where}: {ast.unparse(call)[:80]}")
    assert not wrong, "\n".join(wrong)


def test_models_when_loaded_bring_no_code() -> None:
    found = [(where, c) for where, c in calls() if ast.unparse(c.func).endswith(".from_pretrained")]
    wrong = [
        where
        for where, call in found
        if "False"
        not in [ast.unparse(k.value) for k in call.keywords if k.arg and "trust" in k.arg]
    ]
    assert found and not wrong, wrong


# --- bounded reading -----------------------------------------------------------------------


def test_line_when_too_long_is_refused_by_all_readers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LINE", 1000)
    rows, zipped = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.gz"
    rows.write_text('{"problem": "1 + 1"}\n' + json.dumps({"problem": "x" * 1000}) + "\n")
    zipped.write_bytes(gzip.compress(bytes(10_000_000)))
    readers = [
        lambda: load_problems(rows),
        lambda: list(read_jsonl(rows)),
        lambda: list(read_grouped(rows, "problem")),
    ]
    for read in readers:
        with pytest.raises(DataError, match=r"rows\.jsonl, line 2: has more than"):
            read()
    with pytest.raises(DataError, match=r"line 1: has more than"):
        Recording(zipped, replay=True)


def test_recording_when_it_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(recording, "_MAX_UNZIPPED", 1 << 20)
    path = tmp_path / "answers.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"key":"k","answer":0}\n' * 100_000))
    with pytest.raises(DataError, match="unpack it, and replay the plain file"):
        Recording(path, replay=True)


def test_recording_when_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("[" * 1_000_000 + "\n")
    with pytest.raises(DataError, match="line 1: no line of a recording"):
        Recording(path, replay=True)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize("read", [RewardSpec.load, load_recipe])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, r"the alias \*a is not taken"),
        ("[" * 100_000, "settings.yaml: "),
        ("k: " + "x" * bounds.MAX_SETTINGS, "has more than 1024 KiB"),
    ],
    ids=["aliases", "nested", "large"],
)
def test_yaml_when_it_would_grow_without_end_is_refused(tmp_path, read, text, words) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read(str(path))


def test_numbers_when_of_thousands_of_digits_are_passed_over() -> None:
    digits = "9" * 10_000  # Python itself refuses to read so many
    assert verdicts(f"{digits}: yes", r"(?P<step>\d+): (?P<verdict>yes|no)", ("yes", "no"), 1)
    problem = "Use each of 1, 2, 3 and 4 once to make 24."
    assert countdown.Countdown().check(problem, [f"## Step 1: keep {digits}: 1+2=3\n\n"])
    assert (
        parse_metrics("vllm:num_requests_running inf\nvllm:num_requests_waiting nan").running == 0
    )


def test_study_when_its_names_are_paths_is_refused(tmp_path: Path) -> None:
    for name in ("../../etc/x", "/etc/x", "a/b", "..", "a\0"):
        Study("s", (name,), (0,), (Comparison("c", ("cot",), (100,)),)).save(tmp_path)
        with pytest.raises(DataError, match="give letters, digits"):
            Study.load(tmp_path)


# --- time ----------------------------------------------------------------------------------

#: Patterns whose callers cut the text before, in characters.
SHORT = {
    "rtsearch_fast.evaluation.answers": 200,  # _LONGEST_NUMBER
    "rtsearch_fast.calculator": 60,  # what stands before an expression
}
UNITS = ["a", " ", "1", "\n", "abc ", "a.", "1,", "\\", "{", "(", "[", "#", "<|", "(\n", "ERROR ",
         "\\text{", "1/", "max seq len (1)", "\t",
         "\\frac{1}", "Model architectures ["]  # fmt: skip


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """All compiled patterns on texts that modules hold."""
    found = []
    for path in (path for path in SOURCES if "re.compile(" in path.read_text("utf-8")):
        if path.is_relative_to(ROOT / "rtsearch_fast"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(name)
        else:  # the kernels have none
            raise AssertionError(path)
        for value in vars(module).values():
            parts = [value]
            if isinstance(value, (list, tuple)):
                parts = [p for item in value if isinstance(item, tuple) for p in item]
            found += [
                (name, part)
                for part in parts
                if isinstance(part, re.Pattern) and isinstance(part.pattern, str)
            ]
    return found


def test_patterns_when_texts_are_hostile_end_in_time() -> None:
    """Quadratic time would be hours on the long texts, exponential time for ever on the short."""
    found = patterns()
    assert len(found) > 60
    tasks = [[p.pattern, p.flags & ~re.DEBUG, SHORT.get(module, 200_000)] for module, p in found]
    code = (
        "import json, re, sys\n"
        "tasks, units = json.load(sys.stdin)\n"
        "for pattern, flags, size in tasks:\n"
        "    print(ascii(pattern), flush=True)\n"
        "    for unit in units:\n"
        "        for end in '', '!', '1':\n"
        "            text = unit * (size // len(unit)) + end\n"
        "            compiled = re.compile(pattern, flags)\n"
        "            compiled.search(text), compiled.fullmatch(text)\n"
    )
    try:
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps([tasks, UNITS]),
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode().splitlines()
        pytest.fail(f"takes too long: {said[-1] if said else 'nothing was tried'}")


def test_answers_and_logs_when_hostile_are_read_in_time() -> None:
    assert compare_plainly("abc " * 49 + "1", "2") is None
    assert work_out(" " * 200_000).endswith("?")
    assert server_log.diagnose("(\n" * 200_000) is None
    assert server_log.diagnose("max seq len (1) " * 60_000) is None


# --- who listens ---------------------------------------------------------------------------


def test_server_when_no_host_is_given_listens_to_this_machine_alone() -> None:
    from rtsearch_fast.engine.server.process import VllmServer

    defaults = [ast.unparse(f) for f in ast.walk(_tree("cli/engine.py")) if isinstance(f, ast.arg)]
    assert "host: str" in defaults
    for name in ("cli/engine.py", "engine/server/process.py"):
        hosts = [
            default.value
            for function in ast.walk(_tree(name))
            if isinstance(function, ast.FunctionDef)
            for arg, default in zip(
                function.args.kwonlyargs, function.args.kw_defaults, strict=True
            )
            if arg.arg == "host" and isinstance(default, ast.Constant)
        ]
        assert hosts == ["127.0.0.1"]
    assert VllmServer.__init__.__kwdefaults__["host"] == "127.0.0.1"


def test_package_when_scanned_names_no_open_address_to_listen_at() -> None:
    wrong = [
        f"{where}: {ast.unparse(call)[:80]}"
        for where, call in calls()
        if ast.unparse(call.func).endswith((".bind", "start_server", "HTTPServer", "create_server"))
        and ast.unparse(call) not in ("probe.bind(address)", "probe.bind(('127.0.0.1', 0))")
    ]  # those two only ask whether an address is free
    assert not wrong


def _tree(name: str) -> ast.Module:
    return ast.parse((ROOT / "rtsearch_fast" / name).read_text("utf-8"))
