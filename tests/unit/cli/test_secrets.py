"""What a run leaves: no key in any file or message, and no file that data named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

KEY = "sk-secret-0123456789"
BUDGET = ("--budget-tokens", "300", "--methods", "best_of_n")


def contents(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("MY_KEY", KEY)
    return [KEY, "hunter2", "dXNlcjpodW50ZXIy"]  # the last is what a password is sent as


@pytest.mark.parametrize("with_password", [False, True])
@pytest.mark.parametrize("fault", [None, "401"])
def test_key_when_sent_is_in_no_file_and_no_message(
    rtsearch, start_server, toy_flags, problems, tmp_path, secrets, with_password, fault
):
    server = start_server()
    server.message = " ".join(secrets)  # a server that repeats what it was sent
    url = server.base_url
    if with_password:
        url = url.replace("://", "://user:hunter2@")
    if fault:
        server.fail(fault, times=None)
    flags = [*toy_flags(url), "--api-key-env", "MY_KEY"]
    run = tmp_path / "run"
    record = ("--record", str(tmp_path / "answers.jsonl"))
    outcome = rtsearch("eval", problems, *BUDGET, "-o", run, *record, *flags)
    assert (outcome.code == 0) == (fault is None), outcome.err
    sent = [headers.get("authorization", "") for headers in server.headers]
    assert any(secret in header for header in sent for secret in secrets)
    told = (outcome.out + outcome.err).encode() + contents(tmp_path)
    # a server that is sent the one does not know the other
    wanted = secrets[1:] if with_password else secrets[:1]
    assert not [secret for secret in wanted if secret.encode() in told]


def test_problems_when_named_like_paths_write_to_the_run_folder_alone(
    rtsearch, start_server, toy_flags, tmp_path
):
    names = ["../../up", "/etc/passwd", "a/b", "..", "~", "C:\\x", "a\0b"]
    data = tmp_path / "in" / "data.jsonl"
    data.parent.mkdir()
    rows = [{"id": name, "problem": f"{i} 2 3", "answer": "6"} for i, name in enumerate(names)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = toy_flags(start_server())
    before = {path for path in tmp_path.rglob("*")}
    run = tmp_path / "runs" / "deep" / "run"
    assert rtsearch("eval", data, *BUDGET, "-o", run, *flags).code == 0
    written = {path for path in tmp_path.rglob("*")} - before - {run, *run.parents}
    assert {path.relative_to(run).name for path in written} == {
        "run.json",
        "problems.jsonl",
        "journal.jsonl",
        "results.jsonl",
        "timing.jsonl",
        "rtsearch.lock",
    }


def test_runs_when_their_files_hold_escape_sequences_print_none(
    rtsearch, start_server, toy_flags, tmp_path
):
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"id": "\x1b[2J", "problem": "\x1b]0;x\x07 1 2", "answer": "3"}))
    server = start_server()
    server.text = lambda prompt, seed: " Answer\n\x1b[2J\x9b31m \\boxed{\x1b[31m7}"
    server.next_tokens = lambda prompt: {"Yes": -0.1, "No": -2.3}
    run = tmp_path / "run"
    assert rtsearch("eval", data, *BUDGET, "-o", run, *toy_flags(server)).code == 0
    for command in (["runs", tmp_path], ["show", run], ["show", run, "\x1b[2J"]):
        outcome = rtsearch(*command)
        text = outcome.out + outcome.err
        assert outcome.code == 0, text
        assert text and all(char.isprintable() for char in text.replace("\n", "")), command
