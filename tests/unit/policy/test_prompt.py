"""Prompt templates of the policy: literal filling, presets, files, identity."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsearch_fast.engine.protocol import CompletionRequest, Sample
from rtsearch_fast.engine.template import Template, neutralise
from rtsearch_fast.errors import DataError
from rtsearch_fast.policy.prompt import PRESETS, PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.policy.protocol import SampleRequest


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


@pytest.mark.parametrize("name", PRESETS)
def test_presets_show_the_format_and_end_where_the_model_writes(name: str) -> None:
    template = PromptTemplate.load(name)
    text = template.render("PROBLEM")
    for mark in ("## Analysis", "## Restatement", "## Step 1: ", "## Step k: title", "## Answer",
                 "\\boxed{31}"):
        assert mark in text
    assert text.count("PROBLEM") == 1
    assert text.endswith("\n") and not text.endswith(" ")
    assert template.render("PROBLEM", ("## Analysis\n",)) == text + "## Analysis\n"
    # Short: every search prefills it. A token is 3 characters or more of such text.
    assert len(text) < 1200


@pytest.mark.parametrize("name", PRESETS)
def test_the_worked_example_is_right(name: str) -> None:
    sums = re.findall(r"(\d+) ([*-]) (\d+) = (\d+)", PRESETS[name])
    assert len(sums) >= 3
    for left, sign, right, result in sums:
        value = int(left) * int(right) if sign == "*" else int(left) - int(right)
        assert value == int(result)


def test_load_reads_a_file(tmp_path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("é {problem}\r\n", encoding="utf-8", newline="")
    template = PromptTemplate.load(str(path))
    assert template.render("p") == "é p\r\n"
    assert re.fullmatch(r"mine-[0-9a-f]{8}", template.name)


@pytest.mark.parametrize(
    "content, message",
    [(None, "neither a preset (plain, chatml, llama3) nor a file"),
     (b"no place", "has no {problem}"), (b"\xff{problem}", "no UTF-8")],
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
