"""Whole runs over a server that does something wrong to a share of the requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_faults import FAULTS

stamina = pytest.importorskip("stamina")

#: What the client gets over, and what is lost of an answer without harm.
HEALED = ("429", "500", "503", "slow", "drip", "drop", "silent", "no-usage")
#: What ends a run, and words of its one line.
FATAL = {
    "400": ("status 400", "The request is wrong"),
    "401": ("status 401", "OPENAI_API_KEY"),
    "404": ("status 404", "check the model's name"),
    "hang": ("no answer within 0.3 s", "raise the timeout"),
    "truncated": ("is not JSON", "rtsearch doctor"),
    "html": ("is not JSON", "rtsearch doctor"),
    "list": ("no JSON object", "rtsearch doctor"),
    "nan": ("NaN is no JSON number", "rtsearch doctor"),
    "null-logprobs": ("no log-probability of a next token", "rtsearch doctor"),
    "infinite": ("no log-probability of a next token", "rtsearch doctor"),
    "no-logprobs": ("no log-probability of a next token", "rtsearch doctor"),
    "no-choices": ("no list of choices", "rtsearch doctor"),
    "no-choice": ("1 samples were asked for, 0 came", "rtsearch doctor"),
    "two-choices": ("1 samples were asked for, 2 came", "rtsearch doctor"),
    "text-is-number": ("text is no string", "rtsearch doctor"),
    "no-finish": ("unknown finish_reason 'None'", "rtsearch doctor"),
    "no-counts": ("no usage.completion_tokens", "rtsearch doctor"),
    "usage-is-text": ("usage.completion_tokens is no count", "rtsearch doctor"),
    "fewer-tokens": ("usage.completion_tokens is ", "budgets cannot be kept"),
    "more-tokens": ("usage.completion_tokens is ", "budgets cannot be kept"),
    "no-tokens": ("usage.completion_tokens is 0, but the choices", "budgets cannot be kept"),
    "bad-logprobs": ("1 tokens have 2 values", "rtsearch doctor"),
    "probabilities": ("0.9 is no log-probability", "rtsearch doctor"),
}
#: Of these only judgements suffer: samples can do without log-probabilities.
OF_JUDGEMENTS = ("null-logprobs", "infinite", "no-logprobs")
#: What nobody can know to be wrong.
UNSEEN = ("same-text",)


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    """Let all tries be made, without the pauses between them."""
    stamina.set_testing(True, attempts=9, cap=True)
    yield
    stamina.set_testing(False)


@pytest.fixture
def evaluate(rtsearch, toy_flags, problems):
    """Run `rtsearch eval` into a folder."""

    def run(server: Any, output: Path, *more: str) -> Any:
        flags = [flag for flag in toy_flags(server) if flag not in ("--retries", "0")]
        budget = ("--methods", "majority,mcts_g", "--budget-tokens", "200", "--concurrency", "2")
        return rtsearch("eval", problems, *budget, *flags, "--retries", "8", "-o", output, *more)

    return run


def kept(output: Path) -> tuple[bytes, bytes]:
    """What must not depend on faults."""
    return (output / "results.jsonl").read_bytes(), (output / "journal.jsonl").read_bytes()


def finished(output: Path) -> set[bytes]:
    lines = (output / "journal.jsonl").read_bytes().splitlines()
    return {line for line in lines if b'"done":' in line[:30]}


def test_faults_when_listed_each_have_a_run():
    assert sorted((*HEALED, *FATAL, *UNSEEN)) == sorted(FAULTS)


@pytest.mark.parametrize("fault", HEALED)
def test_run_when_a_fault_passes_ends_with_the_bytes_of_an_undisturbed_one(
    evaluate, start_server, tmp_path, fault
):
    server = start_server()
    assert evaluate(server, tmp_path / "undisturbed").code == 0
    asked = len(server.bodies)
    share = server.inject(fault, 0.2)
    outcome = evaluate(server, tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert share.hits >= asked // 10
    assert kept(tmp_path / "out") == kept(tmp_path / "undisturbed")


@pytest.mark.parametrize("fault", FATAL)
def test_run_when_a_fault_lasts_ends_in_one_line_and_goes_on_when_it_is_mended(
    evaluate, start_server, tmp_path, fault
):
    output = tmp_path / "out"
    server = start_server()
    assert evaluate(server, tmp_path / "undisturbed").code == 0
    # late enough that something is finished, and not so late that everything is
    share = server.inject(fault, 0.1 if fault in OF_JUDGEMENTS else 0.03)
    timeout = ("--timeout", "0.3") if fault == "hang" else ()
    outcome = evaluate(server, output, *timeout)
    assert outcome.code == 1 and share.hits
    for word in (*FATAL[fault], "--resume goes on"):
        assert word in outcome.error
    before = finished(output)
    assert 0 < len(before) < 8
    server.mend()
    assert evaluate(server, output, "--resume").code == 0
    assert before <= finished(output)
    assert kept(output) == kept(tmp_path / "undisturbed")


@pytest.mark.parametrize("fault", UNSEEN)
def test_run_when_its_server_answers_alike_for_all_seeds_keeps_its_budgets_and_ends(
    evaluate, start_server, tmp_path, fault
):
    server = start_server()
    share = server.inject(fault, 1.0)
    assert evaluate(server, tmp_path / "out").code == 0
    assert share.hits > 8 and len(finished(tmp_path / "out")) == 8
