"""The commands at work, over a local server of the toy model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from rtsearch_fast import METHODS, __version__

BUDGET = ("--budget-tokens", "300")


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )


def is_plain(text: str) -> bool:
    """Whether nothing in it is meant for a terminal alone."""
    return all(char.isprintable() for char in text.replace("\n", ""))


# --- solve -------------------------------------------------------------------------------


def test_solve_when_given_a_problem_prints_its_answer(rtsearch, start_server, toy_flags):
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *toy_flags(start_server()))
    assert (outcome.code, outcome.err) == (0, "")
    assert "[0] 1 2 3\n  -> '6'  score 0." in outcome.out
    assert re.search(
        r"\d+ solutions, \d+ nodes, \d+ \+ \d+ tokens of policy \+ reward", outcome.out
    )
    assert "stopped by: " in outcome.out
    assert "SmolLM2" not in outcome.out and is_plain(outcome.out)


def test_solve_when_asked_for_the_tree_draws_it(rtsearch, start_server, toy_flags):
    outcome = rtsearch("solve", "1 2 3", "--show-tree", *BUDGET, *toy_flags(start_server()))
    assert "\nroot  N=" in outcome.out
    assert re.search(r"\n[|`]- N=\d+ V=0\.\d+  ## Step 1: add 2 we get 3", outcome.out)


@pytest.mark.parametrize("method", METHODS)
def test_solve_when_given_a_file_grades_what_has_answers(
    rtsearch, start_server, toy_flags, problems, method
):
    flags = toy_flags(start_server())
    outcome = rtsearch("solve", "-f", problems, "--method", method, "--limit", 2, *BUDGET, *flags)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("\n  -> ") == 2
    assert "[toy/0]" in outcome.out and "[toy/1]" in outcome.out and "[toy/2]" not in outcome.out
    assert re.search(r"Measured just now: \d of 2 right \(95 % interval \d+ - \d+ %\)", outcome.out)


def test_solve_when_texts_hold_escape_sequences_prints_none(
    rtsearch, start_server, toy_flags, tmp_path
):
    data = tmp_path / "data.jsonl"
    problem = "\x1b]0;owned\x07 1 2"
    data.write_text(json.dumps({"problem": problem, "id": "\x1b[2J", "answer": "\x1b[31m"}) + "\n")
    server = start_server()
    server.text = lambda prompt, seed: " Answer\n\x1b[2J\x9b31m \\boxed{\x1b[31m7}"
    server.next_tokens = lambda prompt: {"Yes": -0.1, "No": -2.3}
    flags = toy_flags(server)
    outcome = rtsearch("solve", "-f", data, "--show-tree", *BUDGET, *flags)
    assert outcome.code == 0
    assert is_plain(outcome.out), ascii(outcome.out)
    assert "[\\x1b[2J] \\x1b]0;owned\\x07 1 2\n" in outcome.out
    assert "-> '\\x1b[31m7'" in outcome.out
    assert "## Answer \\x1b[2J\\x9b31m" in outcome.out


def test_solve_when_arguments_are_no_unicode_still_prints(rtsearch, start_server, toy_flags):
    server = start_server()
    server.text = lambda prompt, seed: " Answer\n\\boxed{7}"
    server.next_tokens = lambda prompt: {"Yes": -0.1, "No": -2.3}
    outcome = rtsearch("solve", "broken \udcff byte", *BUDGET, *toy_flags(server))
    assert outcome.code == 0
    assert "[0] broken \\udcff byte\n  -> '7'" in outcome.out


def test_solve_when_given_an_output_keeps_and_resumes(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    server, output = start_server(), tmp_path / "new" / "out.jsonl"
    arguments = ["solve", "-f", problems, *BUDGET, *toy_flags(server), "-o", output]
    first = rtsearch(*arguments)
    written, asked = output.read_bytes(), len(server.bodies)
    assert first.code == 0 and written.count(b"\n") == 4
    again = rtsearch(*arguments, "--resume")
    assert again.out == first.out
    assert output.read_bytes() == written and len(server.bodies) == asked


RESULTS = "results.jsonl"

# --- eval --------------------------------------------------------------------------------


def test_eval_when_run_prints_a_table_of_all_methods(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    output = tmp_path / "out"
    methods = ",".join(METHODS)
    flags = toy_flags(start_server())
    outcome = rtsearch("eval", problems, "--methods", methods, *BUDGET, *flags, "-o", output)
    assert (outcome.code, outcome.err) == (0, "")
    assert is_plain(outcome.out)
    head, *rows = outcome.out.split("\n\n")[0].splitlines()
    assert "95 % interval" in head and "chosen" in head and "found" in head
    assert [row.split()[0] for row in rows] == list(METHODS)
    for row in rows:
        assert re.search(r"^\w+ +4 +\d+\.0 % +\d+\.\d - \d+\.\d % ", row), row
    assert f"4 problems of {problems} at 300 tokens each; the run is in {output}" in outcome.out
    records = [json.loads(line) for line in (output / RESULTS).read_text().splitlines()]
    assert [record["method"] for record in records] == [m for m in METHODS for _ in range(4)]
    for record in records:
        assert record["usage"]["policy_tokens"] + record["usage"]["reward_tokens"] <= 300
    right = {m: sum(r["correct"] for r in records if r["method"] == m) for m in METHODS}
    assert [f"{25.0 * right[row.split()[0]]:.1f} %" in row for row in rows] == [True] * len(rows)
    assert max(right.values()) >= 3


def test_eval_when_resumed_computes_nothing_again(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    server, output = start_server(), tmp_path / "out"
    arguments = ["eval", problems, "--methods", "cot,majority", *BUDGET, *toy_flags(server)]
    arguments += ["-o", output]
    assert rtsearch(*arguments, "--limit", 2).code == 0
    written, asked = (output / RESULTS).read_bytes(), len(server.bodies)
    again = rtsearch(*arguments, "--limit", 2, "--resume")
    assert again.code == 0 and "seconds: only of what this session computed" in again.out
    assert (output / RESULTS).read_bytes() == written and len(server.bodies) == asked
    assert rtsearch(*arguments, "--resume").code == 0
    assert len(server.bodies) > asked
    undisturbed = tmp_path / "undisturbed"
    assert rtsearch(*arguments[:-1], undisturbed).code == 0
    assert (undisturbed / RESULTS).read_bytes() == (output / RESULTS).read_bytes()


def test_eval_when_a_record_was_torn_says_so_and_mends_it(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    output = tmp_path / "out"
    arguments = ["eval", problems, "--methods", "cot", *toy_flags(start_server()), "-o", output]
    assert rtsearch(*arguments).code == 0
    journal = output / "journal.jsonl"
    written = journal.read_bytes()
    journal.write_bytes(written[:-20])
    outcome = rtsearch(*arguments, "--resume")
    assert outcome.code == 0 and journal.read_bytes() == written
    assert outcome.err.startswith(f"rtsearch: {journal}: the last ")
    assert "cut off" not in outcome.out


def test_eval_when_dry_asks_no_model(rtsearch, problems, tmp_path):
    outcome = rtsearch("eval", problems, "--dry-run", "-o", tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("4 problems, 5 methods")
    assert not (tmp_path / "out").exists()


# --- doctor ------------------------------------------------------------------------------


def test_doctor_when_all_is_well_says_ok_and_exits_0(rtsearch, start_server):
    outcome = rtsearch("doctor", "--base-url", start_server().base_url)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"rtsearch-fast {__version__}, Python 3.")
    engine = outcome.out[outcome.out.index(" engine ") :]
    for name in ("models", "generation", "logprobs", "labels", "stop", "seeds", "end of text"):
        assert re.search(rf"  ok  {name} ", engine), name
    assert "NO" not in engine


def test_doctor_when_the_server_is_dead_says_no_and_exits_1(rtsearch):
    outcome = rtsearch("doctor", "--base-url", "http://127.0.0.1:9/v1", "--retries", 0)
    assert (outcome.code, outcome.err) == (1, "")
    assert re.search(r"^  NO  engine .*127\.0\.0\.1:9.*is the server running", outcome.out, re.M)


def test_doctor_when_only_one_check_fails_says_which(rtsearch, start_server):
    server = start_server(dialect="plain")
    server.next_tokens = lambda prompt: {"Maybe": -0.1}
    outcome = rtsearch("doctor", "--base-url", server.base_url)
    assert outcome.code == 1
    assert re.search(r"^  ok  generation ", outcome.out, re.M)
    assert re.search(r"^  NO  labels .*Yes, No", outcome.out, re.M)


def test_doctor_when_told_to_look_at_the_installation_alone_asks_no_model(rtsearch):
    outcome = rtsearch("doctor", "--installed-only", "--base-url", "http://127.0.0.1:9/v1")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"^  ok  cli .*cyclopts", outcome.out, re.M)


# --- the program -------------------------------------------------------------------------


def test_version_when_asked_is_printed(rtsearch):
    assert rtsearch("--version").out.strip() == __version__


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("solve", "eval", "doctor")),
        (("solve",), ("--method", "--budget-tokens", "--show-tree", "--base-url", "--retries")),
        (("eval",), ("--methods", "--resume", "--limit", "--output", "--width")),
        (("doctor",), ("--installed-only", "--labels")),
    ],
)
def test_help_when_asked_names_commands_and_options(rtsearch, command, words):
    outcome = rtsearch(*command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert [word for word in words if word not in outcome.out] == []


def test_command_when_cyclopts_is_missing_says_what_to_install():
    ended = python(
        "import sys; sys.modules['cyclopts'] = None\nfrom rtsearch_fast.cli import main; main()"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("rtsearch: the command line needs cyclopts: pip install ")
    assert 'rtsearch-fast[cli]"' in ended.stderr and ended.stderr.count("\n") == 1


def test_command_when_output_is_a_pipe_writes_nothing_but_text(start_server, toy_flags, problems):
    arguments = ["solve", "-f", str(problems), *BUDGET, *toy_flags(start_server())]
    ended = python(
        f"import sys; sys.argv = ['rtsearch', *{arguments!r}]\n"
        "from rtsearch_fast.cli import main; main()"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert is_plain(ended.stdout) and "\n  -> " in ended.stdout


# --- recordings --------------------------------------------------------------------------


def test_eval_when_recorded_can_be_replayed_without_a_server(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    server, answers = start_server(), tmp_path / "answers.jsonl"
    arguments = ["eval", problems, "--methods", "best_of_n,majority,mcts_g", *BUDGET]
    recorded = rtsearch(*arguments, *toy_flags(server), "--record", answers, "-o", tmp_path / "a")
    assert (recorded.code, recorded.err) == (0, "")
    asked = len(server.bodies)
    server.close()
    replayed = rtsearch(*arguments, "--replay", answers, "-o", tmp_path / "b")
    assert (replayed.code, replayed.err) == (0, "")
    assert (tmp_path / "a" / RESULTS).read_bytes() == (tmp_path / "b" / RESULTS).read_bytes()
    # majority draws the solutions of best_of_n, which are known by then
    requests = [json.loads(line) for line in answers.read_text().splitlines() if '"key"' in line]
    assert len(requests) == len({request["key"] for request in requests})
    assert asked < 1.2 * len(requests)


def test_solve_when_replayed_with_other_settings_says_what_is_missing(
    rtsearch, start_server, toy_flags, tmp_path
):
    answers = tmp_path / "answers.jsonl"
    assert rtsearch("solve", "1 2", *toy_flags(start_server()), "--record", answers).code == 0
    outcome = rtsearch("solve", "1 2", "--replay", answers, "--seed", 1)
    assert "has no answer to the sample" in outcome.error and "other settings" in outcome.error
    outcome = rtsearch("solve", "1 2", "--replay", answers, "--record", answers)
    assert "--record and --replay: give one of them" in outcome.error
    outcome = rtsearch("doctor", "--replay", answers)
    assert outcome.code == 1 and "--replay has no engine to check" in outcome.out
