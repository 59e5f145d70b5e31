"""A small OpenAI-compatible model server for tests, on a thread and a free port of 127.0.0.1.

What it writes follows from (prompt, seed) alone, through a function the test may give, so a whole
search can be run through HTTP and compared with one in process. It speaks the dialects of the real
servers, and fails on demand.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from server_faults import FAULTS, STATUSES, Share, spoiled

__all__ = ["FAULTS", "TOKEN_LOGPROB", "OpenAIServer", "solution_text", "token_id", "tokenize"]

#: Every generated token has this log-probability.
TOKEN_LOGPROB = -0.25


def tokenize(text: str) -> list[str]:
    """Split into words with the blank before them, and single other characters."""
    return re.findall(r" ?\w+|\W", text)


def token_id(token: str) -> int:
    return zlib.crc32(token.encode()) % 50_000


def solution_text(prompt: str, seed: int) -> str:
    """A labelled solution; the numbers depend on prompt and seed."""
    number = zlib.crc32(f"{seed}:{prompt}".encode()) % 90 + 10
    return (
        f"## Analysis\nLook at {number}.\n## Step 1: Double it\n{number} * 2 = {number * 2}.\n"
        f"## Answer\n\\boxed{{{number * 2}}}"
    )


class OpenAIServer:
    """Serves `/v1/models`, `/v1/completions` and, in two dialects, `/tokenize`.

    Parameters
    ----------
    text : callable
        ``text(prompt, seed)`` is what the model writes before it ends the text.
    next_tokens : callable
        ``next_tokens(prompt)`` gives log-probabilities of next tokens, by their text.
    models : tuple of str
    dialect : {"vllm", "sglang", "llama", "plain"}
    refused : tuple of str
        Request fields that are answered with status 400.
    ignore_seed : bool
        Each request gets a seed of its own.
    host : str
        Where it listens.
    port : int
        0 takes a free one.
    """

    def __init__(
        self,
        text: Callable[[str, int], str] = solution_text,
        next_tokens: Callable[[str], dict[str, float]] = lambda prompt: {"Yes": -0.5, "No": -1.5},
        *,
        models: tuple[str, ...] = ("test-model",),
        dialect: str = "vllm",
        refused: tuple[str, ...] = (),
        ignore_seed: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.text = text
        self.next_tokens = next_tokens
        self.models = models
        self.dialect = dialect
        self.refused = refused
        self.ignore_seed = ignore_seed
        #: Bodies of the completion requests, and headers of all, in order of arrival.
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        #: Most completion requests that were under way at once.
        self.most_at_once = 0
        #: Seconds that each completion takes.
        self.delay = 0.0
        #: Text of the "400", "401" and "404" faults; headers of "429" and "503".
        self.message = "The request is wrong."
        self.retry_after = "0"
        #: What it says that it is.
        self.version = "0.32.0"
        #: Whether prompts that were asked before are told as cached; None tells nothing of it.
        self.caches: bool | None = True
        self._seen: set[str] = set()
        self._faults: deque[str] = deque()
        self._always: str | None = None
        self._share: Share | None = None
        self._at_once = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._http = ThreadingHTTPServer((host, port), _handler_of(self))
        self._http.daemon_threads = True
        self.base_url = f"http://{host}:{self._http.server_port}/v1"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def fail(self, fault: str, times: int | None = 1) -> None:
        """Let the next completion requests fail; ``times=None`` is for ever."""
        if fault not in FAULTS:
            raise ValueError(fault)
        if times is None:
            self._always = fault
        else:
            self._faults.extend([fault] * times)

    def inject(self, fault: str, share: float, seed: int = 0) -> Share:
        """Let a share of the completion requests fail, until `mend`; the same ones each time."""
        if fault not in FAULTS:
            raise ValueError(fault)
        self._share = Share(fault, share, seed)
        return self._share

    def mend(self) -> None:
        """Let no more requests fail."""
        self._faults.clear()
        self._always = self._share = None

    def close(self) -> None:
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    # --- answers --------------------------------------------------------------

    def completion(self, body: dict[str, Any], fault: str | None) -> tuple[int, bytes]:
        for field in self.refused:
            if field in body:
                return 400, _error(f"Unrecognized request argument supplied: {field}")
        if fault in STATUSES:
            return int(fault), _error(self.message)
        if body["model"] not in self.models:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        if body.get("n", 1) > 1 and self.dialect != "vllm":
            return 400, _error("Only one completion is supported")
        # an answer that was computed once, for whatever seed
        data = self._answer({**body, "seed": 0} if fault == "same-text" else body)
        return 200, spoiled(fault, data)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            seed = len(self.bodies) if self.ignore_seed else body.get("seed", 0)
        data: dict[str, Any] = {"model": body["model"], "choices": []}
        total = 0
        for index in range(body.get("n", 1)):
            used = self._add_choice(data, body, 0 if body.get("temperature") == 0 else seed + index)
            total += used
        data["choices"].reverse()  # no server promises an order
        data["usage"] = {
            "prompt_tokens": len(tokenize(body["prompt"])),
            "completion_tokens": total,
        }
        if self.dialect == "vllm" and self.caches is not None:
            hit = self.caches and body["prompt"] in self._seen
            cached = data["usage"]["prompt_tokens"] - 1 if hit else 0
            data["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
            self._seen.add(body["prompt"])
        return data

    def _add_choice(self, data: dict[str, Any], body: dict[str, Any], seed: int) -> int:
        tokens = tokenize(self.text(body["prompt"], seed))
        limit, stops = body["max_tokens"], body.get("stop") or []
        text, used, reason, stopped_by = "", [], "length", None
        for token in [*tokens, ""]:
            if len(used) == limit:
                break
            used.append(token)
            text += token
            met = [stop for stop in stops if stop in text]
            if met:
                stopped_by = min(met, key=text.index)
                text, reason = text[: text.index(stopped_by)], "stop"
                break
            if token == "":
                reason = "stop"
        choice = {
            "index": len(data["choices"]),
            "text": text,
            "finish_reason": reason,
            "logprobs": self._logprobs(body, used),
        }
        data["choices"].append(choice)
        if self.dialect == "vllm":
            choice["stop_reason"] = stopped_by
            if body.get("return_token_ids"):
                choice["token_ids"] = [token_id(token) for token in used]
        elif self.dialect == "sglang":
            choice["matched_stop"] = stopped_by if stopped_by or reason == "length" else 2
        elif self.dialect == "llama":
            data["__verbose"] = {
                "stop_type": "limit" if reason == "length" else "word" if stopped_by else "eos"
            }
        return len(used)

    def _logprobs(self, body: dict[str, Any], used: list[str]) -> dict[str, Any] | None:
        wanted = body.get("logprobs")
        if wanted is None or (wanted == 0 and self.dialect == "llama"):
            return None
        next_tokens = self.next_tokens(body["prompt"])
        ranked = sorted(next_tokens.items(), key=lambda item: -item[1])[:wanted]
        if self.dialect == "llama":
            return {
                "content": [
                    {
                        "id": token_id(token),
                        "token": token,
                        "logprob": TOKEN_LOGPROB,
                        "top_logprobs": [
                            {"id": token_id(t), "token": t, "logprob": v} for t, v in ranked
                        ],
                    }
                    for token in used
                ]
            }
        ids = body.get("logprob_token_ids")
        if ids and self.dialect == "vllm":
            ranked = [(t, v) for t, v in next_tokens.items() if token_id(t) in ids]
        name = str
        if body.get("return_tokens_as_token_ids") and self.dialect == "vllm":
            name = lambda token: f"token_id:{token_id(token)}"  # noqa: E731
        top = {name(token): value for token, value in ranked}
        return {
            "tokens": [name(token) for token in used],
            "token_logprobs": [TOKEN_LOGPROB] * len(used),
            "top_logprobs": [top] * len(used),
        }

    def tokenization(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.dialect not in ("vllm", "llama"):
            return 404, _error("Not Found")
        text = body.get("prompt" if self.dialect == "vllm" else "content", "")
        return 200, json.dumps({"tokens": [token_id(token) for token in tokenize(text)]}).encode()

    # --- requests -------------------------------------------------------------

    def handle(self, handler: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> None:
        with self._lock:
            self.paths.append(handler.path)
            self.headers.append({key.lower(): value for key, value in handler.headers.items()})
        if body is None and handler.path == "/version" and self.dialect == "vllm":
            _reply(handler, 200, json.dumps({"version": self.version}).encode())
        elif body is None:
            known = handler.path == "/v1/models"
            owner = {"owned_by": "vllm"} if self.dialect == "vllm" else {}
            entries = [{"id": name, **owner} for name in self.models]
            models = json.dumps({"data": entries}).encode()
            _reply(handler, 200 if known else 404, models if known else _error("Not Found"))
        elif handler.path == "/tokenize":
            _reply(handler, *self.tokenization(body))
        elif handler.path == "/v1/completions":
            self._handle_completion(handler, body)
        else:
            _reply(handler, 404, _error("Not Found"))

    def _handle_completion(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            self.bodies.append(body)
            fault = self._faults.popleft() if self._faults else self._always
            if fault is None and self._share is not None:
                fault = self._share.take(body)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.delay + (0.2 if fault == "slow" else 0))
            if fault == "hang":
                self._closed.wait(10)
            if self._closed.is_set():
                return  # without an answer, as if the process were gone
            status, payload = self.completion(body, fault)
        finally:
            with self._lock:
                self._at_once -= 1
        retry_after = self.retry_after if fault in ("429", "503") else None
        _reply(handler, status, payload, retry_after, fault)


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "code": 1}}).encode()


def _reply(
    handler: BaseHTTPRequestHandler,
    status: int,
    payload: bytes,
    retry_after: str | None = None,
    fault: str | None = None,
) -> None:
    handler.close_connection |= fault in ("drop", "silent")
    if fault == "silent":
        return
    handler.send_response(status)
    if retry_after is not None:
        handler.send_header("retry-after", retry_after)
    handler.send_header("content-length", str(len(payload)))
    handler.end_headers()
    if fault == "drip":
        for byte in range(0, len(payload), 64):
            handler.wfile.write(payload[byte : byte + 64])
            time.sleep(0.002)
    else:
        handler.wfile.write(payload[: len(payload) // 2] if fault == "drop" else payload)


def _handler_of(server: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body are two writes: without this each answer waits for a delayed ACK.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._handle(None)

        def do_POST(self) -> None:
            self._handle(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _handle(self, body: dict[str, Any] | None) -> None:
            if not server._closed.is_set():
                server.handle(self, body)
            self.close_connection |= server._closed.is_set()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
