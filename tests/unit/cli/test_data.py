"""`rtsearch data`: the way from a search's records to training rows, and bad input on it."""

from __future__ import annotations

import json
import random
import shlex

import pytest
from sampled import made_up, sample
from toy_models import toy_problem

from rtsearch_fast.training.jsonl import read_jsonl
from rtsearch_fast.training.samples import Sampled, read_samples, write_samples

FORMS = (
    "prompt-completion|preference|step-preference|unpaired|stepwise|sft|dpo|step-dpo|reward|process|"
    "math-shepherd|math-aps"
)
OF_STEPS = "step-preference|stepwise|step-dpo|process|math-shepherd|math-aps"
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
    names, records = ("all", "clean", "kept", "chosen"), tmp_path / "run"
    every, clean, kept, chosen = (tmp_path / f"{name}.jsonl" for name in names)
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
        again = rtsearch("data", "export", kept, "--to", form, "-o", tmp_path / f"{form}.parquet")
        assert again.out.split()[1:] == outcome.out.split()[1:]
    for form in OF_STEPS.split("|"):
        rows = tmp_path / f"tree-{form}.jsonl"
        outcome = rtsearch("data", "export", records, "--values", "tree", "--to", form, "-o", rows)
        assert outcome.code == 0 and outcome.out.endswith(f" rows of {form}\n"), outcome
        assert rows.read_bytes() != (tmp_path / f"{form}.jsonl").read_bytes()
        found = [row for _, row in read_jsonl(rows)]
        assert len(found) == int(outcome.out.split()[1])
        assert all(row["margin"] >= 0.1 for row in found if "margin" in row)
        if form == "stepwise":
            assert all(row["labels"] == [v > 0.5 for v in row["values"]] for row in found)
    outcome = rtsearch("data", "pairs", kept, "-o", tmp_path / "pairs.jsonl")
    assert outcome.code == 0 and outcome.out.startswith("questions 3, pairs ")


def test_export_when_limits_are_given_keeps_to_them(rtsearch, samples, tmp_path):
    def rows(*options: object) -> list[dict]:
        path = tmp_path / "rows.jsonl"
        outcome = rtsearch("data", "export", samples, "-o", path, "--overwrite", *options)
        assert outcome.code == 0, outcome
        return [row for _, row in read_jsonl(path)]

    every = rows("--to", "sft")
    best = rows("--to", "sft", "--per-question", 1)
    assert len({row["problem"] for row in every}) == len(best) < len(every)
    margins = [row["margin"] for row in rows("--to", "preference")]
    assert min(margins) < 0
    assert min(row["margin"] for row in rows("--to", "preference", "--min-margin", 0.25)) >= 0.25
    steps = rows("--to", "step-preference", "--min-margin", 0.5)
    assert steps and min(row["margin"] for row in steps) >= 0.5
    hard = rows("--to", "stepwise", "--threshold", 0.5)
    assert all(row["labels"] == [value > 0.5 for value in row["values"]] for row in hard)


def test_trees_when_kept_by_solve_are_exported(rtsearch, start_server, toy_flags, tmp_path):
    problem, records = toy_problem(random.Random(0), 3), tmp_path / "solved.jsonl"
    flags = toy_flags(start_server())
    assert "--output" in rtsearch("solve", problem, *flags, "--keep-trees").error
    outcome = rtsearch("solve", problem, *flags, "--keep-trees", "-o", records)
    assert outcome.code == 0, outcome
    rows = tmp_path / "process.parquet"
    outcome = rtsearch("data", "export", records, "--values", "tree", "--to", "process", "-o", rows)
    assert outcome.code == 0, outcome
    (tree,) = [record["tree"] for _, record in read_jsonl(records)]
    found = pytest.importorskip("pyarrow.parquet").read_table(rows).to_pylist()
    values = {tuple(row["steps"][: i + 1]): v for row in found for i, v in enumerate(row["labels"])}
    assert len(values) == sum(count > 0 for count in tree["visit_count"][1:])
    assert {round(v, 9) for v in values.values()} <= {
        round(v, 9) for v in tree["mean_value"] if v is not None
    }


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
    "harvest -o {new}": "give a run that rtsearch eval wrote",
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
    "export {samples} --to process --min-count 99 -o {new}": "none of 240 samples gives a row",
    "export {samples} --to sft --per-question 0 -o {new}": "per_question=0",
    "export {samples} --to preference --min-margin 2 -o {new}": "min_margin=2.0",
    "export {samples} --to step-dpo --min-margin -1 -o {new}": "min_margin=-1.0",
    "export {wrong} --to step-dpo -o {new}": "lower --min-count or --min-margin",
    "export {samples} --to preference --min-margin 1 -o {new}": "closer than min_margin=1.0",
    "export {samples} --to sft -o {folder}/rows.csv": "ends in '.csv'; name the output .jsonl",
    "export {folder}/none --to sft -o {new}": "No such file",
    "export {folder} --to sft -o {new}": "directory",
    "export {drafts} --to sft -o {new}": "line 1: unique_id is missing",
    "export {samples} --values tree --to sft -o {new}": "rows of sft are whole solutions",
    "export {samples} --values tree --to process -o {new}": "no record that rtsearch eval wrote",
    "export {treeless} --values tree --to process -o {new}": "none of 1 records has a tree",
    "export {damaged} --values tree --to process -o {new}": "line 1: the record's tree is damaged",
    "export {empty} --values tree --to process -o {new}": "none of 0 records has a tree",
    "pairs {samples} --min-margin 7 -o {new}": "min_margin=7.0",
    "pairs {samples} -o {folder}/pairs.txt": "ends in '.txt'",
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
    record = {"signature": "0", "unique_id": "1", "problem": "?"}
    for name, more in (("treeless", {}), ("damaged", {"tree": {"parent": [-1]}})):
        places[name] = tmp_path / f"{name}.jsonl"
        places[name].write_text(json.dumps(record | more) + "\n")
    before = set(tmp_path.iterdir())
    outcome = rtsearch("data", *shlex.split(command.format(**places)))
    assert BAD[command] in outcome.error
    left = {path for path in tmp_path.iterdir() if not path.name.endswith(".attempts.jsonl")}
    assert left == before  # and nothing half-written
