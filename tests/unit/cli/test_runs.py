"""`rtsearch runs`, `show` and `merge` over runs of the toy model."""

from __future__ import annotations

import json
import shutil

import pytest

from rtsearch_fast.runs.folder.journal import encode

FLAGS = ("--methods", "cot,mcts_g", "--budget-tokens", 400)


@pytest.fixture
def evaluated(rtsearch, start_server, toy_flags, problems, tmp_path):
    """A function that runs `rtsearch eval` into a folder."""
    flags = toy_flags(start_server())

    def evaluate(name: str, *more: object):
        output = tmp_path / "runs" / name
        outcome = rtsearch("eval", problems, *FLAGS, *flags, "-o", output, *more)
        assert outcome.code == 0, outcome
        return output

    return evaluate


def test_shards_when_merged_are_the_run_of_one_process(rtsearch, evaluated, tmp_path):
    whole = evaluated("whole")
    shards = [evaluated(f"part{i}", "--shard", f"{i}/3") for i in (1, 2, 3)]
    merged = tmp_path / "runs" / "merged"
    outcome = rtsearch("merge", merged, *shards)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{merged}: 8 of 8 records out of 3 runs\n"
    assert (merged / "journal.jsonl").read_bytes() == (whole / "journal.jsonl").read_bytes()
    outcome = rtsearch("runs", tmp_path / "runs")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert len(lines) == 5 and all(line.startswith("finished") for line in lines)
    assert "2 of 2 records" in outcome.out and "shard 3/3" in outcome.out
    assert "holds a run" in rtsearch("merge", merged, *shards).error


def test_shards_when_some_are_missing_go_on_as_one_run(rtsearch, evaluated):
    whole = evaluated("whole")
    part, merged = evaluated("part", "--shard", "2/2"), whole.parent / "merged"
    outcome = rtsearch("merge", merged, part)
    assert "4 of 8 records" in outcome.out and "--resume" in outcome.out
    evaluated("merged", "--resume")
    for name in ("results.jsonl", "journal.jsonl"):
        assert (merged / name).read_bytes() == (whole / name).read_bytes()


def test_shards_when_they_are_of_different_runs_are_refused(rtsearch, evaluated, tmp_path):
    one, other = evaluated("one"), evaluated("other", "--width", 2)
    merged = tmp_path / "merged"
    assert "has options.width 2" in rtsearch("merge", merged, one, other).error
    copy = tmp_path / "copy"
    shutil.copytree(one, copy)
    lines = (copy / "journal.jsonl").read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[0])
    del entry["crc"]
    entry["record"]["pred"] = "another"
    (copy / "journal.jsonl").write_bytes(encode(entry) + b"".join(lines[1:]))
    assert "is not that of" in rtsearch("merge", merged, one, copy).error
    assert "name the run folders" in rtsearch("merge", merged).error
    assert "is no run folder" in rtsearch("merge", merged, tmp_path).error
    assert not (merged / "run.json").exists()


def test_run_when_shown_tells_how_it_stands(rtsearch, evaluated):
    output = evaluated("run")
    outcome = rtsearch("show", output)
    assert outcome.code == 0 and outcome.out.startswith(f"finished    {output}  8 of 8 records")
    assert "95 % interval" in outcome.out
    record = json.loads((output / "results.jsonl").read_text().splitlines()[-1])
    outcome = rtsearch("show", output, record["unique_id"])
    assert outcome.code == 0 and record["problem"] in outcome.out
    assert "\ncot: " in outcome.out and "\nmcts_g: " in outcome.out and "root  N=" in outcome.out
    assert "root" not in rtsearch("show", output, record["unique_id"], "--method", "cot").out
    assert "has no problem 'x'" in rtsearch("show", output, "x").error
    assert "is no run folder" in rtsearch("show", output.parent).error
    journal = output / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    outcome = rtsearch("show", output)
    assert outcome.out.startswith("unfinished") and "cut off" in outcome.out


def test_runs_when_there_is_none_says_how_to_make_one(rtsearch, tmp_path):
    assert "holds no run; rtsearch eval" in rtsearch("runs", tmp_path).error
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    outcome = rtsearch("runs", tmp_path)
    assert outcome.code == 0 and outcome.out.startswith("damaged")


def test_query_when_it_asks_two_runs_has_the_rows_of_both(rtsearch, evaluated):
    one, two = evaluated("one"), evaluated("two", "--width", 2)
    sql = "SELECT run, method, count(*), sum(policy_tokens) FROM records GROUP BY run, method"
    outcome = rtsearch("query", sql, one, two)
    header, *rows = [line.split(",") for line in outcome.out.splitlines()]
    assert header == ["run", "method", "count(*)", "sum(policy_tokens)"]
    records = [json.loads(line) for line in (one / "results.jsonl").read_text().splitlines()]
    tokens = sum(r["usage"]["policy_tokens"] for r in records if r["method"] == "mcts_g")
    assert [str(one), "mcts_g", "4", str(tokens)] in rows and len(rows) == 4
    sql = "SELECT unique_id, correct FROM records WHERE method = 'cot' ORDER BY 1"
    outcome = rtsearch("query", sql, one, "--format", "jsonl")
    right = {r["unique_id"]: int(r["correct"]) for r in records if r["method"] == "cot"}
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert found == [{"unique_id": i, "correct": right[i]} for i in sorted(right)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nothing FROM records",
        "SELECT 1; SELECT 2",
        "",
        "DELETE FROM records",
        "ATTACH 'made.sqlite' AS made",
        "PRAGMA database_list",
        "CREATE TABLE more (a)",
        "VACUUM INTO 'made.sqlite'",
        "SELECT load_extension('made')",
        "SELECT \0",
    ],
)
def test_query_when_it_is_no_question_is_refused(rtsearch, evaluated, sql, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = evaluated("run")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    error = rtsearch("query", sql, output).error
    assert "SQLite does not take" in error and "write one SELECT" in error
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert not list(tmp_path.glob("made*"))


def test_query_when_texts_are_strange_shows_them_harmlessly(rtsearch, evaluated):
    output = evaluated("run")
    lines = (output / "journal.jsonl").read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[0])
    del entry["crc"]
    entry["record"] |= {"pred": "\x1b[2J,\n\ud800", "signature": 1 << 70}
    (output / "journal.jsonl").write_bytes(encode(entry) + b"".join(lines[1:]))
    outcome = rtsearch("query", "SELECT pred, signature FROM records LIMIT 1", output)
    assert outcome.code == 0 and "\x1b" not in outcome.out
    assert str(1 << 70) in outcome.out
    assert "name the run folders" in rtsearch("query", "SELECT 1").error
