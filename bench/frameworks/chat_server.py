"""A chat server that adds numbers, for running frameworks without a model.

It speaks `/v1/chat/completions` like vLLM (a last message of the assistant is continued, ends are
told from stop strings) or like OpenAI (neither). Asked for the sum of the numbers in the last
message, it adds one a step and slips now and then; asked to judge, it sees most slips. Answers
depend on the request, its seed and how often it came before, on nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ChatServer", "chance", "judge", "solve_on"]


def chance(*of: object) -> float:
    """A number in [0, 1) that depends on what it is of."""
    digest = hashlib.blake2b(repr(of).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def solve_on(problem: str, written: str, luck: object) -> str:
    """The rest of a solution that goes on from what is written, a blank line after each step."""
    numbers = [int(word) for word in re.findall(r"\d+", problem)]
    done = re.findall(r"= (\d+)", written)
    value, rest = (int(done[-1]) if done else numbers[0]), numbers[1 + len(done) :]
    steps = []
    for number in rest:
        slip = chance(problem, written, luck, len(steps)) < 0.15
        steps.append(f"{value} + {number} = {value + number + slip}")
        value += number + slip
    return "\n\n".join([*steps, f"The sum is \\boxed{{{value}}}."])


def judge(text: str) -> float:
    """How right a solution looks, in (0, 1); slips are overlooked one time in ten."""
    slips = sum(
        int(a) + int(b) != int(c) for a, b, c in re.findall(r"(\d+) \+ (\d+) = (\d+)", text)
    )
    seen = slips > 0 and chance(text) > 0.1
    return 0.05 + 0.2 * chance(text, "noise") if seen else 0.7 + 0.25 * chance(text, "noise")


class ChatServer:
    """Serves on a free port of this machine, from `with` to its end.

    Parameters
    ----------
    owner : str
        What `/v1/models` says: "vllm" continues messages, any other does not.
    logprobs : bool
        Tell the most likely first tokens when asked.

    Attributes
    ----------
    status : int
        Of all answers; another than 200 leaves them empty.
    requests : list of dict
        The bodies of all requests.
    seconds : float
        While at least one request was being answered.
    """

    def __init__(self, owner: str = "vllm", *, logprobs: bool = True) -> None:
        self.owner = owner
        self.logprobs = logprobs
        self.status = 200
        self.requests: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._under_way = 0
        self._since = 0.0

    def __enter__(self) -> ChatServer:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count the time until the end as spent on an answer."""
        with self._lock:
            if self._under_way == 0:
                self._since = time.perf_counter()
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if self._under_way == 0:
                    self.seconds += time.perf_counter() - self._since

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        key = json.dumps({k: v for k, v in body.items() if k != "n"}, sort_keys=True)
        with self._lock:
            self.requests.append(body)
            before = self._times[key]
            self._times[key] += body.get("n") or 1
        choices, tokens = [], 0
        for i in range(body.get("n") or 1):
            luck = (body["seed"] + i,) if body.get("seed") is not None else (before + i,)
            choice, count = self._choice(body, i, luck)
            choices.append(choice)
            tokens += count
        usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        return {
            "id": "chat",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }

    def _choice(self, body: dict[str, Any], index: int, luck: object) -> tuple[dict[str, Any], int]:
        messages = body["messages"]
        last = messages[-1]["content"]
        choice: dict[str, Any] = {"index": index, "logprobs": None}
        if "Yes or No" in last:
            right = judge(last)
            text, reason, stop = ("Yes" if right > 0.5 else "No"), "length", None
            if self.logprobs and body.get("logprobs"):
                tokens = [("Yes", math.log(right)), ("No", math.log(1 - right))]
                top = [{"token": t, "logprob": p, "bytes": None} for t, p in tokens]
                top.sort(key=lambda entry: -entry["logprob"])
                choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        elif "Rate the above" in last:
            text, reason, stop = f"{10 * judge(messages[-2]['content']):.2f}", "stop", None
        elif "scale from 0 to 1" in last:
            text, reason, stop = f"{judge(messages[-2]['content']):.2f}", "stop", None
        elif "user ask or say next" in last:
            text, reason, stop = "Please go on.", "stop", None
        elif re.search(r"\d", last) is None:
            text, reason, stop = "I can only add.", "stop", None
        else:
            text, reason, stop = self._solution(body, luck)
        words = re.findall(r"\S+\s*|\s+", text)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or sys.maxsize
        count = len(words) + (reason == "stop")
        if count > limit:
            text, reason, stop, count = "".join(words[:limit]), "length", None, limit
        choice["message"] = {"role": "assistant", "content": text}
        choice["finish_reason"] = reason
        if self.owner == "vllm":
            choice["stop_reason"] = stop
        return choice, count

    def _solution(self, body: dict[str, Any], luck: object) -> tuple[str, str, str | None]:
        messages, written = body["messages"], ""
        if self.owner == "vllm" and body.get("continue_final_message"):
            written = messages[-1]["content"]
            messages = messages[:-1]
        text = solve_on(messages[-1]["content"], written, luck)
        stops = body.get("stop") or []
        for stop in [stops] if isinstance(stops, str) else stops:
            if stop in text:
                return text[: text.index(stop)], "stop", stop
        return text, "stop", None


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # headers and body go out together
        wbufsize = -1

        def do_GET(self) -> None:
            known = self.path == "/v1/models"
            models = [{"id": "adder", "object": "model", "created": 0, "owned_by": server.owner}]
            self._send({"object": "list", "data": models if known else []}, 200 if known else 404)

        def do_POST(self) -> None:
            with server.busy():
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self._send(server.answer(body), 200)

        def _send(self, answer: dict[str, Any], status: int) -> None:
            data = json.dumps(answer if server.status == 200 else {}).encode()
            self.send_response(status if server.status == 200 else server.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
