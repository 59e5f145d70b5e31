"""`rtsearch data`: the way from a search's records to training rows, and bad input on it."""

from __future__ import annotations

import json
import shlex

import pytest
from sampled import made_up, sample

from rtsearch_fast.training.jsonl import read_jsonl
from rtsearch_fast.training.samples import Sampled, read_samples, write_samples

FORMS = "prompt-completion|preference|unpaired|stepwise|sft|dpo|reward|process"
REWRITE = "Add.\n\n## Restatement\nThe sum.\n\n## Step 1: Add\nIt is 3.\n\n## Answer\n\\boxed{3}"
DRAFT = '{"id": 1, "problem": "1 + 2", "solution": "\\\\boxed{3}"}\n'


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.jsonl"
    write_samples(path, made_up(0, questions=20))
    return path


def test_records_when_taken_all_the_way_become_rows(
    rtsearch, start_server, toy_flags, problems, tmp_path
):
    flags = toy_flags(start_server())
    names = ("eval", "all", "clean", "kept", "chosen")
    records, every, clean, kept, chosen = (tmp_path / f"{name}.jsonl" for name in names)
    outcome = rtsearch("eval", problems, "--methods", "mcts,majority", "--budget-tokens", 900,
                       *flags, "-o", records)  # fmt: skip
    assert outcome.code == 0, outcome
    outcome = rtsearch("data", "harvest", records, "-o", every)
    assert outcome.code == 0 and " samples of 4 questions (" in outcome.out
    heldout = tmp_path / "heldout.jsonl"
    heldout.write_text(json.dumps({"problem": read_samples(every)[0].problem}) + "\n")
    outcome = rtsearch("data", "decontaminate", every, "--against", heldout, "-o", clean)
    assert outcome.code == 0 and " are not (problem " in outcome.out
    assert f"{clean}: " in outcome.out and " of 3 questions (" in outcome.out
    outcome = rtsearch("data", "filter", clean, "-o", kept, "--filters", "format,duplicates")
    assert outcome.code == 0 and outcome.out.startswith("filter      before  kept")
    outcome = rtsearch("data", "select", kept, "--per-question", 4, "-o", chosen)
    assert outcome.code == 0 and "share misjudged" in outcome.out
    assert sum(one.right for one in read_samples(chosen)) * 2 == len(read_samples(chosen))
    for form in FORMS.split("|"):
        rows = tmp_path / f"{form}.jsonl"
        outcome = rtsearch("data", "export", kept, "--to", form, "-o", rows)
        assert outcome.code == 0 and outcome.out.endswith(f" rows of {form}\n")
        assert len(list(read_jsonl(rows))) == int(outcome.out.split()[1])
    outcome = rtsearch("data", "pairs", kept, "-o", tmp_path / "pairs.jsonl")
    assert outcome.code == 0 and outcome.out.startswith("questions 3, pairs ")


def test_check_when_solutions_are_faulty_counts_and_shows_them(rtsearch, tmp_path):
    path, problems = tmp_path / "s.jsonl", tmp_path / "p.jsonl"
    good = "## Step 1: Add\n1 + 1\n\n## Answer\n\\boxed{2}"
    write_samples(path, [sample(good, question="a"), sample("So 2.", question="b")])
    outcome = rtsearch("data", "check", path, "--level", "lenient")
    assert outcome.code == 1
    assert outcome.out.splitlines()[:3] == [
        f"{path}, line 2: line 1: text before the first header ('So 2.'); line 1: no box with an "
        "answer in it (0 boxes, none with an answer); line 1: no ## Step (1 lines); line 1: no ## "
        "Answer (1 lines)",
        "1 of 2 solutions keep to the format (lenient)",
        "fault               solutions  meaning",
    ]
    write_samples(path, [sample(good, question="a")])
    assert rtsearch("data", "check", path, "--level", "lenient").code == 0
    assert "missing-analysis" in rtsearch("data", "check", path, "--show", 0).out
    problems.write_text('{"id": "a", "problem": "1 + 1", "answer": "3"}\n')
    outcome = rtsearch("data", "check", path, "--level", "lenient", "--problems", problems)
    assert outcome.code == 1 and "wrong-answer" in outcome.out


def test_rewrite_when_resumed_asks_nothing_twice(rtsearch, tmp_path):
    pytest.importorskip("aiohttp")
    from toy_text import openai_server

    server = openai_server().OpenAIServer(lambda prompt, seed: REWRITE)
    drafts, output = tmp_path / "drafts.jsonl", tmp_path / "out.jsonl"
    drafts.write_text(DRAFT)
    try:
        command = ("data", "rewrite", drafts, "--base-url", server.base_url, "-o", output)
        outcome = rtsearch(*command, "--max-tokens", 200)
        assert outcome.code == 0, outcome
        assert outcome.out.startswith("1 of 1 drafts rewritten in 1 attempts (0 from the journal)")
        (found,) = read_samples(output)
        assert found.answer == "3" and len(found.solution) == 4
        assert rtsearch("data", "check", output).code == 0
        first = output.read_bytes()
        assert "exists; pass --overwrite" in rtsearch(*command).error
        outcome = rtsearch(*command, "--max-tokens", 200, "--resume")
        assert "(1 from the journal)" in outcome.out
        assert len(server.bodies) == 1 and output.read_bytes() == first
    finally:
        server.close()


def test_output_when_there_already_is_replaced_only_if_asked(rtsearch, samples, tmp_path):
    output = tmp_path / "out.jsonl"
    output.write_text("precious\n")
    command = ("data", "export", samples, "--to", "sft", "-o", output)
    assert "exists; pass --overwrite or choose another --output" in rtsearch(*command).error
    assert output.read_text() == "precious\n"
    assert rtsearch(*command, "--overwrite").code == 0
    same = ("data", "filter", samples, "-o", samples, "--overwrite")
    assert "is read from; choose another --output" in rtsearch(*same).error


BAD = {
    "harvest -o {new}": "give a file that rtsearch eval wrote",
    "harvest {samples} -o {new}": "no record that rtsearch eval wrote",
    "harvest {folder}/none -o {new}": "No such file",
    "filter {samples} -o {new} --filters size": "filter 'size': choose out of format",
    "filter {samples} -o {new} --threshold 2": "threshold=2.0",
    "filter {samples} -o {new} --ngram 0": "n=0",
    "filter {empty} -o {new}": "holds no sample",
    "filter {drafts} -o {new}": "line 1: unique_id is missing",
    "filter {folder} -o {new}": "directory",
    "filter {samples} -o /proc/self/x.jsonl": "cannot be written",
    "select {unscored} -o {new}": "none of 2 samples has a score",
    "select {samples} -o {new} --strategy best": "strategy",
    "select {samples} -o {new} --per-question 1": "per_question=1",
    "select {samples} -o {new} --total 0": "total=0",
    "pairs {unscored} -o {new}": "none of 2 samples has a score",
    "decontaminate {samples} --against {empty} -o {new}": "holds no problem",
    "decontaminate {samples} --against {samples} -o {new} --ngram 0": "n=0",
    "decontaminate {unscored} --against {unscored} -o {new} --ngram 1": "lines 1 and 2",
    "export {samples} --to csv -o {new}": "csv",
    "export {samples} --to sft --template none -o {new}": "template 'none'",
    "export {wrong} --to sft -o {new}": "none of 1 samples gives a row of sft",
    "export {samples} --to stepwise --threshold 1 -o {new}": "threshold=1.0",
    "export {samples} --to process --min-count 0 -o {new}": "min_count=0",
    "check {empty}": "holds no solution",
    "check {drafts} --show -1": "show=-1",
    "check {samples} --level mild": "mild",
    "rewrite {drafts} --base-url {dead} --retries 0 -o {new}": "is the server running",
    "rewrite {drafts} --base-url nowhere -o {new}": "http://host",
    "rewrite {drafts} --base-url {dead} --attempts 0 -o {new}": "attempts=0",
    "rewrite {samples} --base-url {dead} --retries 0 -o {new}": "line 1: solution is",
    "rewrite {drafts} --base-url {dead} --template none -o {new}": "template 'none'",
    "rewrite {drafts} -o {new}": "--base-url",
}


@pytest.mark.parametrize("command", BAD)
def test_input_when_bad_is_answered_by_one_line(command, rtsearch, samples, tmp_path):
    places = {"samples": samples, "folder": tmp_path, "new": tmp_path / "new.jsonl"}
    for name in ("empty", "drafts", "unscored", "wrong"):
        places[name] = tmp_path / f"{name}.jsonl"
    places["dead"] = "http://127.0.0.1:9/v1"
    places["empty"].write_text("\n")
    places["drafts"].write_text(DRAFT)
    write_samples(places["unscored"], [sample(), sample("b", False)])
    write_samples(places["wrong"], [Sampled("1", "?", ("x",), "2", False)])
    outcome = rtsearch("data", *shlex.split(command.format(**places)))
    assert BAD[command] in outcome.error
    assert not places["new"].exists()
