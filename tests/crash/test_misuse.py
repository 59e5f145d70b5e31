"""Misuse of run folders by many processes at once, while one of the runs is being written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from eval_process import Run, results

pytest.importorskip("cyclopts")


def go_on(
    more: str = "--resume",
    output: str = "{run}",
    *,
    budget: int = 300,
    methods: str = "cot,majority,mcts_g",
    template: str = "policy.txt",
) -> str:
    """The command that made {run}, but for what a case changes."""
    return (
        f"eval problems.jsonl -o {output} --budget-tokens {budget} --methods {methods} "
        f"{{server}} --template {template} --reward-template reward.txt {more}"
    )


@dataclass(frozen=True)
class Misuse:
    """A command line, and words of the one line that answers it.

    In its arguments {live} is a run that is being written, {run} a finished one for this case
    alone, {other} one of another width, {empty} a folder.
    """

    arguments: str
    words: str
    disturb: Callable[[Path], None] = lambda run: None
    code: int = 1


def edit(**changes: object) -> Callable[[Path], None]:
    """Change what a run says of itself."""

    def disturb(run: Path) -> None:
        about = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**about, **changes}))

    return disturb


def lose_settings(run: Path) -> None:
    (run / "run.json").unlink()


def flip_a_bit(run: Path) -> None:
    data = bytearray((run / "journal.jsonl").read_bytes())
    data[len(data) // 2] ^= 4
    (run / "journal.jsonl").write_bytes(data)


def make_a_pipe(run: Path) -> None:
    (run / "journal.jsonl").unlink()
    os.mkfifo(run / "journal.jsonl")


def make_a_folder(run: Path) -> None:
    (run / "journal.jsonl").unlink()
    (run / "journal.jsonl").mkdir()


def change_problems(run: Path) -> None:
    text = (run / "problems.jsonl").read_text()
    (run / "problems.jsonl").write_text(text.replace("toy", "tay").replace('"0"', '"00"'))


LIVE = {
    "a second writer": Misuse(go_on(output="{live}"), "another process is writing"),
    "a second writer of other settings": Misuse(
        go_on("--resume --width 2", "{live}"), "another process is writing"
    ),
    "merge into a run that is written": Misuse("merge {live} {run}", "another process is writing"),
    "merge of a run that is written": Misuse("merge {empty}/m {run} {live}", "is being written"),
    "a file of a run as output": Misuse(go_on(output="{live}/new.jsonl"), "a run is a folder"),
    "solve into a run": Misuse("solve '1 2' {server} -o {live}", "Is a directory"),
    "show while it is written": Misuse("show {live}", "running", code=0),
    "runs while one is written": Misuse("runs {live}", "running", code=0),
}
CHANGED = {
    "again without --resume": Misuse(go_on(""), "pass --resume to go on"),
    "another budget": Misuse(go_on(budget=70), "budget.tokens 300, now it is 70"),
    "another option": Misuse(go_on("--resume --width 2"), "with options.width"),
    "another model": Misuse(go_on(template="plain"), "was begun with policy"),
    "another splitter": Misuse(go_on("--resume --splitter tokens:4"), "was begun with splitter"),
    "fewer methods": Misuse(go_on(methods="mcts_g,cot"), "the methods cot,majority,mcts_g"),
    "other problems": Misuse(go_on("--resume --start 1"), "other problems"),
    "another shard": Misuse(go_on("--resume --shard 1/2"), "holds shard 1/1, not 1/2"),
    "another version": Misuse(go_on(), "begun by rtsearch 0.0.1", edit(version="0.0.1")),
    "another format": Misuse(go_on(), "the format 'run-9'", edit(format="run-9")),
    "settings edited": Misuse(go_on(), "changed by hand", edit(settings={"methods": ["cot"]})),
    "lost settings and others": Misuse(
        go_on("--resume --width 2"), "other settings", lose_settings
    ),
    "problems edited": Misuse("show {run} 0", "holds other problems", change_problems),
}
DAMAGED = {
    "a bit flipped": Misuse("show {run}", "is damaged", flip_a_bit, code=0),
    "a pipe for a journal": Misuse(go_on(), "is not a plain file", make_a_pipe),
    "a folder for a journal": Misuse(go_on(), "cannot be opened (Is a directory)", make_a_folder),
}
STRANGE = {
    "a disk that refuses": Misuse(go_on(output="/sys/run"), "/sys/run: cannot be made"),
    "a folder of something else": Misuse(go_on(output="."), "and is no run folder"),
    "a path for an id": Misuse("show {run} ../../problems", "has no problem '../../problems'"),
    "no run to show": Misuse("show {empty}", "is no run folder"),
    "runs that differ": Misuse("merge {empty}/m {run} {other}", "they are not of one run"),
    "more parts than problems": Misuse(go_on("--resume --shard 99/99"), "none is in this part"),
}
CASES = {**LIVE, **CHANGED, **DAMAGED, **STRANGE}


def start(run: Run, arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from rtsearch_fast.cli import main; main()",
            *shlex.split(arguments),
        ],
        cwd=run.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name != "timing.jsonl"
    }


def test_runs_when_misused_by_many_at_once_refuse_each_and_lose_nothing(run, tmp_path):
    assert len(CASES) >= 24
    finished, live, empty = tmp_path / "finished", tmp_path / "live", tmp_path / "empty"
    run.finish(finished)
    run.finish(tmp_path / "other", "--width", "2")
    empty.mkdir()
    commands, before = {}, {}
    for number, (name, case) in enumerate(CASES.items()):
        copy = tmp_path / f"run{number}"
        shutil.copytree(finished, copy)
        case.disturb(copy)
        before[name] = (copy, content(copy))
        commands[name] = case.arguments.format(
            live=live,
            run=copy,
            other=tmp_path / "other",
            empty=empty,
            server=f"--base-url {run.server.base_url} --retries 0 --concurrency 2",
        )
    run.server.delay = 2.0  # however long the others take
    writer = run.start(live)
    while not (live / "journal.jsonl").exists():
        assert writer.poll() is None
    processes = {name: start(run, command) for name, command in commands.items()}
    answers = {name: process.communicate(timeout=120) for name, process in processes.items()}
    assert writer.poll() is None  # it was written all the time
    run.server.delay = 0.0
    wrong = {}
    for name, case in CASES.items():
        out, err = answers[name]
        said = (out + err) if case.code == 0 else err
        is_one_line = case.code == 0 or (err.startswith("rtsearch: ") and err.count("\n") == 1)
        if processes[name].returncode != case.code or case.words not in said or not is_one_line:
            wrong[name] = (processes[name].returncode, out, err)
        copy, was = before[name]
        if content(copy) != was:
            wrong[name] = "its run was changed"
    assert not wrong
    assert not list(empty.iterdir())
    _, err = writer.communicate()
    assert writer.returncode == 0, err
    assert results(live) == results(finished)
    assert (live / "journal.jsonl").read_bytes() == (finished / "journal.jsonl").read_bytes()
