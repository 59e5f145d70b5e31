"""Problem files: what is read from which field, and one clear line for every fault."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.errors import DataError, InvalidArgumentError
from rtsearch_fast.evaluation.data import Item, load_problems
from rtsearch_fast.search.records import Problem


@pytest.fixture
def write(tmp_path: Path):
    def write(*lines: Any) -> Path:
        path = tmp_path / "problems.jsonl"
        texts = [x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines]
        path.write_bytes(b"\n".join(texts))
        return path

    return write


@pytest.mark.parametrize("field", ["problem", "question", "Problem", "prompt"])
def test_names_of_the_problem(write, field: str) -> None:
    (item,) = load_problems(write({field: "Why?", "id": 1}))
    assert item == Item(Problem("1", "Why?"), None)


@pytest.mark.parametrize("field", ["answer", "Answer", "final_answer"])
@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("18", "18"),
        (" 18 \n", "18"),
        (18, "18"),
        (-0.5, "-0.5"),
        ("so 9*2=<<9*2=18>>18\n#### 18", "18"),
        ("#### 1 #### 2", "2"),
        (["3", "(1,2)"], "3, (1,2)"),
        (None, None),
    ],
)
def test_names_and_forms_of_the_answer(write, field: str, value: Any, gold: str | None) -> None:
    (item,) = load_problems(write({"problem": "p", field: value}))
    assert item.gold == gold


@pytest.mark.parametrize("field", ["unique_id", "id", "ID"])
@pytest.mark.parametrize("value", ["a/1", 7, "7"])
def test_names_of_the_id(write, field: str, value: Any) -> None:
    (item,) = load_problems(write({"problem": "p", field: value}))
    assert item.problem.unique_id == str(value)


def test_without_an_id_the_text_identifies(write) -> None:
    one, two = load_problems(write({"problem": "p"}, {"problem": "q", "answer": "1"}))
    assert one.problem.unique_id != two.problem.unique_id
    (again,) = load_problems(write({"question": "q", "answer": "2"}))
    assert again.problem == two.problem


def test_no_field_of_a_problem_can_hold_the_answer() -> None:
    assert {field.name for field in fields(Problem)} == {"unique_id", "problem"}


def test_start_and_limit(write) -> None:
    path = write(*({"problem": f"p{i}", "id": i} for i in range(5)), b"broken")
    ids = [item.problem.unique_id for item in load_problems(path, start=1, limit=3)]
    assert ids == ["1", "2", "3"]  # and what comes after is not read
    with pytest.raises(DataError, match="line 6"):
        load_problems(path)


def test_limit_may_exceed_the_file(write) -> None:
    assert len(load_problems(write({"problem": "p"}), limit=10)) == 1


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": -1}, {"start": -1}])
def test_nonsense_ranges(write, arguments: dict[str, int]) -> None:
    with pytest.raises(InvalidArgumentError):
        load_problems(write({"problem": "p"}), **arguments)


def test_blank_lines_crlf_and_byte_order_mark(write) -> None:
    path = write(b'\xef\xbb\xbf{"problem": "p"}\r', b"", b"  \r", b'{"problem": "\xe2\x80\xa8q"}')
    assert [item.problem.problem for item in load_problems(path)] == ["p", "\u2028q"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"problem": "p"}\n[]\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with pytest.raises(DataError, match="<stdin>, line 2: found"):
        load_problems("-")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text[:17].encode())))
    assert load_problems("-")[0].problem.problem == "p"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'{"problem": "p"', "not JSON"),
        (b"{", "not JSON"),
        (b"problem,answer", "not JSON"),
        (b'{"problem": "p", "answer": NaN}', "NaN"),
        (b"[" * 100_000, "not JSON"),
        (b'{"problem": "p", "answer": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b"[1]", r"\[1\], not an object"),
        (b'"p"', "'p', not an object"),
        (b"null", "None, not an object"),
        (b'{"text": "p", "x": 1}', "no problem, found the fields 'text, x'"),
        (b'{"problem": null}', "no problem"),
        (b'{"problem": ""}', "problem is empty"),
        (b'{"problem": " \\n"}', "problem is empty"),
        (b'{"problem": 5}', "problem is 5; it must be text"),
        (b'{"problem": ["p"]}', "it must be text"),
        (b'{"problem": "p", "answer": true}', "answer is True; it must be text or a number"),
        (b'{"problem": "p", "answer": {}}', "answer is {}"),
        (b'{"problem": "p", "answer": [1]}', r"answer is \[1\]"),
        (b'{"problem": "p", "answer": []}', r"answer is \[\]"),
        (b'{"problem": "p", "answer": ""}', "answer is empty"),
        (b'{"problem": "p", "answer": "5 ####"}', "answer is empty"),
        (b'{"problem": "p", "id": 1.5}', "id is 1.5"),
        (b'{"problem": "p", "id": ""}', "id is empty"),
        (b'{"problem": "\\ud800"}', "problem holds half of a surrogate pair"),
        (b'{"problem": "\xff"}', "byte 14 is not UTF-8"),
        ('{"problem": "p"}'.encode("utf-16"), "not UTF-8"),
    ],
)
def test_faults_are_one_line_naming_file_and_line(write, line: bytes, found: str) -> None:
    path = write({"problem": "fine"}, b"", line)
    with pytest.raises(DataError, match=found) as error:
        load_problems(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line 3: ")
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))


def test_duplicates_name_both_lines(write) -> None:
    path = write({"problem": "a", "id": "x"}, {"problem": "b"}, {"problem": "c", "id": "x"})
    with pytest.raises(DataError, match="lines 1 and 3: both have the id 'x'"):
        load_problems(path)
    with pytest.raises(DataError, match="lines 1 and 2"):
        load_problems(write({"problem": "a", "id": 1}, {"problem": "b", "id": "1"}))


def test_files_that_are_none(tmp_path: Path, write) -> None:
    with pytest.raises(DataError, match=r"missing\.jsonl: cannot be read \(No such file"):
        load_problems(tmp_path / "missing.jsonl")
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory"):
        load_problems(tmp_path)
    with pytest.raises(DataError, match="holds no problem"):
        load_problems(write(b"\n\n"))
    with pytest.raises(DataError, match="holds 1 problems and start=1 skips them all"):
        load_problems(write({"problem": "p"}), start=1)


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_load_or_raise_data_errors(data: bytes) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", stdin)
        try:
            assert load_problems("-")
        except DataError as error:
            assert "\n" not in str(error)


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, min_size=1)
)
def test_texts_survive(texts: list[str]) -> None:
    texts = [text + "." for text in texts]
    lines = "\n".join(json.dumps({"problem": text}, ensure_ascii=False) for text in texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        assert [item.problem.problem for item in load_problems("-")] == texts


def test_check_is_read_and_must_be_known(tmp_path: Path) -> None:
    path = tmp_path / "puzzles.jsonl"
    path.write_text('{"problem": "p", "check": "countdown"}\n{"problem": "q", "answer": "1"}\n')
    items = load_problems(path)
    assert [item.check for item in items] == ["countdown", None]
    assert [item.gold for item in items] == [None, "1"]
    assert all(item.is_graded for item in items)
    path.write_text('{"problem": "p", "check": "sudoku"}\n')
    with pytest.raises(DataError, match=r"line 1: no check is called 'sudoku': use one of .*chain"):
        load_problems(path)
    path.write_text('{"problem": "p", "check": 3}\n')
    with pytest.raises(DataError, match="line 1: check is 3; it must be text"):
        load_problems(path)
