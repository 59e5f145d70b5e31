"""Formats of reward models: those that come along, a user's own, and what is wrong with them."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from rtsearch_fast.errors import DataError, InvalidArgumentError, MissingExtraError, SearchError
from rtsearch_fast.reward.spec import READS, RewardSpec
from rtsearch_fast.reward.spec_file import shipped_specs

pytest.importorskip("yaml")

GOOD = """\
read: label
labels: [Yes, No]
template: "{problem}|{solution}|"
step: "{step} <t>{read}"
tag: <t>
"""


def write(tmp_path, text: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- reading -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_specs())
def test_load_when_a_format_comes_along_shows_problem_and_steps_once(name) -> None:
    spec = RewardSpec.load(name)
    steps = ("## Step 1: FIRST\n\n", "## Answer\nSECOND")
    laid = spec.process.lay("PROBLEM", steps) if spec.step else None
    text = laid.text if laid else spec.question.render("PROBLEM", steps)
    assert [text.count(word) for word in ("PROBLEM", "FIRST", "SECOND")] == [1, 1, 1]
    assert "{" not in text.replace('{"reasoning"', "").replace("{}", "")
    if laid and not spec.writes:
        assert len(laid.marks) == 2 and laid.marks[-1] == len(text)
        assert "FIRST" in laid.prefixes[0] and "SECOND" not in laid.prefixes[0]


def test_load_when_all_formats_come_covers_each_way_of_reading() -> None:
    assert {RewardSpec.load(name).read for name in shipped_specs()} == set(READS)


def test_docs_when_formats_come_along_list_each() -> None:
    page = Path(__file__).parents[3] / "docs" / "rewards.md"
    listed = re.findall(r"^\| `([\w.-]+)` \|.*\|.*\|.*\|$", page.read_text(encoding="utf-8"), re.M)
    assert set(shipped_specs()) <= set(listed)


def test_load_when_a_file_is_given_takes_its_words_as_they_are(tmp_path) -> None:
    spec = RewardSpec.load(write(tmp_path, GOOD))
    assert (spec.name, spec.labels, spec.tag) == ("own", ("Yes", "No"), "<t>")
    assert spec.process.render("P", ("a",)) == "P|a <t>"


def test_load_when_yaml_is_not_installed_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r'pip install "rtsearch-fast\[cli\]"'):
        RewardSpec.load(write(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "own.yaml: the file must hold keys and values"),
        ("- a", "own.yaml: the file must hold keys and values"),
        ("read: [", "own.yaml, line 1: not YAML: "),
        ("read: label", "own.yaml: the key 'template' is missing"),
        ("template: x", "own.yaml: the key 'read' is missing"),
        (GOOD + "sqash: none", "unknown key 'sqash': did you mean 'squash'?"),
        (GOOD + "zzz: 1", "unknown key 'zzz': there are template, read, source"),
        (GOOD + "name: x", "unknown key 'name'"),
        (GOOD + "tag: <u>", "the key 'tag' is no text, or stands there twice"),
        (GOOD + "positive: one", "positive: 'one' must be a whole number"),
        (GOOD + "pieces: maybe", "pieces: 'maybe' must be true or false"),
        (GOOD + "clean: [a]", r"clean: ['a'] must be texts and their replacements"),
        (GOOD + "tokens: {a: b}", r"tokens: {'a': 'b'} must be texts and their token ids"),
        (GOOD + "scale: 3", "scale: '3' must be a list of numbers"),
        (GOOD.replace("[Yes, No]", "{}"), "labels: {} must be a list of texts"),
        (GOOD.replace("label\n", "[label]\n"), "read: ['label'] must be a text"),
        (GOOD + "x: !!python/object:os.system {}", "own.yaml, line 6: not YAML: could not"),
    ],
)
def test_load_when_the_file_is_wrong_names_file_and_fault(tmp_path, text, message) -> None:
    with pytest.raises(DataError) as caught:
        RewardSpec.load(write(tmp_path, text))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_load_when_there_is_no_such_format_lists_them(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"reward 'shepherd' is neither a format .*math-shepherd.*nor"
    ):
        RewardSpec.load("shepherd")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    with pytest.raises(DataError, match="no UTF-8"):
        RewardSpec.load(str(tmp_path / "bytes.yaml"))


# --- checking ----------------------------------------------------------------------------

LABEL = RewardSpec(
    "own", "{problem}|{solution}|", "label", labels=("+", "-"), step="{step} <t>{read}", tag="<t>"
)
CLASS = replace(LABEL, read="class", labels=())
VERDICTS = replace(
    LABEL,
    read="verdicts",
    step="{number}. {step}",
    tag="",
    max_tokens=9,
    pattern=r"(?P<step>\d): (?P<verdict>[+-])",
)
JSON = RewardSpec("own", LABEL.template, "json", max_tokens=9, key="score", scale=(0, 10))


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (LABEL, {"read": "logits"}, "read='logits': choose one of label, class, value,"),
        (LABEL, {"labels": ("+",)}, "labels=('+',): give two different ones"),
        (LABEL, {"labels": ("+", "+")}, "labels=('+', '+'): give two different ones"),
        (LABEL, {"template": "{solution}"}, "the template has no {problem}"),
        (LABEL, {"template": "{problem}"}, "the template has no {solution}"),
        (LABEL, {"template": "{problem}{solution}{solution}"}, "must have {solution} once"),
        (LABEL, {"template": "<t>{problem}{solution}"}, "holds the step tag '<t>'"),
        (LABEL, {"step": "x <t>{read}"}, "it must have the place {step} once"),
        (LABEL, {"step": "{read}{step} <t>"}, "behind it the mark {read} once"),
        (LABEL, {"step": "{step} <t>", "tag": ""}, "read=label needs the mark {read}"),
        (LABEL, {"step": "{step} <t>{read}{read}"}, "behind it the mark {read} once"),
        (LABEL, {"tag": "<u>"}, "step_tag='<u>': it must stand in step="),
        (LABEL, {"first": "{problem} {step}{read}"}, "step_tag='<t>': it must stand in first="),
        (LABEL, {"first": "{problem} {step} <t>"}, "first='{problem} {step} <t>': it must have"),
        (LABEL, {"step": ""}, "tag='<t>' is of single steps: give `step`, or remove it"),
        (LABEL, {"clean": {"(": ""}}, "clean='(': missing )"),
        (LABEL, {"clean": {"a": r"\1"}}, "clean='a': invalid group reference 1"),
        (LABEL, {"squash": "softmax"}, "squash='softmax' says nothing where read is label"),
        (LABEL, {"positive": 1}, "positive=1 says nothing where read is label"),
        (LABEL, {"verdict": "\nSo: "}, "max_tokens=0, verdict='\\nSo: ': a written check needs"),
        (LABEL, {"max_tokens": 9, "verdict": "So:"}, "a check is written of a whole solution"),
        (LABEL, {"max_tokens": -1, "verdict": "So:"}, "max_tokens=-1: must be 0 or more"),
        (LABEL, {"aggregation": "median"}, "aggregation='median': choose one of last, min"),
        (LABEL, {"tokens": {"": 3}}, "tokens: '': 3: give a text and its id"),
        (LABEL, {"tokens": {"+": -3}}, "tokens: '+': -3: give a text and its id"),
        (CLASS, {"labels": ("+", "-")}, "labels=('+', '-') says nothing where read is class"),
        (CLASS, {"squash": "tanh"}, "squash='tanh': choose one of auto, none, sigmoid, softmax"),
        (CLASS, {"read": "value", "squash": "softmax"}, "of one value is always 1"),
        (VERDICTS, {"max_tokens": 0}, "read=verdicts needs max_tokens"),
        (VERDICTS, {"step": "{step}{read}"}, "read=verdicts needs no mark {read}"),
        (VERDICTS, {"pattern": "("}, "pattern='(': missing )"),
        (VERDICTS, {"pattern": "(?P<step>.)"}, "a pattern with the groups (?P<step>...) and"),
        (JSON, {"scale": (10, 0)}, "scale=(10, 0): read=json needs the key of the score and"),
        (JSON, {"scale": (0,)}, "scale=(0,): read=json needs"),
        (JSON, {"key": ""}, "key='', scale=(0, 10): read=json needs"),
    ],
)
def test_spec_when_fields_do_not_fit_names_the_fault(spec, changes, message) -> None:
    with pytest.raises(SearchError) as caught:
        replace(spec, **changes)
    text = str(caught.value)
    assert text.startswith("reward own: ") and message in text and "\n" not in text
    assert isinstance(caught.value, InvalidArgumentError | DataError)


def test_identity_when_a_field_differs_differs() -> None:
    given = [
        LABEL,
        CLASS,
        VERDICTS,
        JSON,
        replace(LABEL, clean={"a": ""}),
        replace(LABEL, name="x"),
    ]
    assert len({spec.identity for spec in given}) == len(given)
    assert replace(LABEL, source="somebody").identity == LABEL.identity
    assert len(fields(RewardSpec)) == 19  # a new one is to be in the identity, too
