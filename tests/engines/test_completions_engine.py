"""The HTTP engine against a real local server: answers, the servers' dialects, and the doctor."""

from __future__ import annotations

import json
import logging
import math

import pytest
from engine_calls import complete, engine_for, failure, labels, run

from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.errors import AnswerFormatError, EngineError

# --- samples -------------------------------------------------------------------


def test_samples_follow_seeds_and_come_in_their_order(start_server) -> None:
    server = start_server(lambda prompt, seed: f"{prompt} {seed}")
    found = complete(engine_for(server), "Q", seeds=(5, 3, 2**63 - 1))
    assert [sample.text for sample in found] == ["Q 5", "Q 3", f"Q {2**63 - 1}"]
    # "Q", " 5" and the end of the text, at -0.25 each.
    assert [(s.num_tokens, s.finish_reason, s.logprob) for s in found] == [(3, "eos", -0.75)] * 3
    assert sorted(body["seed"] for body in server.bodies) == [3, 5, 2**63 - 1]
    assert all("n" not in body for body in server.bodies)


def test_request_is_passed_on_and_nothing_is_added(openai_server) -> None:
    complete(engine_for(openai_server), "Q", temperature=0.7, top_p=0.9, stop=("\n## ",))
    (body,) = openai_server.bodies
    assert body == {
        "model": "test-model",
        "prompt": "Q",
        "seed": 1,
        "max_tokens": 100,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["\n## "],
        "logprobs": 0,
        "add_special_tokens": False,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }


def test_a_prompt_of_token_ids_is_passed_on(openai_server, monkeypatch) -> None:
    monkeypatch.setattr(openai_server, "completion", lambda body, fault: (400, b"seen"))
    failure(engine_for(openai_server), prompt=(1, 2, 3))
    assert openai_server.bodies[0]["prompt"] == [1, 2, 3]


def test_samples_of_consecutive_seeds_are_one_request_where_the_server_counts_alike(
    start_server,
) -> None:
    server = start_server(lambda prompt, seed: f"{prompt} {seed}")
    found = complete(engine_for(server), "Q", seeds=(5, 6, 7, 3, 9, 10))
    assert [sample.text for sample in found] == ["Q 5", "Q 6", "Q 7", "Q 3", "Q 9", "Q 10"]
    assert [(s.num_tokens, s.logprob) for s in found] == [(3, -0.75)] * 6
    asked = sorted((body["seed"], body.get("n", 1)) for body in server.bodies)
    assert asked == [(3, 1), (5, 3), (9, 2)]


def test_samples_tell_where_their_tokens_end_and_which_they_are(start_server) -> None:
    server = start_server(lambda prompt, seed: "one two\n## three")
    (sample,) = complete(engine_for(server, token_ids=True), stop=("\n##",))
    assert sample.text == "one two"
    # "one", " two", then "\n", "#", "#", which the stop string takes away
    assert sample.ends == (3, 7, 7, 7, 7)
    assert len(sample.token_ids) == sample.num_tokens == 5
    assert [sample.tokens_until(n) for n in (1, 3, 4, 7)] == [1, 1, 2, 5]
    assert complete(engine_for(server), stop=("\n##",))[0].token_ids == ()


def test_samples_of_a_request_are_under_way_together(start_server) -> None:
    server = start_server(dialect="sglang")
    server.delay = 0.5
    complete(engine_for(server), seeds=range(4))
    assert server.most_at_once == 4


def test_concurrency_is_limited(start_server) -> None:
    server = start_server(dialect="sglang")
    server.delay = 0.02
    complete(engine_for(server, max_concurrency=2), seeds=range(6))
    assert server.most_at_once == 2


@pytest.mark.parametrize("dialect", ["vllm", "sglang", "llama"])
def test_finish_reasons_are_told_apart(start_server, dialect) -> None:
    engine = engine_for(start_server(lambda prompt, seed: "a b\n## c", dialect=dialect))
    for kwargs, text, reason in (
        ({"stop": ("\n## ",)}, "a b", "stop"),
        ({"stop": ("zzz",)}, "a b\n## c", "eos"),
        ({}, "a b\n## c", "eos"),
        ({"max_tokens": 2}, "a b", "length"),
    ):
        (sample,) = complete(engine, **kwargs)
        assert (sample.text, sample.finish_reason) == (text, reason)


def test_finish_reason_where_the_server_does_not_tell(start_server) -> None:
    engine = engine_for(
        start_server(lambda prompt, seed: "" if "ab" in prompt else "ab", dialect="plain")
    )
    (first,) = complete(engine, stop=("\n",))
    (second,) = complete(engine, prompt="Pab", stop=("\n",))
    (without,) = complete(engine)
    # The first has ended too, but it cannot be known; asking on finds it out.
    assert [first.finish_reason, second.finish_reason, without.finish_reason] == [
        "stop",
        "eos",
        "eos",
    ]


def test_llama_logprobs_and_counts(start_server) -> None:
    (sample,) = complete(engine_for(start_server(lambda p, s: "a b", dialect="llama")))
    assert (sample.num_tokens, sample.logprob) == (3, -0.75)


def test_missing_logprobs_are_nan(openai_server) -> None:
    openai_server.fail("no-logprobs")
    (sample,) = complete(engine_for(openai_server))
    assert math.isnan(sample.logprob) and sample.num_tokens > 1


def test_tokens_are_counted_from_logprobs_if_usage_is_missing(start_server) -> None:
    server = start_server(lambda prompt, seed: "apple bat")
    server.fail("no-usage")
    (sample,) = complete(engine_for(server))
    assert sample.num_tokens == 3


def test_unpaired_surrogates_are_replaced(start_server) -> None:
    (sample,) = complete(engine_for(start_server(lambda p, s: "a\ud83d \U0001d400")))
    assert sample.text == "a\ufffd \U0001d400"


# --- labels --------------------------------------------------------------------


def ranked(prompt: str) -> dict[str, float]:
    """Thirty tokens; "No" is the least likely and beyond any top 20."""
    return {"Yes": -0.5, **{f"t{i}": -2.0 - i for i in range(28)}, "No": -40.0}


def test_labels_are_asked_for_by_id(start_server) -> None:
    server = start_server(next_tokens=ranked)
    assert labels(engine_for(server), "P", "Q") == [(-0.5, -40.0)] * 2
    assert server.paths.count("/tokenize") == 2  # once a label, not once a prompt
    assert server.bodies[0]["max_tokens"] == 1 and server.bodies[0]["temperature"] == 0.0


@pytest.mark.parametrize("dialect", ["plain", "sglang", "llama"])
def test_a_label_beyond_the_top_is_nan(start_server, dialect) -> None:
    server = start_server(next_tokens=ranked, dialect=dialect)
    ((yes, no),) = labels(engine_for(server), "P")
    assert yes == -0.5 and math.isnan(no)


@pytest.mark.parametrize("dialect", ["vllm", "llama"])
def test_a_label_of_two_tokens_is_an_error(start_server, dialect) -> None:
    with pytest.raises(EngineError, match="'Yes, sir' is 3 tokens"):
        labels(engine_for(start_server(dialect=dialect)), "P", names=("Yes, sir", "No"))


def test_labels_of_a_server_without_label_ids(start_server) -> None:
    refused = ("logprob_token_ids", "return_tokens_as_token_ids")
    assert labels(engine_for(start_server(refused=refused)), "P") == [(-0.5, -1.5)]


@pytest.mark.parametrize("fault", ["no-logprobs", "null-logprobs", "infinite"])
def test_labels_when_nothing_is_told_of_any_token_are_an_error(openai_server, fault) -> None:
    openai_server.fail(fault)
    with pytest.raises(AnswerFormatError, match="no log-probability of a next token"):
        labels(engine_for(openai_server), "P")


@pytest.mark.parametrize("ids", [[True], ["7"], "7", None])
def test_labels_when_token_ids_are_none_are_asked_for_by_text(
    openai_server, monkeypatch, ids
) -> None:
    reply = 200, json.dumps({"tokens": ids}).encode()
    monkeypatch.setattr(openai_server, "tokenization", lambda body: reply)
    assert labels(engine_for(openai_server), "P") == [(-0.5, -1.5)]
    assert "logprob_token_ids" not in openai_server.bodies[0]


@pytest.mark.parametrize("fault", ["null-logprobs", "infinite"])
def test_samples_when_their_logprobs_are_no_numbers_have_none(openai_server, fault) -> None:
    openai_server.fail(fault)
    (sample,) = complete(engine_for(openai_server))
    assert math.isnan(sample.logprob) and sample.num_tokens > 1


def test_a_probability_in_place_of_its_logarithm_is_an_error(openai_server) -> None:
    openai_server.fail("probabilities")
    assert "0.9 is no log-probability" in failure(engine_for(openai_server), AnswerFormatError)


# --- servers that refuse fields --------------------------------------------------


def test_refused_fields_are_left_out_from_then_on(start_server, caplog) -> None:
    server = start_server(refused=("seed", "top_k"))
    engine = engine_for(server)
    with caplog.at_level(logging.WARNING):
        complete(engine)
        complete(engine)
    assert [sorted({"seed", "top_k"} & set(body)) for body in server.bodies] == [
        ["seed", "top_k"],
        ["top_k"],
        [],
        [],
    ]
    assert len([r for r in caplog.records if "does not accept" in r.message]) == 2


def test_a_refusal_for_another_reason_keeps_the_fields(openai_server) -> None:
    openai_server.message = "too long; you sent seed, top_k, min_p"
    engine = engine_for(openai_server)
    openai_server.fail("400", times=9)
    assert "too long" in failure(engine)
    openai_server._faults.clear()
    complete(engine)
    assert {"seed", "top_k", "min_p"} <= set(openai_server.bodies[-1])


def test_a_server_without_logprobs_can_sample_but_not_judge(start_server) -> None:
    engine = engine_for(start_server(refused=("logprobs",)))
    (sample,) = complete(engine)
    assert math.isnan(sample.logprob) and sample.num_tokens > 1
    with pytest.raises(EngineError, match="Unrecognized request argument supplied: logprobs"):
        labels(engine, "P")


# --- the model's name -------------------------------------------------------------


def test_the_only_model_is_taken(start_server) -> None:
    server = start_server(models=("one",))
    engine = engine_for(server, model=None)
    complete(engine)
    assert server.bodies[0]["model"] == engine.name == "one"


def test_the_name_can_be_asked_for_before_and_inside_a_loop(openai_server) -> None:
    engine = engine_for(openai_server, model=None)

    async def work(engine):
        return engine.name, (await engine.complete(CompletionRequest("P", (1,), 5)))[0].num_tokens

    assert run(engine, work) == ("test-model", 5)


def test_several_models_are_listed(start_server) -> None:
    engine = engine_for(start_server(models=("one", "two")), model=None)
    message = failure(engine)
    assert "2 models" in message and "one, two" in message
    with pytest.raises(EngineError, match="one, two"):
        engine.name  # noqa: B018


def test_an_unknown_model_is_named(openai_server) -> None:
    message = failure(engine_for(openai_server, model="other"))
    assert "404" in message and "`other` does not exist" in message and "base URL" in message


# --- doctor ---------------------------------------------------------------------------


def probe(server, **kwargs):
    checks = run(engine_for(server, **kwargs), lambda engine: engine.probe())
    assert all("\n" not in check.detail for check in checks)
    return {check.name: check for check in checks}


def test_probe_of_a_good_server(openai_server) -> None:
    checks = probe(openai_server)
    assert list(checks) == [
        "models",
        "version",
        "generation",
        "logprobs",
        "labels",
        "stop",
        "seeds",
        "end of text",
        "prefix cache",
    ]
    assert all(check.ok for check in checks.values()), checks
    assert "of a prompt that was asked before" in checks["prefix cache"].detail
    assert "Yes -0.500, No -1.500" in checks["labels"].detail


def test_probe_tells_what_a_lesser_server_lacks(start_server) -> None:
    server = start_server(next_tokens=ranked, dialect="plain", ignore_seed=True)
    checks = probe(server)
    assert [name for name, check in checks.items() if not check.ok] == [
        "labels",
        "seeds",
        "end of text",
    ]
    assert "no log-probability for No" in checks["labels"].detail


@pytest.mark.parametrize(
    ("version", "ok"), [("0.32.0", True), ("0.19.1", False), ("1.0", True), ("0.1.dev5+g1", True)]
)
def test_probe_tells_of_a_vllm_that_is_too_old(openai_server, version, ok) -> None:
    openai_server.version = version
    check = probe(openai_server)["version"]
    assert check.ok == ok and version in check.detail


def test_probe_tells_of_a_server_without_a_prefix_cache(openai_server) -> None:
    openai_server.caches = False
    check = probe(openai_server)["prefix cache"]
    assert not check.ok and "start the server with prefix caching" in check.detail
    openai_server.caches = None
    check = probe(openai_server)["prefix cache"]
    assert check.ok and "--enable-prompt-tokens-details" in check.detail


def test_work_done_is_counted(openai_server) -> None:
    engine = engine_for(openai_server)
    complete(engine, "one two", seeds=(1, 2))
    complete(engine, "one two", seeds=(9,))
    labels(engine, "one two")
    generated = sum(s.num_tokens for s in complete(engine, "one two", seeds=(1, 2, 9))) + 1
    # prompts of two tokens: one n = 2 request, one more, the labels, then two requests again
    assert engine.stats.prompt_tokens == 10 and engine.stats.cached_tokens == 4
    assert engine.stats.generated_tokens == 2 * generated - 1


def test_probe_of_a_wrong_model_and_a_dead_server(openai_server) -> None:
    checks = probe(openai_server, model="other")
    assert list(checks) == ["models", "generation"] and not any(c.ok for c in checks.values())
    assert "the server has test-model" in checks["models"].detail
    dead = probe("http://127.0.0.1:9/v1", retries=0)
    assert not any(check.ok for check in dead.values())
