"""Files of samples: what is written is read, what is wrong is named with its line."""

from __future__ import annotations

import json
import math
import random

import pytest
from sampled import made_up, sample

from rtsearch_fast.errors import DataError
from rtsearch_fast.training.jsonl import write_jsonl
from rtsearch_fast.training.samples import by_question, read_questions, read_samples, write_samples

GOOD = {"unique_id": "1", "problem": "1 + 1", "solution": ["2"], "answer": "2", "right": True}


def test_samples_when_written_are_read_back(tmp_path):
    samples = made_up(0, questions=3)
    assert write_samples(tmp_path / "deep" / "s.jsonl", samples) == len(samples)
    assert read_samples(tmp_path / "deep" / "s.jsonl") == samples


def test_samples_when_without_score_or_answer_stay_so(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(GOOD | {"answer": None, "solution": "one text"}) + "\n\n")
    (found,) = read_samples(path)
    assert math.isnan(found.score) and not found.scored and found.answer is None
    assert found.solution == ("one text",)
    write_samples(path, [found])
    assert json.loads(path.read_text())["score"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"problem": " "}, "problem is ' '"),
        ({"unique_id": 7}, "unique_id is 7"),
        ({"solution": [1]}, "solution is [1]"),
        ({"solution": None}, "solution is None"),
        ({"answer": 2}, "answer is 2"),
        ({"right": 1}, "right is 1"),
        ({"score": 1.5}, "score is 1.5"),
        ({"score": True}, "score is True"),
        ({"num_tokens": -1}, "num_tokens is -1"),
        ({"finish": "done"}, "finish is 'done'"),
    ],
)
def test_sample_when_a_field_is_wrong_is_named_with_its_line(tmp_path, change, words):
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (GOOD, GOOD | change)))
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert str(caught.value).startswith(f"{path}, line 2: {words}; it must be ")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds no sample"),
        (b"\n{oh\n", "line 2: not JSON"),
        (b"[]\n", "line 1: found '[]', not an object"),
        (b'{"right": NaN}', "line 1: not JSON (NaN"),
        (b'{"a": "\xff"}', "line 1: byte 8 is not UTF-8"),
        (b"{}", "line 1: unique_id is missing"),
    ],
)
def test_file_when_unusable_is_one_line(tmp_path, data, words):
    path = tmp_path / "s.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_samples(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_file_when_missing_or_a_folder_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"No such file or directory.*give a JSONL file"):
        read_samples(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="not a plain file; choose another output"):
        write_jsonl(tmp_path, [{}])
    with pytest.raises(DataError, match=r"cannot be written .*choose another output"):
        (tmp_path / "file").write_text("")
        write_jsonl(tmp_path / "file" / "s.jsonl", [{}])


def test_file_when_writing_fails_is_as_before(tmp_path):
    path = tmp_path / "s.jsonl"
    write_jsonl(path, [{"a": 1}])

    def rows():
        yield {"a": 2}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(path, rows())
    assert path.read_text() == '{"a": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_text_when_it_holds_half_a_surrogate_can_be_encoded(tmp_path):
    write_samples(tmp_path / "s.jsonl", [sample("half \ud835.")])
    assert read_samples(tmp_path / "s.jsonl")[0].text == "half \ufffd."


def test_questions_when_read_are_the_groups_of_the_samples(tmp_path):
    path = tmp_path / "s.jsonl"
    samples = made_up(0, questions=4)
    random.Random(0).shuffle(samples)
    write_samples(path, samples)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 5))  # blank lines do not count
    assert list(read_questions(path)) == list(by_question(samples).values())
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no sample"):
        list(read_questions(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_questions(tmp_path / "none.jsonl"))
