"""Formats of reward models on the command line: what runs them, what they clash with, `doctor`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pooling_server import TAG, PoolingServer
from toy_text import REWARD_TEMPLATE

pytest.importorskip("cyclopts")
pytest.importorskip("yaml")
BUDGET = ("--budget-tokens", "300")
NOWHERE = ("--reward-base-url", "http://127.0.0.1:9/v1")


@pytest.fixture
def start_pooling() -> Iterator[Callable[..., PoolingServer]]:
    servers = []

    def start(*args, **kwargs):
        servers.append(PoolingServer(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def policy(start_server, tmp_path) -> list[str]:
    """Options of a policy behind a server."""
    from toy_text import POLICY_TEMPLATE

    (tmp_path / "policy.txt").write_text(POLICY_TEMPLATE)
    url = start_server().base_url
    return ["--base-url", url, "--retries", "0", "--template", f"{tmp_path}/policy.txt"]


def logits(text: str) -> tuple[float, float]:
    """A judge that likes long texts, and does not squash its numbers."""
    share = min((len(text) + 1) / 1000, 0.99)
    return 0.0, math.log(share / (1 - share))


@pytest.fixture
def own(tmp_path) -> Path:
    """A user's format: the toy's question, read by the toy's labels."""
    path = tmp_path / "own.yaml"
    text = REWARD_TEMPLATE.replace("\n", "\\n")
    path.write_text(f'read: label\nlabels: [Yes, No]\ntemplate: "{text}"\n')
    return path


def test_solve_when_a_file_is_given_judges_by_its_format(rtsearch, policy, own) -> None:
    outcome = rtsearch("solve", "1 2 3", *BUDGET, "--reward", own, *policy)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"-> '6'  score [01]\.\d+", outcome.out)


def test_solve_when_classes_are_served_squashes_them_here(rtsearch, policy, start_pooling) -> None:
    judge = start_pooling(logits, "token_classify")
    flags = ("--reward", "qwen2.5-math-prm", "--reward-base-url", judge.base_url)
    flags += ("--reward-aggregation", "mean:2")
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *policy)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"-> '\d+'  score 0\.\d+", outcome.out)
    (body, *_) = judge.bodies("/pooling")
    assert body["input"].startswith("<|im_start|>system\nPlease reason step by step")
    assert body["input"].count(TAG) == 3 and body["use_activation"] is False


def test_solve_when_one_value_is_served_squashes_it_here(rtsearch, policy, start_pooling) -> None:
    judge = start_pooling(lambda text: (-2.0,))
    flags = ("--reward", "qwen2.5-math-rm", "--reward-base-url", judge.base_url)
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *policy)
    assert "score 0.119" in outcome.out  # 1 / (1 + exp(2))


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--reward", "shepherd"), "reward 'shepherd' is neither a format (er-prm, generative, "),
        (
            ("--reward", "judge", "--reward-kind", "process"),
            "--reward-kind and --reward judge: the format says that already: leave one out",
        ),
        (("--reward", "judge", "--reward-template", "plain"), "--reward-template and --reward ju"),
        (("--reward", "judge", "--labels", "a", "b"), "--labels and --reward judge: the format"),
        (("--reward", "judge", "--reward-aggregation", "min"), "aggregation='min' is of single st"),
        (("--reward", "openr", "--reward-aggregation", "x"), "aggregation='x': choose one of"),
        (
            ("--reward", "openr"),
            "--reward openr is the format of openreasoner/Math-psa: name the model by",
        ),
        (("--reward", "pqm", "--reward-model", "none"), "--reward pqm reads a head, which"),
        (("--reward-kind", "process", *NOWHERE, "--reward-aggregation", "y"), "aggregation='y'"),
    ],
)
def test_solve_when_the_format_cannot_be_used_says_why(rtsearch, policy, flags, text) -> None:
    outcome = rtsearch("solve", "1 2", *BUDGET, *policy, *flags)
    assert text in outcome.error


def test_solve_when_steps_are_tokenised_apart_wants_a_server_that_classifies(
    rtsearch, policy, start_pooling
) -> None:
    tags = start_pooling(task="token_classify")
    flags = ("--reward", "skywork-o1-prm", "--reward-base-url")
    outcome = rtsearch("solve", "1 2", *BUDGET, *policy, *flags, tags.base_url)
    assert (
        "tokenised apart, which PoolingEngine does not do: run it in this process" in outcome.error
    )
    assert "rtsearch engine start --task reward-head" in outcome.error
    ends = start_pooling(lambda tokens: (len(tokens) / 1000,))
    outcome = rtsearch("solve", "1 2", *BUDGET, *policy, *flags, ends.base_url)
    assert (outcome.code, outcome.err) == (0, "")
    assert all(
        isinstance(text, list) for body in ends.bodies("/classify")[1:] for text in body["input"]
    )


def test_solve_when_classes_are_read_at_the_ends_of_steps_asks_for_each_once(
    rtsearch, policy, start_pooling
) -> None:
    judge = start_pooling(logits)
    flags = ("--reward", "qwen2.5-math-prm", "--reward-base-url", judge.base_url)
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *policy)
    assert (outcome.code, outcome.err) == (0, "")
    (_, *asked) = [text for body in judge.bodies("/classify") for text in body["input"]]
    assert asked and len(set(asked)) == len(asked)
    assert all(text.endswith(TAG) for text in asked)


# --- doctor ------------------------------------------------------------------------------


def test_doctor_when_a_format_is_named_shows_what_it_reads(rtsearch) -> None:
    outcome = rtsearch("doctor", "--reward", "math-shepherd")
    assert outcome.code == 0
    assert "math-shepherd reads the probability of '+' against '-' as the next" in outcome.out
    assert re.search(r"^  ok  place 3 +.*40\} ки' is read at its end$", outcome.out, re.M)
    assert re.search(r"^  ok  tokens +not at hand: give the model's folder", outcome.out, re.M)
    assert "engine" not in outcome.out.partition("  ok  reward")[2]


def test_doctor_when_the_format_is_unknown_says_no(rtsearch) -> None:
    outcome = rtsearch("doctor", "--reward", "shepherd", "--installed-only")
    assert outcome.code == 1
    assert re.search(r"^  NO  reward +reward 'shepherd' is neither a format", outcome.out, re.M)


def test_doctor_when_the_reward_model_is_served_checks_it(rtsearch, policy, start_pooling) -> None:
    judge = start_pooling(task="token_classify")
    flags = ("--reward", "qwen2.5-math-prm", "--reward-base-url", judge.base_url)
    outcome = rtsearch("doctor", *policy, *flags)
    assert outcome.code == 0
    assert re.search(r"^  ok  place 1 ", outcome.out, re.M)
    assert re.search(r"^  ok  token_classify answers", outcome.out, re.M)


# --- a folder ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tiny_rewards import byte_level, tiny_reward

    return tiny_reward(tmp_path / "prm", "ProcessReward", byte_level())


def test_solve_when_the_reward_model_is_a_folder_reads_its_head(
    rtsearch, policy, folder, tmp_path
) -> None:
    path = tmp_path / "tiny-prm.yaml"
    path.write_text(
        'source: a test\nread: class\npositive: 1\ntemplate: "{problem}\\n{solution}"\n'
        'step: "{step}<extra_0>{read}"\ntag: <extra_0>\naggregation: min\n'
    )
    flags = ("--reward", path, "--reward-model", folder)
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *policy)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"-> '\d+'  score 0\.\d+", outcome.out)
    told = rtsearch("doctor", *policy, *flags)
    assert re.search(r"^  ok  place 1 .* \[\d+ '<extra_0>'\] ", told.out, re.M)
    assert re.search(r"^  ok  head +2 outputs, 0\.\d+, 0\.\d+ \(torch: .* cpu", told.out, re.M)


def test_doctor_when_the_folder_is_another_models_says_no_and_loads_nothing(
    rtsearch, policy, folder
) -> None:
    outcome = rtsearch("doctor", *policy, "--reward", "openr", "--reward-model", folder)
    assert outcome.code == 1
    assert re.search(
        r"^  NO  known token +' \+' ends in 488, here it is \d+ ' \+'", outcome.out, re.M
    )
    assert not re.search(r"^  .. +(engine|head)", outcome.out, re.M)
    wrong = rtsearch(
        "solve", "1", *policy, "--reward", "qwen2.5-math-prm", "--reward-model", folder
    )
    assert "'<extra_0>' ends in the token 151651, in prm it is [272]" in wrong.error
