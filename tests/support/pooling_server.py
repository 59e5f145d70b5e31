"""A small server with vLLM 0.32's pooling endpoints, on a thread and a free port of 127.0.0.1.

Bodies and refusals are those that a real server gave (see tests/engines/test_vllm_pooling.py).
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["TAG", "PoolingServer", "token_id", "tokenize"]

TAG = "<extra_0>"


def tokenize(text: str) -> list[str]:
    """Split into tags, words with the blank before them, and single other characters."""
    return re.findall(rf"{TAG}| ?\w+|\W", text)


def token_id(token: str) -> int:
    return zlib.crc32(token.encode()) % 50_000


class PoolingServer:
    """Serves `/v1/models`, and of the rest what a server with this task would.

    Parameters
    ----------
    probs : callable
        ``probs(text)`` gives the class probabilities behind a text.
    task : {"classify", "token_classify", "both", "generate"}
        "both": a model that has both heads, served for "classify".
    step_tag : str, optional
        With step pooling, the tag that the server was started with; None sends a row a token.
    has_tokenize : bool
    """

    def __init__(
        self,
        probs: Callable[[str], tuple[float | None, ...]] = lambda text: (0.75, 0.25),
        task: str = "classify",
        *,
        step_tag: str | None = TAG,
        has_tokenize: bool = True,
    ) -> None:
        self.probs = probs
        self.task = task
        self.step_tag = step_tag
        self.has_tokenize = has_tokenize
        #: Paths and bodies of the POST requests, in order of arrival.
        self.requests: list[tuple[str, dict[str, Any]]] = []
        #: If set, the answer to everything but `/v1/models`.
        self.answer: tuple[int, bytes] | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for where, body in self.requests if where == path]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def handle(self, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        if body is None:
            return _ok({"object": "list", "data": [{"id": "judge", "owned_by": "vllm"}]})
        self.requests.append((path, body))
        if self.answer is not None:
            return self.answer
        if path == "/tokenize" and self.has_tokenize:
            return _ok({"tokens": [token_id(token) for token in tokenize(body["prompt"])]})
        if path == "/classify" and self.task in ("classify", "both"):
            return self._classify(body)
        if path == "/pooling" and self.task != "generate":
            return self._pool(body)
        return 404, b'{"detail":"Not Found"}'

    def _classify(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if body["model"] != "judge":
            return _error(404, f"The model `{body['model']}` does not exist.")
        rows = [self.probs(text) for text in body["input"]]
        return _ok(
            {
                "data": [
                    {"index": i, "label": "LABEL_0", "probs": row, "num_classes": len(row)}
                    for i, row in enumerate(rows)
                ]
            }
        )

    def _pool(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.task == "both":
            return _error(
                400,
                "Try switching the model's pooling_task via --pooler-config.task "
                f"{body['task']}. (parameter=task)",
            )
        if self.task == "classify":
            return _error(400, f"Unsupported task: {body['task']!r} Supported tasks: ['classify']")
        rows, before = [], ""
        for token in tokenize(body["input"]):
            before += token
            if self.step_tag in (None, token):
                rows.append(self.probs(before))
        return _ok({"data": [{"index": 0, "object": "pooling", "data": rows}]})


def _ok(data: dict[str, Any]) -> tuple[int, bytes]:
    return 200, json.dumps(data).encode()


def _error(status: int, message: str) -> tuple[int, bytes]:
    error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
    return status, json.dumps({"error": error}).encode()


def _handler_of(server: PoolingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: without this each answer waits for a delayed ACK.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._reply(*server.handle(self.path, None))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._reply(*server.handle(self.path, body))

        def _reply(self, status: int, payload: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
