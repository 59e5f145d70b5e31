"""What a server may send: so many bytes, so fast, and as they are."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from engine_calls import complete, failure, run

from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.http import client
from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.errors import AnswerFormatError

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """A function that starts a server which answers all requests in one way."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.prompt = json.loads(body)["prompt"]
                with suppress(BrokenPipeError, ConnectionResetError):  # who asked heard enough
                    answer(self)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def engine(url: str, **settings: object) -> CompletionsEngine:
    return CompletionsEngine(url, "toy", retries=0, patience=0, **settings)


def send(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, **headers) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_answer_when_compressed_is_refused(serve) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    url = serve(lambda handler: send(handler, 200, bomb, content_encoding="gzip"))
    assert "the answer is compressed (gzip)" in failure(engine(url), AnswerFormatError)


def test_refusal_when_compressed_keeps_its_status_and_remedy(serve) -> None:
    page = gzip.compress(b"<html>")
    url = serve(lambda handler: send(handler, 401, page, content_encoding="gzip"))
    message = failure(engine(url))
    assert "status 401" in message and "OPENAI_API_KEY" in message


def test_answer_when_too_large_is_not_read_to_its_end(serve, monkeypatch) -> None:
    monkeypatch.setattr(client, "_LARGEST_ANSWER", 1 << 20)
    url = serve(lambda handler: send(handler, 200, bytes(50 << 20)))
    assert "the answer is larger than 1 MiB" in failure(engine(url), AnswerFormatError)


def test_answer_when_it_drips_is_given_up_on_in_time(serve) -> None:
    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        for _ in range(100):  # no pause is as long as the timeout
            handler.wfile.write(b" ")
            time.sleep(0.1)

    begin = time.monotonic()
    assert "1" in failure(engine(serve(drip), timeout=1.0))
    assert time.monotonic() - begin < 8  # all of it would take ten


def test_answer_when_it_is_read_slowly_comes_whole(serve) -> None:
    text = "x" * (4 << 20)  # more than the sockets hold

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        choice = {"text": text, "finish_reason": "stop"}
        body = {"choices": [choice], "usage": {"completion_tokens": 5}}
        send(handler, 200, json.dumps(body).encode())

    async def work(engine: CompletionsEngine) -> str:
        async def hold_up() -> None:  # as a search does that has much to compute
            while True:
                time.sleep(0.005)
                await asyncio.sleep(0)

        busy = asyncio.ensure_future(hold_up())
        (sample,) = await engine.complete(CompletionRequest("P", (1,), 5))
        busy.cancel()
        return sample.text

    assert run(engine(serve(answer)), work) == text


def test_retry_when_told_as_a_date_is_measured_by_the_clock_of_the_server(serve) -> None:
    """The server's clock is 25 years late, and it wants to be asked again in two seconds."""
    asked: list[float] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:
            handler.send_response_only(429)
            handler.send_header("date", "Mon, 01 Jan 2001 00:00:00 GMT")
            handler.send_header("retry-after", "Mon, 01 Jan 2001 00:00:02 GMT")
            handler.send_header("content-length", "0")
            handler.end_headers()
        else:
            choice = {"text": "late", "finish_reason": "stop"}
            body = {"choices": [choice], "usage": {"completion_tokens": 1}}
            send(handler, 200, json.dumps(body).encode())

    patient = CompletionsEngine(serve(answer), "toy", retries=1, retry_wait=0.0)
    assert complete(patient, max_tokens=5)[0].text == "late"
    assert asked[1] - asked[0] >= 2


def test_answer_when_sent_twice_is_not_taken_for_that_of_the_next_request(serve) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.close_connection = False
        choice = {"text": f"to {handler.prompt}", "finish_reason": "stop"}
        body = {"choices": [choice], "usage": {"completion_tokens": 1}}
        for _ in range(2):
            send(handler, 200, json.dumps(body).encode())

    async def work(engine: CompletionsEngine) -> list[str]:
        texts = []
        for prompt in "abcd":
            (sample,) = await engine.complete(CompletionRequest(prompt, (1,), 5))
            texts.append(sample.text)
            await asyncio.sleep(0.05)
        return texts

    patient = CompletionsEngine(serve(answer), "toy", retries=1, retry_wait=0.0)
    assert run(patient, work) == ["to a", "to b", "to c", "to d"]


def test_redirect_when_answered_takes_the_key_nowhere(serve, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    asked: list[str | None] = []

    def note(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["authorization"])
        send(handler, 200, b"{}")

    target = serve(note)
    url = serve(lambda handler: send(handler, 307, b"", location=f"{target}/completions"))
    message = failure(engine(url))
    assert "redirects" in message and "sk-secret" not in message
    assert asked == []
