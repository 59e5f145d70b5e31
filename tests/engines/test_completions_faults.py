"""The HTTP engine against servers that fail, addresses that are wrong, and secrets to keep."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import socket
import sys
import time

import pytest
from engine_calls import complete, engine_for, failure, labels, run

from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.errors import (
    AnswerFormatError,
    EngineError,
    InvalidArgumentError,
    MissingExtraError,
)

KEY = "sk-secret-0123456789"


# --- faults -----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "503", "429", "drop"])
def test_passing_faults_are_ridden_out(openai_server, fault) -> None:
    openai_server.fail(fault, times=2)
    (sample,) = complete(engine_for(openai_server))
    assert sample.text.startswith("## Analysis")
    assert len(openai_server.bodies) == 3


def test_retry_after_is_honoured(openai_server) -> None:
    openai_server.retry_after = "0.2"
    openai_server.fail("429")
    begin = time.perf_counter()
    complete(engine_for(openai_server))
    assert 0.2 <= time.perf_counter() - begin < 2


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2015 07:28:00 GMT", "-1", "nan"])
def test_other_retry_after_forms_fall_back(openai_server, header) -> None:
    openai_server.retry_after = header
    openai_server.fail("429")
    complete(engine_for(openai_server))
    assert len(openai_server.bodies) == 2


def test_lasting_server_errors_end_in_one_line(openai_server) -> None:
    openai_server.message = "worker\n\x1b[31mdied\n" + "x" * 1000
    openai_server.fail("500", times=None)
    message = failure(engine_for(openai_server, retries=2))
    assert "status 500: worker [31mdied xxx" in message and len(message) < 450
    assert len(openai_server.bodies) == 3


def test_an_overloaded_server_is_named_as_such(openai_server) -> None:
    openai_server.fail("429", times=None)
    assert "lower the concurrency" in failure(engine_for(openai_server, retries=1))


@pytest.mark.parametrize(
    "fault, remedy",
    [("400", "The request is wrong."), ("404", "base URL"), ("401", "OPENAI_API_KEY")],
)
def test_refusals_are_not_retried(openai_server, fault, remedy) -> None:
    openai_server.fail(fault, times=None)
    message = failure(engine_for(openai_server))
    assert f"status {fault}: The request is wrong." in message and remedy in message
    assert len(openai_server.bodies) == 1


def test_a_hanging_server_is_given_up_on_once(openai_server) -> None:
    openai_server.fail("hang", times=None)
    message = failure(engine_for(openai_server, timeout=0.2))
    assert "no answer within 0.2 s" in message
    assert len(openai_server.bodies) == 1


def test_nobody_listens() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
    message = failure(engine_for(url, retries=1))
    assert url in message and "is the server running?" in message
    assert f"rtsearch doctor --base-url {url}" in message and "tries: 2" in message


@pytest.mark.parametrize(
    "fault, words",
    [
        ("truncated", "not JSON"),
        ("html", "not JSON"),
        ("nan", "NaN is no JSON number"),
        ("list", "no JSON object"),
        ("no-choices", "no list of choices"),
        ("no-choice", "0 came"),
        ("two-choices", "1 samples were asked for, 2 came"),
        ("text-is-number", "text is no string"),
        ("no-finish", "unknown finish_reason"),
        ("usage-is-text", "no count"),
        ("bad-logprobs", "1 tokens have 2 values"),
        ("no-counts", "no usage.completion_tokens"),
        ("fewer-tokens", "but the choices have"),
        ("more-tokens", "but the choices have"),
        ("no-tokens", "usage.completion_tokens is 0, but the choices have"),
    ],
)
def test_answers_of_a_wrong_shape(openai_server, fault, words) -> None:
    openai_server.fail(fault)
    message = failure(engine_for(openai_server), AnswerFormatError)
    assert words in message and openai_server.base_url in message
    assert len(openai_server.bodies) == 1


def test_count_when_zero_for_a_text_without_logprobs_is_refused(start_server) -> None:
    server = start_server(refused=("logprobs",))
    server.fail("no-tokens", times=None)
    assert "is 0, but there is text" in failure(engine_for(server), AnswerFormatError)


def test_count_when_a_stop_string_is_left_out_of_the_logprobs_may_be_larger(start_server) -> None:
    server = start_server(dialect="llama")
    server.fail("more-tokens")
    assert complete(engine_for(server))[0].num_tokens > 1
    server.fail("fewer-tokens")
    assert "but the choices have" in failure(engine_for(server), AnswerFormatError)


def test_choices_of_a_wrong_shape(start_server, monkeypatch) -> None:
    server = start_server()
    answer = server._answer

    def changed(**changes):
        monkeypatch.setattr(server, "_answer", lambda body: {**answer(body), **changes})
        return failure(engine_for(server), AnswerFormatError, seeds=(1, 2))

    choice = {"text": "a", "finish_reason": "stop", "logprobs": None}
    twins = [{**choice, "index": 0}, {**choice, "index": 0}]
    assert "no indices 0 to 1" in changed(choices=twins)
    assert "2 samples were asked for, 1 came" in changed(choices=twins[:1])
    assert "completion_tokens is 7, but the choices have" in changed(usage={"completion_tokens": 7})


# --- a server that is lost -----------------------------------------------------------


def lose_and_restart(start_server, away: float, seeds=range(4), **settings):
    """Ask; lose the server while it answers; start it again after `away` seconds."""
    first = start_server()
    port = int(first.base_url.split(":")[2].removesuffix("/v1"))

    async def work(engine):
        await engine.complete(CompletionRequest("P", (1,), 100))
        first.delay = 0.3
        asked = [
            asyncio.ensure_future(engine.complete(CompletionRequest("P", (seed,), 100)))
            for seed in seeds
        ]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(first.close)
        if away == math.inf:
            return await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(away)
        second = await asyncio.to_thread(start_server, port=port)
        answers = await asyncio.gather(*asked)
        return answers, second

    return run(engine_for(first, **settings), work)


def test_a_lost_server_is_waited_for_and_asked_again(start_server, caplog) -> None:
    answers, second = lose_and_restart(start_server, 0.7)
    assert [a[0].text for a in answers] == [
        sample.text for sample in complete(engine_for(second), seeds=range(4))
    ]
    words = [record.message for record in caplog.records]
    # one of the four looks out for the server, and tells
    assert sum("is lost; waiting for it, up to 300 s" in word for word in words) == 1
    assert sum("is back after" in word for word in words) == 1


def test_a_server_that_stays_away_ends_in_one_line(start_server) -> None:
    begin = time.perf_counter()
    errors = lose_and_restart(start_server, math.inf, patience=0.8)
    assert 0.8 <= time.perf_counter() - begin < 5
    assert {type(error) for error in errors} == {EngineError}
    assert all("was lost and is not back after 1 s: start it again" in str(e) for e in errors)
    assert all("--resume" in str(error) for error in errors)


def test_a_server_that_stays_away_is_not_waited_for_without_patience(start_server) -> None:
    errors = lose_and_restart(start_server, math.inf, patience=0.0, retries=1)
    assert all("is the server running?" in str(error) for error in errors)


def test_a_server_that_is_up_but_keeps_failing_is_given_up_on(openai_server) -> None:
    engine = engine_for(openai_server, retries=1)
    complete(engine)
    openai_server.fail("503", times=None)
    assert "status 503" in failure(engine)


def test_one_failing_sample_ends_the_others(openai_server) -> None:
    openai_server.fail("truncated")
    openai_server.fail("hang", times=3)
    begin = time.perf_counter()
    failure(engine_for(openai_server), AnswerFormatError, seeds=(1, 3, 5, 7))
    assert time.perf_counter() - begin < 2


def test_cancelling_leaves_nothing_behind(openai_server) -> None:
    openai_server.fail("hang", times=None)

    async def work(engine):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.complete(CompletionRequest("P", (1, 2), 5)), 0.2)
        return len(asyncio.all_tasks())

    assert run(engine_for(openai_server), work) == 1


# --- addresses and secrets ----------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http://h:99999/v1",
        "http://h/v1?key=SECRET",
        "http://[::1/v1",
    ],
)
def test_unusable_addresses(url) -> None:
    with pytest.raises(InvalidArgumentError, match="base URL") as caught:
        CompletionsEngine(url)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        {"timeout": 0},
        {"retries": -1},
        {"max_concurrency": 0},
        {"timeout": math.nan},
        {"top_logprobs": 0},
    ],
)
def test_unusable_options(option) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(option))):
        CompletionsEngine("http://h/v1", **option)


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_be_given_in_several_forms(openai_server, tail) -> None:
    engine = engine_for(openai_server.base_url.removesuffix("/v1") + tail)
    assert labels(engine, "P") == [(-0.5, -1.5)]


def test_the_key_is_sent_and_never_shown(openai_server, monkeypatch, caplog) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    openai_server.message = f"Incorrect key: {KEY}"
    openai_server.fail("500")
    openai_server.fail("401")
    engine = engine_for(openai_server, api_key_env="MY_KEY")
    with caplog.at_level(logging.DEBUG):
        message = failure(engine)
    assert openai_server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "Incorrect key: ***" in message and "MY_KEY" in message
    logged = caplog.text + str([vars(record) for record in caplog.records])
    assert KEY not in message + engine.name + logged


def test_no_key_no_header(openai_server, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    complete(engine_for(openai_server))
    assert "authorization" not in openai_server.headers[0]


def test_a_password_in_the_url_is_sent_and_never_shown(openai_server, caplog) -> None:
    url = openai_server.base_url.replace("://", "://user:hunter2@")
    openai_server.fail("500", times=None)
    with caplog.at_level(logging.DEBUG):
        message = failure(engine_for(url, retries=1))
    assert openai_server.headers[0]["authorization"].startswith("Basic ")
    assert "hunter2" not in message + caplog.text and "user" not in message


def test_a_header_that_a_server_repeats_is_never_shown(openai_server) -> None:
    url = openai_server.base_url.replace("://", "://user:hunt%2Fer2@")
    sent = base64.b64encode(b"user:hunt/er2").decode()
    openai_server.message = f"Bad header: Basic {sent}, of hunt%2Fer2, hunt/er2"
    openai_server.fail("401")
    assert "Bad header: Basic ***, of ***, ***" in failure(engine_for(url))
    assert openai_server.headers[0]["authorization"] == f"Basic {sent}"


def test_the_engine_works_again_after_closing(openai_server) -> None:
    # In another event loop, and with requests that have to wait for their turn.
    engine = engine_for(openai_server, max_concurrency=1)
    assert complete(engine, seeds=range(3)) == complete(engine, seeds=range(3))


@pytest.mark.parametrize("module", ["aiohttp", "stamina"])
def test_a_missing_package_names_the_extra(openai_server, monkeypatch, module) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert 'pip install "rtsearch-fast[cli]"' in failure(
        engine_for(openai_server), MissingExtraError
    )
