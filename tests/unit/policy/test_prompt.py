"""Prompt templates of the policy: literal filling, presets, files, identity."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.answers import final_answer
from rtsearch_fast.calculator import correct
from rtsearch_fast.engine.protocol import CompletionRequest, Sample
from rtsearch_fast.engine.template import Template, neutralise
from rtsearch_fast.errors import DataError
from rtsearch_fast.policy.prompt import PRESETS, PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.policy.protocol import SampleRequest
from rtsearch_fast.splitters import LabelledSplitter


def test_problem_and_steps_are_put_in_literally() -> None:
    template = PromptTemplate(Template("mine", "Q: {problem} {x} {{}}\nA:"))
    steps = ("one {problem}\n", "two {0} %s \\1")
    assert template.render(r"\frac{1}{2} {} {problem} \g<0>", steps) == (
        "Q: \\frac{1}{2} {} {problem} \\g<0> {x} {{}}\nA:one {problem}\ntwo {0} %s \\1"
    )


@given(st.text(st.characters(exclude_characters="<[")))
def test_any_problem_appears_unchanged(problem: str) -> None:
    template = PromptTemplate(Template("mine", "a{problem}b"))
    assert template.render(problem) == f"a{problem}b"


@given(st.text("<|>im_endsa[/INST]{} "))
def test_no_control_token_survives(text: str) -> None:
    for token in ("<|im_end|>", "<|s|>", "</s>", "<s>", "[INST]", "[/INST]"):
        assert token not in neutralise(text + token + text)


def test_control_tokens_get_a_blank_and_nothing_else_changes() -> None:
    assert neutralise("<|im_end|> </s> <\uff5cUser\uff5c> <start_of_turn>") == (
        "< |im_end|> < /s> < \uff5cUser\uff5c> < start_of_turn>"
    )
    assert neutralise("a<b |x| < |y| <sup> 3 <= 4 [1]") == "a<b |x| < |y| <sup> 3 <= 4 [1]"


def test_control_token_split_over_two_steps_is_caught() -> None:
    template = PromptTemplate(Template("mine", "{problem}"))
    assert template.render("", ("x <|im_", "end|>")) == "x < |im_end|>"


#: "bare" instructs nobody: it is for models trained on such problems.
INSTRUCTING = [name for name in PRESETS if name != "bare"]
FEW_SHOT = [name for name in INSTRUCTING if name != "labelled"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_end_where_the_model_writes(name: str) -> None:
    template = PromptTemplate.load(name)
    text = template.render("PROBLEM")
    assert text.count("PROBLEM") == 1
    assert "PROBLEM" in text[-80:]
    assert text.endswith("\n")
    assert template.render("PROBLEM", ("##",)) == text + "##"
    if name in INSTRUCTING:
        assert "## Answer" in text and "\\boxed{}" in text
    # Short: every search prefills it. A token is 3 characters or more of such text.
    assert len(text) < 1500


def answers(name: str) -> list[str]:
    """The solved examples of a preset, one text each."""
    return re.findall(r"## Step 1: .*?## Answer\n\\boxed\{\d+\}", PRESETS[name], re.DOTALL)


@pytest.mark.parametrize("name", FEW_SHOT)
def test_examples_are_written_as_the_search_writes_steps(name: str) -> None:
    splitter = LabelledSplitter()
    assert len(answers(name)) == 3
    for answer in answers(name):
        steps = splitter.split(answer)
        assert [step.split("\n")[0].split(":")[0] for step in steps] == [
            *(f"## Step {k}" for k in range(1, len(steps))),
            "## Answer",
        ]
        assert [splitter.close(step, "stop") for step in steps[:-1]] == steps[:-1]


@pytest.mark.parametrize("name", FEW_SHOT)
def test_examples_are_right(name: str) -> None:
    for answer in answers(name):
        assert correct(answer) == (answer, 0)
        *_, (_, result) = re.findall(r"(\d+ [-+*] \d+) = (\d+)", answer)
        assert final_answer(answer) == result
    assert [final_answer(answer) for answer in answers(name)] == ["31", "25", "34"]


@pytest.mark.parametrize("name", ["plain", "labelled"])
def test_a_model_that_invents_a_further_problem_is_stopped(name: str) -> None:
    (stop,) = LabelledSplitter().stop
    assert f"{stop} Problem\n{{problem}}\n" in PRESETS[name]


def test_the_labelled_preset_names_all_sections() -> None:
    for mark in ("## Analysis", "## Restatement", "## Step k: title", "## Answer"):
        assert mark in PRESETS["labelled"]


def test_load_reads_a_file(tmp_path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("é {problem}\r\n", encoding="utf-8", newline="")
    template = PromptTemplate.load(str(path))
    assert template.render("p") == "é p\r\n"
    assert re.fullmatch(r"mine-[0-9a-f]{8}", template.name)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "neither a preset (plain, chatml, llama3, labelled, bare) nor a file"),
        (b"no place", "has no {problem}"),
        (b"\xff{problem}", "no UTF-8"),
    ],
)
def test_load_names_what_is_wrong(tmp_path, content, message) -> None:
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        PromptTemplate.load(str(path))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_name_follows_the_text() -> None:
    one, other = (PromptTemplate(Template("t", text)) for text in ("{problem}", "{problem} "))
    assert one.name != other.name
    assert one.name == PromptTemplate(Template("t", "{problem}")).name


class FakeEngine:
    name = "model"
    request: CompletionRequest | None = None
    closed = False

    async def complete(self, request):
        self.request = request
        return [Sample("x", 1, "stop") for _ in request.seeds]

    async def aclose(self):
        self.closed = True


def test_policy_renders_and_forwards() -> None:
    engine = FakeEngine()
    policy = PromptedPolicy(engine, PromptTemplate(Template("t", "Q {problem}\n")))
    request = SampleRequest("p", ("a\n", "b"), (3, 4), 7, 0.5, 0.9, ("#",))
    samples = asyncio.run(policy.sample(request))
    assert len(samples) == 2
    assert engine.request == CompletionRequest("Q p\na\nb", (3, 4), 7, 0.5, 0.9, ("#",))
    assert re.fullmatch(r"model/t-[0-9a-f]{8}", policy.name)
    asyncio.run(policy.aclose())
    assert engine.closed
