"""Marks read by a server that classifies, against a local server with vLLM's endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pooling_server import PoolingServer, token_id

from rtsearch_fast.engine.marks import MarkedText
from rtsearch_fast.engine.pooling import PoolingEngine
from rtsearch_fast.engine.served_heads import ServedHeads
from rtsearch_fast.errors import EngineError

pytest.importorskip("aiohttp")

TEXT = "ab cd ef"
MARKED = MarkedText(TEXT, (2, 5, 8))


@pytest.fixture
def start() -> Iterator[Callable[..., PoolingServer]]:
    servers = []

    def start(*args: Any, **kwargs: Any) -> PoolingServer:
        servers.append(PoolingServer(*args, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def read(server: PoolingServer, *asked: list[MarkedText], raw: bool = False, **options: Any) -> Any:
    async def work() -> list[Any]:
        engine = ServedHeads(PoolingEngine(server.base_url, retries=0), **options)
        try:
            return [await engine.read_marks(texts, raw=raw) for texts in asked]
        finally:
            await engine.aclose()

    return asyncio.run(work())


def inputs(server: PoolingServer) -> list[Any]:
    return [body["input"] for body in server.bodies("/classify")]


def test_read_marks_when_given_a_text_asks_for_it_up_to_each_mark(start) -> None:
    server = start(lambda text: (len(text) / 10,))
    assert read(server, [MARKED, MarkedText("x", ())]) == [[[(0.2,), (0.5,), (0.8,)], []]]
    assert inputs(server) == [["ab", "ab cd", "ab cd ef"]]


def test_read_marks_when_a_text_goes_on_asks_for_what_is_new(start) -> None:
    server = start(lambda text: (len(text) / 10,))
    longer = MarkedText(TEXT + " g", (2, 5, 8, 10))
    first, second, third = read(server, [MARKED, MARKED], [longer], [longer])
    assert first == [[(0.2,), (0.5,), (0.8,)]] * 2
    assert second == third == [[(0.2,), (0.5,), (0.8,), (1.0,)]]
    assert inputs(server) == [["ab", "ab cd", "ab cd ef"], ["ab cd ef g"]]


def test_read_marks_when_numbers_are_asked_for_keeps_them_apart(start) -> None:
    server = start()

    async def work() -> None:
        engine = ServedHeads(PoolingEngine(server.base_url, retries=0))
        for raw in (False, True, False):
            await engine.read_marks([MARKED], raw=raw)
        await engine.aclose()

    asyncio.run(work())
    assert [body["use_activation"] for body in server.bodies("/classify")] == [True, False]


def test_read_marks_when_asked_twice_at_once_asks_once(start) -> None:
    server = start(lambda text: (len(text) / 10,))

    async def work() -> list[Any]:
        engine = ServedHeads(PoolingEngine(server.base_url, retries=0))
        calls = [asyncio.ensure_future(engine.read_marks([MARKED])) for _ in range(4)]
        await asyncio.sleep(0.01)
        calls[0].cancel()  # of those who wait, the one who asked
        found = await asyncio.gather(*calls[1:])
        await engine.aclose()
        return found

    assert asyncio.run(work()) == [[[(0.2,), (0.5,), (0.8,)]]] * 3
    assert len(inputs(server)) == 1


def test_read_marks_when_an_answer_failed_asks_again(start) -> None:
    server = start(lambda text: (len(text) / 10,))
    server.answer = (400, b"no")

    async def work() -> Any:
        engine = ServedHeads(PoolingEngine(server.base_url, "judge", retries=0))
        with pytest.raises(EngineError):
            await engine.read_marks([MARKED])
        server.answer = None
        found = await engine.read_marks([MARKED])
        await engine.aclose()
        return found

    assert asyncio.run(work()) == [[(0.2,), (0.5,), (0.8,)]]


def test_read_marks_when_few_rows_are_kept_asks_again_and_answers_the_same(start) -> None:
    server = start(lambda text: (len(text) / 10,))
    once, twice = read(server, [MARKED], [MARKED], kept=2)
    assert once == twice == [[(0.2,), (0.5,), (0.8,)]]
    assert inputs(server)[1] == ["ab"]  # the oldest


def test_read_marks_when_pieces_are_tokenised_apart_sends_their_tokens(start) -> None:
    server = start(lambda tokens: (len(tokens) / 10,))
    cut = MarkedText("ab cd ef", (5, 8), cuts=(0, 1, 5))
    assert read(server, [cut], [cut]) == [[[(0.3,), (0.4,)]]] * 2
    a, b, cd, ef = map(token_id, ("a", "b", " cd", " ef"))
    assert inputs(server) == [[[a, b, cd], [a, b, cd, ef]]]
    assert len(server.bodies("/tokenize")) == 3  # each piece once


def test_read_marks_when_the_server_cannot_tokenise_says_so(start) -> None:
    server = start(has_tokenize=False)
    with pytest.raises(EngineError, match="has no /tokenize"):
        read(server, [MarkedText("ab", (2,), cuts=(1,))])


@pytest.mark.parametrize(
    ("serves", "task"),
    [("classify", "classify"), ("both", "classify"), ("token_classify", "token_classify")],
)
def test_task_when_asked_tells_what_the_server_does(start, serves: str, task: str) -> None:
    assert PoolingEngine(start(task=serves).base_url, retries=0).task() == task


def test_probe_when_the_server_classifies_is_ok(start) -> None:
    engine = ServedHeads(PoolingEngine(start().base_url, retries=0))
    checks = asyncio.run(engine.probe())
    assert [(check.name, check.ok) for check in checks] == [("models", True), ("classify", True)]
    assert engine.name == "judge"
