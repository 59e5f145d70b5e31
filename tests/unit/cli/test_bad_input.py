"""Whatever is wrong with the input: one line that names it and says what to do, and no traceback.

Each case is a real command line. In its arguments, {folder} is an empty folder, {problems} a good
file of problems, {data} the case's own file, {server} a working server, {dead} a port where nobody
listens.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

BAD_UTF8 = b'{"problem": "\xff"}'
GOOD = b'{"problem": "1 2", "answer": "3"}\n'


@dataclass(frozen=True)
class Case:
    """A command line, words of its one line of complaint, and what has to be there before."""

    arguments: str
    words: tuple[str, ...]
    data: bytes | None = None  # contents of {data}
    fault: str | None = None  # of the server, for ever
    models: tuple[str, ...] = ("test-model",)


ARGUMENTS = {
    "unknown command": Case("slove", ("slove", "Available commands: solve, eval")),
    "unknown option": Case("solve a --widht 3", ("--widht", "--help")),
    "unknown option of the whole": Case("--fast", ("--fast", "--help")),
    "option without value": Case("solve a --width", ("--width", "requires an argument")),
    "word for a number": Case("solve a --width many", ("--width", "many", "int")),
    "no problem": Case("solve", ("one problem text, or -f FILE",)),
    "standard input as a problem": Case("solve -", ("or -f FILE (- is standard input)",)),
    "problem and file": Case("solve a -f {problems}", ("one problem text, or -f FILE",)),
    "two problems": Case("solve a b", ("b",)),
    "empty problem": Case("solve ''", ("problem ''", "empty", "give a text")),
    "blank problem": Case("solve ' '", ("problem ' '", "empty", "give a text")),
    "no data": Case("eval", ("DATA",)),
    "method unknown": Case("solve a --method mtcs", ("method='mtcs'", "choose one of cot")),
    "methods unknown": Case("eval {problems} --methods cot,mtcs", ("cot,mtcs", "out of cot")),
    "methods twice": Case("eval {problems} --methods cot,cot", ("cot,cot", "at most once")),
    "methods empty": Case("eval {problems} --methods ''", ("--methods ''", "out of cot")),
    "methods all blank": Case("eval {problems} --methods ,", ("--methods ','", "out of cot")),
    "tokens zero": Case("solve a --budget-tokens 0", ("tokens=0", "positive")),
    "tokens negative": Case("solve a --budget-tokens -5", ("tokens=-5", "positive")),
    "tokens no number": Case("solve a --budget-tokens nan", ("--budget-tokens", "nan", "int")),
    "simulations zero": Case("solve a --budget-simulations 0", ("simulations=0", "positive")),
    "nodes negative": Case("solve a --budget-nodes -1", ("nodes=-1", "positive")),
    "seconds nan": Case("solve a --budget-seconds nan", ("seconds=nan", "positive")),
    "seconds infinite": Case("solve a --max-seconds inf", ("seconds=inf", "positive")),
    "nodes without a tree": Case(
        "eval {problems} --budget-nodes 9",
        ("nodes=9", "cot has no tree", "give tokens, simulations or seconds"),
    ),
    "width zero": Case("solve a --width 0", ("width=0", "at least 1")),
    "beam width zero": Case("solve a --beam-width 0", ("beam_width=0", "at least 1")),
    "depth zero": Case("solve a --max-depth 0", ("max_depth=0", "at least 1")),
    "in flight zero": Case("solve a --in-flight 0", ("in_flight=0", "at least 1")),
    "step tokens zero": Case("solve a --max-step-tokens 0", ("max_step_tokens=0", "at least 1")),
    "rollouts zero": Case("solve a --rollouts 0", ("rollouts=0", "value='prefix'")),
    "pre-expand negative": Case("solve a --pre-expand -1", ("pre_expand=-1", "negative")),
    "temperature negative": Case("solve a --temperature -1", ("temperature=-1.0", ">= 0")),
    "temperature nan": Case("solve a --temperature nan", ("temperature=nan", ">= 0")),
    "exploration infinite": Case("solve a --exploration inf", ("exploration=inf", "finite")),
    "top-p": Case("solve a --top-p 2", ("top_p=2.0", "(0, 1]")),
    "mix": Case("solve a --mix 2", ("mix=2.0", "[0, 1]")),
    "self-consistency": Case("solve a --self-consistency 7", ("self_consistency=7.0", "[0, 1]")),
    "confidence": Case("solve a --confidence 0", ("confidence=0", "(0, 1]")),
    "seed negative": Case("solve a --seed -1", ("seed=-1", "negative")),
    "seed too large": Case(f"solve a --seed {2**63}", (f"seed={2**63}", "below 2**63")),
    "value": Case("solve a --value best", ("--value", "best", "rollout")),
    "vote": Case("solve a --vote loudest", ("--vote", "loudest", "weighted")),
    "vote by path without a tree": Case(
        "solve a --vote path --method cot",
        ("vote='path' needs a tree", "choose weighted, majority or best"),
    ),
    "concurrency": Case(
        "solve a --concurrency 0 --base-url {server}", ("concurrency=0", "at least 1")
    ),
    "splitter": Case("solve a --splitter words", ("splitter 'words'", "choose labelled")),
    "splitter of no tokens": Case("solve a --splitter tokens:0", ("tokens:0", "at least 1")),
    "regex": Case("solve a --splitter 'regex:('", ("regex:(", "unterminated", "choose")),
    "limit zero": Case("eval {problems} --limit 0", ("limit", "at least 1", "0")),
    "limit negative": Case("solve -f {problems} --limit -2", ("limit", "at least 1", "-2")),
    "start negative": Case("eval {problems} --start -1", ("start", "not be negative", "-1")),
    "retries": Case("solve a --retries -1 --base-url {server}", ("retries=-1", "at least 0")),
    "labels equal": Case(
        "solve a --labels Yes Yes --base-url {server}", ("'Yes', 'Yes'", "two different ones")
    ),
    "one label": Case("solve a --labels Yes", ("--labels", "2")),
    "address": Case("solve a --base-url ftp://x", ("base URL", "http://host:port/v1")),
    "address of the judge": Case(
        "solve a --base-url {server} --reward-base-url nowhere", ("base URL", "http://host")
    ),
}

EVAL = "eval {data} --methods cot --base-url {server}"
FILES = {
    "missing file": Case("eval {folder}/none.jsonl", ("none.jsonl", "No such file", "JSONL")),
    "missing file to solve": Case("solve -f {folder}/none.jsonl", ("none.jsonl", "No such file")),
    "a folder": Case("eval {folder}", ("{folder}", "directory", "give a JSONL file")),
    "empty file": Case(EVAL, ("{data}", "no problem", "one JSON object a line"), b""),
    "blank lines": Case(EVAL, ("{data}", "no problem"), b"\n \n\n"),
    "bad JSON": Case(EVAL, ("{data}, line 2", "not JSON", "one object a line"), GOOD + b"{oh}\n"),
    "cut line": Case(EVAL, ("{data}, line 2", "not JSON"), GOOD + GOOD[:15]),
    "NaN": Case(EVAL, ("line 1", "NaN"), b'{"problem": "1 2", "answer": NaN}\n'),
    "a list": Case(EVAL, ("line 1", "not an object", "write one"), b'["1 2", "3"]\n'),
    "a number": Case(EVAL, ("line 2", "7", "not an object"), GOOD + b"7\n"),
    "problem missing": Case(EVAL, ("line 1", "no problem", "name it"), b'{"answer": "3"}\n'),
    "problem empty": Case(EVAL, ("line 1", "problem is empty"), b'{"problem": " "}\n'),
    "problem a number": Case(EVAL, ("line 1", "problem is 12", "text"), b'{"problem": 12}\n'),
    "answer an object": Case(
        EVAL, ("line 1", "answer is {{}}", "text or a number"), b'{"problem": "1", "answer": {}}\n'
    ),
    "answer missing": Case(
        EVAL, ("has no answer", "add a field `answer`", "solve -f"), b'{"problem": "1 2"}\n'
    ),
    "id twice": Case(EVAL, ("lines 1 and 2", "give every problem its own"), GOOD + GOOD),
    "bad UTF-8": Case(
        EVAL, ("line 2", "byte 14", "save the file as UTF-8"), GOOD + b'{"problem": "\xff"}'
    ),
    "half a surrogate": Case(EVAL, ("line 1", "surrogate", "UTF-8"), b'{"problem": "\\ud800"}\n'),
    "binary": Case(EVAL, ("line 1", "not JSON"), bytes(range(256))),
    "start beyond the end": Case("eval {problems} --start 9", ("4 problems", "start=9", "smaller")),
    "standard input empty": Case("eval - --methods cot", ("/dev/stdin", "no problem")),
    "standard input empty, to solve": Case("solve -f -", ("/dev/stdin", "no problem")),
}

SOLVE = "solve '1 2' {toy}"
MODELS = {
    "dead server": Case(
        "solve '1 2' --retries 0 --base-url {dead}", ("{dead}", "is the server running")
    ),
    "dead server, model named": Case(
        "solve '1 2' --model m --retries 0 --base-url {dead}", ("{dead}", "rtsearch doctor")
    ),
    "dead judge": Case(SOLVE + " --reward-base-url {dead}", ("{dead}", "is the server running")),
    "500": Case(SOLVE, ("status 500", "The request is wrong"), fault="500"),
    "429": Case(SOLVE, ("status 429", "lower the concurrency"), fault="429"),
    "401": Case(SOLVE, ("status 401", "OPENAI_API_KEY"), fault="401"),
    "404": Case(SOLVE, ("status 404", "check the model's name"), fault="404"),
    "400": Case(SOLVE, ("status 400", "The request is wrong"), fault="400"),
    "model unknown": Case(SOLVE + " --model gpt-9", ("gpt-9", "does not exist", "model's name")),
    "address without v1": Case("solve '1 2' --retries 0 --base-url {server}/x/y", ("404", "/v1")),
    "lost connection": Case(SOLVE, ("is the server running",), fault="drop"),
    "no sequences": Case(SOLVE + " --sequences 0", ("sequences=0: must be at least 1",)),
    "vLLM here and there": Case(SOLVE + " --vllm", ("--vllm", "--base-url", "leave one out")),
    "no patience": Case(SOLVE + " --patience -1", ("patience=-1.0: must be at least 0",)),
    "no recording": Case(
        "solve 1 --replay {folder}/none.jsonl", ("none.jsonl", "cannot be opened", "No such file")
    ),
    "recording of something else": Case(
        "solve 1 --replay {problems}", ("line 1: no line of a recording", "choose another file")
    ),
    "truncated JSON": Case(SOLVE, ("not JSON",), fault="truncated"),
    "HTML": Case(SOLVE, ("not JSON",), fault="html"),
    "list": Case(SOLVE, ("no JSON object",), fault="list"),
    "NaN in JSON": Case(SOLVE, ("not JSON", "NaN"), fault="nan"),
    "no choices": Case(SOLVE, ("no list of choices",), fault="no-choices"),
    "two choices": Case(SOLVE, ("1 samples were asked for, 2 came",), fault="two-choices"),
    "text a number": Case(SOLVE, ("choices[].text is no string",), fault="text-is-number"),
    "no finish": Case(SOLVE, ("finish_reason", "None"), fault="no-finish"),
    "no counts": Case(SOLVE, ("no usage.completion_tokens",), fault="no-counts"),
    "bad logprobs": Case(SOLVE, ("logprobs cannot be read",), fault="bad-logprobs"),
    "several models": Case(
        SOLVE, ("2 models", "name one of them", "one, two"), models=("one", "two")
    ),
    "no models": Case(SOLVE, ("0 models",), models=()),
    "label of two tokens": Case(
        SOLVE + " --labels 'Very good' No", ("'Very good' is 2 tokens", "one token each")
    ),
    "template missing": Case(
        "solve a --template {folder}/t.txt --base-url {server}", ("t.txt", "plain, chatml, llama3")
    ),
    "template a folder": Case("solve a --template {folder} --base-url {server}", ("directory",)),
    "template without its place": Case(
        "solve a --template {data} --base-url {server}", ("{data}", "{{problem}}", "put it"), b"Q:"
    ),
    "template not UTF-8": Case(
        "solve a --template {data} --base-url {server}", ("{data}", "UTF-8"), b"{problem}\xff"
    ),
    "question without its place": Case(
        "solve a --reward-template {data} --base-url {server}", ("{{solution}}",), b"{problem}"
    ),
    "model folder missing": Case(
        "solve a --model {folder}/m", ("{folder}/m", "not a model folder")
    ),
    "folder that is no model": Case("solve a --model {folder}", ("config.json", "save_pretrained")),
}

OUTPUT = "eval {problems} --methods cot {toy} -o "
OUTPUTS = {
    "exists, to solve": Case("solve '1 2' {toy} -o {data}", ("{data}: exists", "--resume"), b"x\n"),
    "foreign file": Case(
        "solve '1 2' {toy} -o {data} --resume", ("{data}, line 1", "not a record"), b"my thesis\n"
    ),
    "foreign JSON": Case(
        "solve '1 2' {toy} -o {data} --resume", ("line 1", "not a record"), b'{"a": 1}\n'
    ),
    "a file as run": Case(OUTPUT + "{data}", ("{data}", "a run is a folder", "--output"), b""),
    "a name of a file": Case(OUTPUT + "new.jsonl", ("new.jsonl", "results.jsonl")),
    "a folder of something else": Case(OUTPUT + "/etc", ("/etc: holds", "is no run folder")),
    "below a file": Case(OUTPUT + "{problems}/out", ("cannot be made", "--output")),
    "not writable": Case(OUTPUT + "/proc/self/out", ("cannot be made", "--output")),
    "a device": Case("solve '1 2' {toy} -o /dev/full", ("/dev/full", "not a plain file")),
    "a device as run": Case(OUTPUT + "/dev/full", ("/dev/full: cannot be made", "--output")),
}

REPLICAS = {
    "several servers": Case(
        "eval {problems} --base-url http://a/v1,http://b/v1", ("names 2 servers", "--engine ray")
    ),
    "several servers to solve": Case(
        "solve a --base-url http://a/v1,http://b/v1", ("http://a/v1,http://b/v1", "--engine ray")
    ),
    "replicas without ray": Case("eval {problems} --replicas 2", ("--replicas 2", "--engine ray")),
    "another engine": Case("eval {problems} --engine dask", ("--engine", "dask", "ray")),
}
RAY = "eval {problems} --engine ray "
OVER_RAY = {
    "no replica": Case(RAY + "--replicas 0", ("--replicas 0", "at least 1")),
    "fewer replicas than servers": Case(
        RAY + "--replicas 1 --base-url http://a/v1,http://b/v1", ("--replicas 1", "at least 2")
    ),
    "a record of replicas": Case(RAY + "--record {folder}/r.jsonl", ("--record and --engine ray",)),
    "CPUs below none": Case(RAY + "{toy} --replica-cpus -1", ("num_cpus=-1", "number >= 0")),
    "no address": Case(RAY + "{toy} --ray-address here", ("'here'", "host:port of the head")),
}

CASES = {
    **REPLICAS,
    **(OVER_RAY if find_spec("ray") else {}),
    **ARGUMENTS,
    **FILES,
    **MODELS,
    **OUTPUTS,
}


@pytest.fixture
def dead_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


@pytest.mark.parametrize("name", CASES)
def test_input_when_bad_is_answered_by_one_line(
    name, rtsearch, start_server, toy_flags, problems, dead_url, tmp_path, monkeypatch
):
    case = CASES[name]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if "--model {folder}" in case.arguments:
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    places = {"problems": problems, "dead": dead_url, "folder": tmp_path / "folder"}
    places["folder"].mkdir()
    if case.data is not None:
        places["data"] = tmp_path / "data.jsonl"
        places["data"].write_bytes(case.data)
    if "{server}" in case.arguments or "{toy}" in case.arguments:
        server = start_server(models=case.models)
        if case.fault:
            server.fail(case.fault, None)
        places |= {"server": server.base_url, "toy": shlex.join(toy_flags(server))}
    arguments = case.arguments
    if "-o " not in arguments and arguments.startswith("eval"):
        arguments += f" -o {tmp_path}/out"
    outcome = rtsearch(*shlex.split(arguments.format(**places)))
    for word in case.words:
        assert word.format(**places) in outcome.error
    assert outcome.code in (1, 2)
    assert outcome.out == ""
    if case.data is not None:
        assert places["data"].read_bytes() == case.data


def test_table_when_counted_is_large_enough():
    assert len(CASES) >= 40
    assert len({case for case in CASES.values()}) == len(CASES)


def test_output_when_another_process_writes_it_is_refused(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    output = tmp_path / "out"
    output.mkdir()
    with open(output / "rtsearch.lock", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        outcome = rtsearch("eval", problems, *toy_flags(start_server()), "-o", output)
    assert "another process is writing this run" in outcome.error
    assert "wait for it to end or choose another --output" in outcome.error


def test_output_when_the_disk_is_full_keeps_what_was_written(
    start_server, toy_flags, problems, tmp_path, rtsearch
):
    output = tmp_path / "out"
    journal = output / "journal.jsonl"
    arguments = ["eval", problems, "--methods", "cot,majority", "--budget-tokens", 300,
                 *toy_flags(start_server()), "-o", output]  # fmt: skip
    full = subprocess.run(
        [sys.executable, "-c", "from rtsearch_fast.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )
    assert full.returncode == 1, full.stderr
    assert full.stderr.startswith(f"rtsearch: {journal}: cannot write (File too large)")
    assert full.stderr.count("\n") == 1 and "make room and go on with --resume" in full.stderr
    kept = journal.read_bytes()
    assert kept.count(b"\n") >= 2 and kept.endswith(b"\n") and len(kept) <= 9000
    assert rtsearch(*arguments, "--resume").code == 0
    lines = journal.read_bytes().splitlines()
    done = {line for line in kept.splitlines() if b'"done":' in line[:30]}
    assert len(lines) == 8 and done and done <= set(lines)


def test_interrupt_while_models_are_loaded_ends_at_once(problems, tmp_path):
    os.mkfifo(tmp_path / "template")  # whoever reads it waits for what is never written
    program = [sys.executable, "-c", "from rtsearch_fast.cli import main; main()", "eval"]
    process = subprocess.Popen(
        [*program, problems, "--template", tmp_path / "template", "-o", tmp_path / "out"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pipe = None
    while pipe is None:
        assert process.poll() is None
        time.sleep(0.01)
        with suppress(OSError):  # nobody reads yet
            pipe = os.open(tmp_path / "template", os.O_WRONLY | os.O_NONBLOCK)
    time.sleep(1)  # it has opened the pipe, and is about to wait for what comes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(pipe)
    assert process.returncode == 130
    assert err.startswith("rtsearch: interrupted") and err.count("\n") == 1


def test_interrupt_when_the_program_is_still_starting_is_one_line():
    code = (
        "import sys, builtins, rtsearch_fast.cli as cli\n"
        "real = builtins.__import__\n"
        "def interrupted(name, *rest):\n"
        "    if name == 'app': raise KeyboardInterrupt\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = interrupted\n"
        "cli.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "rtsearch: interrupted\n")
