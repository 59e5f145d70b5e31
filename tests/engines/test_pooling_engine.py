"""The engine of reward models against a local server with vLLM's pooling endpoints."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator

import pytest
from pooling_server import TAG, PoolingServer, token_id

from rtsearch_fast.engine.pooling import PoolingEngine
from rtsearch_fast.errors import AnswerFormatError, EngineError, InvalidArgumentError

pytest.importorskip("aiohttp")


@pytest.fixture
def start() -> Iterator[Callable[..., PoolingServer]]:
    servers = []

    def start(*args, **kwargs):
        servers.append(PoolingServer(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def call(server: PoolingServer, method: str, *args, **kwargs):
    async def work():
        engine = PoolingEngine(server.base_url, retries=0, **kwargs)
        try:
            return await getattr(engine, method)(*args)
        finally:
            await engine.aclose()

    return asyncio.run(work())


def call_raw(server: PoolingServer, method: str, prompts: list[str]):
    async def work():
        engine = PoolingEngine(server.base_url, retries=0)
        try:
            return await getattr(engine, method)(prompts, raw=True)
        finally:
            await engine.aclose()

    return asyncio.run(work())


def failure(server: PoolingServer, method: str, *args, **kwargs) -> EngineError:
    with pytest.raises(EngineError) as caught:
        call(server, method, *args, **kwargs)
    assert "\n" not in str(caught.value)
    return caught.value


# --- classify ----------------------------------------------------------------------------


def test_classify_when_given_prompts_asks_once_and_keeps_their_order(start) -> None:
    server = start(lambda text: (len(text) / 10, 1 - len(text) / 10))
    assert call(server, "classify", ["a", "abc", "ab"]) == [(0.1, 0.9), (0.3, 0.7), (0.2, 0.8)]
    assert server.requests == [
        (
            "/classify",
            {
                "model": "judge",
                "input": ["a", "abc", "ab"],
                "add_special_tokens": False,
                "use_activation": True,
            },
        )
    ]


@pytest.mark.parametrize("method", ["classify", "token_classify"])
def test_engine_when_raw_numbers_are_wanted_asks_for_no_activation(start, method) -> None:
    server = start(lambda text: (-3.5,), "classify" if method == "classify" else method)
    found = call_raw(server, method, [f"a{TAG}"])
    assert found in ([(-3.5,)], [[(-3.5,)]])
    assert [body["use_activation"] for _, body in server.requests] == [False]


def test_classify_when_given_nothing_asks_nothing(start) -> None:
    server = start()
    assert call(server, "classify", []) == []
    assert not server.requests


def test_classify_when_a_value_is_null_gives_nan(start) -> None:
    ((value,),) = call(start(lambda text: (None,)), "classify", ["a"])
    assert math.isnan(value)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"data": 7},
        {"data": []},
        {"data": [{"index": 1, "probs": [0.5]}]},
        {"data": [{"index": 0, "probs": [0.5]}, {"index": 1, "probs": [0.5]}]},
        {"data": [{"index": 0, "probs": 0.5}]},
        {"data": [{"index": 0, "probs": ["0.5"]}]},
        {"data": [{"index": 0, "probs": [True]}]},
    ],
)
def test_classify_when_the_answer_has_another_shape_raises(start, data) -> None:
    server = start()
    server.answer = 200, json.dumps(data).encode()
    error = failure(server, "classify", ["a"])
    assert isinstance(error, AnswerFormatError) and "/classify: " in str(error)


# --- token_classify ------------------------------------------------------------------------


def position(text: str) -> tuple[float, float]:
    """A row that tells where it was read."""
    return (0.0, len(text) / 100)


def test_token_classify_when_the_server_pools_steps_returns_its_rows(start) -> None:
    server = start(position, "token_classify")
    prompts = [f"ab{TAG}c{TAG}", f"abc{TAG}"]
    found = call(server, "token_classify", prompts, TAG)
    assert found == [[(0.0, 0.11), (0.0, 0.21)], [(0.0, 0.12)]]
    assert [path for path, _ in server.requests] == ["/pooling"] * 2
    assert server.requests[0][1] == {
        "model": "judge",
        "input": server.requests[0][1]["input"],
        "task": "token_classify",
        "add_special_tokens": False,
        "use_activation": True,
    }


def test_token_classify_when_the_server_sends_all_tokens_picks_the_tags(start) -> None:
    server = start(position, "token_classify", step_tag=None)
    found = call(server, "token_classify", [f"ab{TAG}c d{TAG} e"], TAG)
    assert found == [[(0.0, 0.11), (0.0, 0.23)]]
    assert {body["add_special_tokens"] for body in server.bodies("/tokenize")} == {False}


def test_token_classify_when_no_tag_is_given_returns_every_row(start) -> None:
    server = start(position, "token_classify", step_tag=None)
    assert len(call(server, "token_classify", ["a b c"])[0]) == 3


def test_token_classify_when_rows_fit_nothing_says_how_to_start_the_server(start) -> None:
    server = start(position, "token_classify", step_tag="b")
    error = failure(server, "token_classify", [f"a{TAG}c b{TAG}"], TAG)
    assert isinstance(error, AnswerFormatError)
    assert "0 rows came for 2 step tags '<extra_0>': start vLLM with " in str(error)
    assert f'"tok_pooling_type": "STEP", "step_tag_id": {token_id(TAG)}}}\'' in str(error)


def test_token_classify_when_positions_cannot_be_known_says_how_to_start(start) -> None:
    server = start(position, "token_classify", step_tag=None, has_tokenize=False)
    error = failure(server, "token_classify", [f"a b{TAG}"], TAG)
    assert "3 rows came for 1 step tags" in str(error) and "the id of <extra_0>" in str(error)


def test_token_classify_when_the_tag_is_no_token_raises(start) -> None:
    server = start(position, "token_classify", step_tag=None)
    error = failure(server, "token_classify", ["a b<step>"], "<step>")
    assert "the step tag '<step>' is 3 tokens of judge" in str(error)


# --- servers of another task ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "method", "flag"),
    [
        ("generate", "classify", '--pooler-config \'{"task": "classify"}\''),
        ("token_classify", "classify", '--pooler-config \'{"task": "classify"}\''),
        ("generate", "token_classify", '--pooler-config \'{"task": "token_classify"}\''),
        ("classify", "token_classify", '--pooler-config \'{"task": "token_classify"}\''),
        ("both", "token_classify", '--pooler-config \'{"task": "token_classify"}\''),
    ],
)
def test_call_when_the_server_serves_another_task_names_the_flag(start, task, method, flag):
    error = failure(start(task=task), method, ["a"])
    assert f"judge is not served for {method}: start vLLM with --runner pooling {flag}" in str(
        error
    )


def test_classify_when_the_endpoint_is_off_names_the_flag(start) -> None:
    server = start()
    server.answer = 501, b'{"error":{"message":"The model does not support Classification API"}}'
    assert "start vLLM with --runner pooling" in str(failure(server, "classify", ["a"]))


def test_classify_when_the_model_is_unknown_says_so(start) -> None:
    error = failure(start(), "classify", ["a"], model="other")
    assert "The model `other` does not exist." in str(error)
    assert "--runner" not in str(error)


# --- the rest ----------------------------------------------------------------------------


def test_name_when_the_server_has_one_model_is_its_name(start) -> None:
    assert PoolingEngine(start().base_url).name == "judge"


def test_engine_when_a_setting_is_out_of_range_raises() -> None:
    with pytest.raises(InvalidArgumentError, match="retries=-1"):
        PoolingEngine("http://127.0.0.1:1/v1", retries=-1)


def test_probe_when_the_task_is_served_shows_the_classes(start) -> None:
    checks = call(start(), "probe", "classify")
    assert [(check.name, check.ok) for check in checks] == [("models", True), ("classify", True)]
    assert checks[1].detail == "2 classes, 0.750, 0.250"
    assert call(start(task="token_classify"), "probe", "token_classify")[1].ok


def test_probe_when_another_task_is_served_fails(start) -> None:
    checks = call(start(task="generate"), "probe", "classify")
    assert [check.ok for check in checks] == [True, False]
    assert "--runner pooling" in checks[1].detail
