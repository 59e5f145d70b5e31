"""Reward models of each kind on the command line, and their golden scores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from pooling_server import TAG, PoolingServer

pytest.importorskip("cyclopts")
BUDGET = ("--budget-tokens", "300")


@pytest.fixture
def start_pooling() -> Iterator[Callable[..., PoolingServer]]:
    servers = []

    def start(*args, **kwargs):
        servers.append(PoolingServer(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def length(text: str) -> tuple[float, float]:
    """A judge that likes long texts."""
    share = min(len(text) / 1000, 1.0)
    return 1 - share, share


# --- kinds -------------------------------------------------------------------------------


def test_solve_when_a_classifier_judges_spends_no_reward_tokens(
    rtsearch, start_server, start_pooling, toy_flags
):
    judge = start_pooling(length)
    flags = ("--reward-kind", "classifier", "--reward-base-url", judge.base_url)
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *toy_flags(start_server()))
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"-> '\d+'  score 0\.\d+", outcome.out)
    assert re.search(r"\d+ \+ 0 tokens of policy \+ reward", outcome.out)
    texts = [text for body in judge.bodies("/classify") for text in body["input"]]
    assert texts and all(text.startswith("Added: 1 2 3\n===\n## Step 1") for text in texts)


def test_solve_when_steps_are_judged_sends_a_tag_a_step(
    rtsearch, start_server, start_pooling, toy_flags
):
    judge = start_pooling(length, "token_classify")
    flags = ("--reward-kind", "process", "--reward-base-url", judge.base_url)
    flags += ("--reward-aggregation", "mean")
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *toy_flags(start_server()))
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"-> '\d+'  score 0\.\d+", outcome.out)
    (text, *_) = [body["input"] for body in judge.bodies("/pooling")]
    # of the toy's reward template, and two steps and the answer
    assert text.startswith("Added: 1 2 3\n===\n## Step 1") and text.count(TAG) == 3


def test_solve_when_the_kind_has_no_server_says_what_it_needs(rtsearch, start_server, toy_flags):
    flags = toy_flags(start_server())
    for kind in ("classifier", "process"):
        outcome = rtsearch("solve", "1 2", "--reward-kind", kind, *flags)
        assert f"--reward-kind {kind} needs --reward-base-url: a vLLM server" in outcome.error


def test_solve_when_the_server_has_another_task_names_the_flag(rtsearch, start_server, toy_flags):
    server = start_server()
    flags = ("--reward-kind", "classifier", "--reward-base-url", server.base_url)
    outcome = rtsearch("solve", "1 2", *BUDGET, *flags, *toy_flags(server))
    assert "start vLLM with --runner pooling" in outcome.error


def test_doctor_when_a_classifier_is_served_checks_it(rtsearch, start_server, start_pooling):
    judge = start_pooling()
    flags = ("--reward-kind", "classifier", "--reward-base-url", judge.base_url)
    outcome = rtsearch("doctor", "--base-url", start_server().base_url, *flags)
    assert outcome.code == 0
    assert re.search(r"^  ok  classify +2 classes, 0\.750, 0\.250$", outcome.out, re.M)


def test_doctor_when_the_judge_has_another_task_says_no(rtsearch, start_server, start_pooling):
    judge = start_pooling(task="generate")
    flags = ("--reward-kind", "process", "--reward-base-url", judge.base_url)
    outcome = rtsearch("doctor", "--base-url", start_server().base_url, *flags)
    assert outcome.code == 1
    assert re.search(r"^  NO  token_classify .*start vLLM with", outcome.out, re.M)


# --- golden scores -----------------------------------------------------------------------


@pytest.fixture
def record(tmp_path):
    """A file of one golden score."""

    def write(score):
        path = tmp_path / "golden.json"
        case = {"problem": "1 2", "steps": ["## Answer\n3"], "score": score}
        path.write_text(json.dumps({"reward": "x", "tolerance": 0.05, "cases": [case]}))
        return path

    return write


def sure_server(start_server):
    server = start_server()
    server.next_tokens = lambda prompt: {"Yes": -0.5, "No": -0.5}
    return server


@pytest.mark.parametrize("command", ["solve", "eval"])
def test_search_when_a_golden_score_is_missed_does_not_begin(
    rtsearch, start_server, toy_flags, problems, record, tmp_path, command
):
    server = sure_server(start_server)
    file = ("-f", problems) if command == "solve" else (problems,)
    golden = ("--reward-golden", record(0.9), "-o", tmp_path / "out")
    outcome = rtsearch(command, *file, *golden, *BUDGET, *toy_flags(server))
    assert "golden.json: 1 of 1 golden scores are missed by more than 0.05" in outcome.error
    assert "expected 0.9000, found 0.5000: recorded of x, this is test-model/" in outcome.error
    assert len(server.bodies) == 1


def test_solve_when_golden_scores_are_met_goes_on(rtsearch, start_server, toy_flags, record):
    flags = ("--reward-golden", record(0.52), *toy_flags(sure_server(start_server)))
    assert rtsearch("solve", "1 2 3", *BUDGET, *flags).code == 0


def test_solve_when_the_golden_file_is_missing_loads_no_model(rtsearch, tmp_path):
    outcome = rtsearch("solve", "1 2", "--reward-golden", tmp_path / "none.json")
    assert "none.json: No such file" in outcome.error


def test_doctor_when_told_to_record_writes_what_it_meets_later(rtsearch, start_server, tmp_path):
    server, path = sure_server(start_server), tmp_path / "new.json"
    flags = ("--base-url", server.base_url)
    outcome = rtsearch("doctor", "--write-golden", path, *flags)
    assert outcome.code == 0
    assert re.search(
        r"^  ok  golden +6 scores of test-model/plain-\w+/Yes\|No rec", outcome.out, re.M
    )
    again = rtsearch("doctor", "--reward-golden", path, *flags)
    assert again.code == 0
    assert re.search(r"^  ok  golden .*new\.json: met, 0\.000 apart at most", again.out, re.M)
    server.next_tokens = lambda prompt: {"Yes": -2.5, "No": -0.5}
    later = rtsearch("doctor", "--reward-golden", path, *flags)
    assert later.code == 1
    assert re.search(r"^  NO  golden .*expected 0\.5000, found 0\.1192", later.out, re.M)


def test_flags_when_the_judge_is_the_embedded_model_say_so():
    from rtsearch_fast.cli.settings import SMOLLM2, ModelFlags

    url = "http://127.0.0.1:9/v1"
    for embedded in (
        ModelFlags(),
        ModelFlags(model=SMOLLM2),
        ModelFlags(base_url=None, model="some/folder", reward_model=SMOLLM2),
    ):
        assert embedded.judge_is_embedded
    for other in (
        ModelFlags(base_url=url),
        ModelFlags(model="some/folder"),
        ModelFlags(reward_base_url=url),
        ModelFlags(base_url=url, reward_model=SMOLLM2),  # the server has it
        ModelFlags(reward_model="other"),
        ModelFlags(reward_kind="classifier"),
    ):
        assert not other.judge_is_embedded


def test_flags_when_left_out_follow_from_the_models():
    from rtsearch_fast.cli.settings import CHECK_TOKENS, POLICY, REWARD, SMOLLM2, ModelFlags

    def told(**given: object) -> tuple[object, ...]:
        flags = ModelFlags(**given).resolved()
        assert flags.resolved() == flags
        return (
            flags.model,
            flags.template,
            flags.reward_model,
            flags.reward_template,
            flags.reward_check_template,
            flags.reward_check_tokens,
            flags.reward_prefixes,
            flags.reward_calculator,
        )

    tiny = (POLICY, "bare", REWARD, "verdict", "check", CHECK_TOKENS, "bare", True)
    assert told() == told(model=POLICY) == tiny
    assert told(reward_template="plain") == (*tiny[:3], "plain", *tiny[4:])
    assert told(reward_calculator=False) == (*tiny[:7], False)
    other = (None, None, None, 0, "written", False)  # any other model judges itself by a label
    assert told(model=SMOLLM2) == (SMOLLM2, "chatml", *other)
    assert told(base_url="http://127.0.0.1:9/v1") == (None, "plain", *other)
    assert told(model=SMOLLM2, reward_model=REWARD)[2:] == tiny[2:]
    assert told(reward_model=SMOLLM2)[2:] == (SMOLLM2, *other[1:])


# --- written checks ----------------------------------------------------------------------


def test_solve_when_checks_are_written_counts_their_tokens(rtsearch, start_server, toy_flags):
    server = start_server()
    flags = ("--reward-check-tokens", "5", "--reward-verdict", r"\n=> ")
    outcome = rtsearch("solve", "1 2 3", *BUDGET, *flags, *toy_flags(server))
    assert (outcome.code, outcome.err) == (0, "")
    (tokens,) = re.findall(r"\d+ \+ (\d+) tokens of policy \+ reward", outcome.out)
    assert int(tokens) > 5


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--reward-check-tokens", "-1"), "--reward-check-tokens -1: give a number of tokens"),
        (("--reward-check-tokens", "9", "--reward-verdict", " "), "verdict=' '"),
        (
            ("--reward-calculator", "--reward-kind", "classifier"),
            "--reward-calculator needs --reward-kind generative",
        ),
        (
            ("--reward-check-tokens", "9", "--reward-kind", "classifier"),
            "needs --reward-kind generative",
        ),
        (
            ("--reward-check-tokens", "9", "--reward-check-template", "none.txt"),
            "template 'none.txt' is neither a preset",
        ),
    ],
)
def test_solve_when_checks_make_no_sense_says_so(rtsearch, start_server, toy_flags, flags, text):
    outcome = rtsearch("solve", "1 2", *toy_flags(start_server()), *flags)
    assert text in outcome.error
