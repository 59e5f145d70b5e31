"""Which reward model a format makes of which engine, and what `doctor` tells of it."""

from __future__ import annotations

import pytest

from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.reward.classifier import ClassifierReward
from rtsearch_fast.reward.explain import explain
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.make import make_reward
from rtsearch_fast.reward.parsed import ParsedReward
from rtsearch_fast.reward.process import ProcessReward
from rtsearch_fast.reward.spec import RewardSpec
from rtsearch_fast.reward.spec_file import shipped_specs
from rtsearch_fast.reward.written import WrittenReward

pytest.importorskip("yaml")


class Generator:
    name = "model"

    async def complete(self, request): ...

    async def label_logprobs(self, prompts, labels): ...


class Heads:
    name = "model"

    async def classify(self, prompts, *, raw=False): ...

    async def token_classify(self, prompts, step_tag=None, *, raw=False): ...


class Letters:
    """A tokenizer of characters, but for these words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def encode(self, text: str) -> list[int]:
        tokens = []
        while text:
            word = next((word for word in self.words if text.startswith(word)), text[0])
            tokens.append(1000 + self.words.index(word) if word in self.words else ord(word))
            text = text[len(word) :]
        return tokens

    def decode(self, tokens: list[int]) -> str:
        return "".join(self.words[t - 1000] if t >= 1000 else chr(t) for t in tokens)


@pytest.mark.parametrize(
    ("name", "engine", "kind"),
    [
        ("generative", Generator(), GenerativeReward),
        ("written", Generator(), WrittenReward),
        ("rlhflow-orm", Generator(), GenerativeReward),
        ("math-shepherd", Generator(), ProcessReward),
        ("rlhflow-prm", Generator(), ProcessReward),
        ("openr", Generator(), ProcessReward),
        ("er-prm", Generator(), ProcessReward),
        ("qwen2.5-math-prm", Heads(), ProcessReward),
        ("pqm", Heads(), ProcessReward),
        ("qwen2.5-math-rm", Heads(), ClassifierReward),
        ("skywork-reward", Heads(), ClassifierReward),
        ("thinkprm", Generator(), ParsedReward),
        ("judge", Generator(), ParsedReward),
    ],
)
def test_make_reward_when_the_engine_fits_makes_the_kind(name, engine, kind) -> None:
    reward = make_reward(RewardSpec.load(name), engine)
    assert type(reward) is kind and reward.name.startswith(f"model/{name}-")


@pytest.mark.parametrize("name", shipped_specs())
def test_make_reward_when_the_engine_cannot_read_says_so(name) -> None:
    spec = RewardSpec.load(name)
    wrong = Generator() if spec.read in ("class", "value") else Heads()
    with pytest.raises(InvalidArgumentError, match=f"reward {name} .*{type(wrong).__name__}"):
        make_reward(spec, wrong)


def test_make_reward_when_the_tokenizer_is_anothers_names_both_ids() -> None:
    engine = Generator()
    engine.encode = Letters(" +", " -").encode
    with pytest.raises(InvalidArgumentError) as caught:
        make_reward(RewardSpec.load("openr"), engine)
    assert "' +' ends in the token 488, in model it is [1000]: this is another" in str(caught.value)


# --- doctor ------------------------------------------------------------------------------


def told(name: str, *words: str) -> list[tuple[str, bool, str]]:
    checks = explain(RewardSpec.load(name), Letters(*words) if words else None)
    return [(check.name, check.ok, check.detail) for check in checks]


@pytest.mark.parametrize("name", shipped_specs())
def test_explain_when_there_is_no_tokenizer_shows_text_and_places(name) -> None:
    checks = told(name)
    assert all(ok for _, ok, _ in checks)
    assert [name for name, _, _ in checks[:2]] == ["reward", "text"]
    spec = RewardSpec.load(name)
    marks = 3 if spec.step and not spec.writes else 1
    assert sum(name.startswith("place") for name, _, _ in checks) == marks


def test_explain_when_a_tokenizer_is_at_hand_shows_the_token_that_is_read() -> None:
    places = [check for check in told("qwen2.5-math-prm", "<extra_0>") if check[0] == "place 1"]
    assert places == [
        ("place 1", True, "32 ' ' 51 '3' 54 '6' 46 '.' [1000 '<extra_0>'] 35 '#' 35 '#'")
    ]


@pytest.mark.parametrize(
    ("name", "words", "fault"),
    [
        ("qwen2.5-math-prm", ("<extra_0>#",), ("place 1", "mark 1 lies within a token, at 36.<e")),
        ("qwen2.5-math-prm", ("<extra", "_0>"), ("place 3", "the tag '<extra_0>' is 2 tokens")),
        ("qwen2.5-math-prm", (".<extra_0>",), ("place 2", "the tag '<extra_0>' begins within a t")),
        (
            "qwen2.5-math-prm",
            ("<extra_0>",),
            ("known token", "'<extra_0>' ends in 151651, here it"),
        ),
        ("generative", ("Yes",), ("label", "'No' is 78 'N' 111 'o': choose a label that is one")),
        (
            "generative",
            ("\nYes", "Yes", "No"),
            ("label", "'Yes' is 1001 'Yes', but behind the text"),
        ),
    ],
)
def test_explain_when_something_is_suspicious_says_no(name, words, fault) -> None:
    wrong = [(where, detail) for where, ok, detail in told(name, *words) if not ok]
    where, text = fault
    assert any(where == place and text in detail.replace("'36", "36") for place, detail in wrong), (
        wrong
    )


def test_explain_when_a_label_grows_together_with_the_text_only_warns_if_unknown() -> None:
    # Math-Shepherd's labels have a blank that the text does not; their ids are known to be right
    checks = told("math-shepherd", " ки", "+", "-")
    assert [ok for name, ok, _ in checks if name == "label"] == [True, True]
