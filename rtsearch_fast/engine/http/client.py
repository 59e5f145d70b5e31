"""JSON over HTTP to one server: retries, one-line errors, and no secret in any of them."""

from __future__ import annotations

import asyncio
import base64
import copy
import importlib
import json
import logging
import math
import os
import random
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from ...errors import AnswerFormatError, EngineError, InvalidArgumentError, MissingExtraError

__all__ = ["JsonHttp", "Reply"]

_log = logging.getLogger(__name__)

#: Longest wait between two tries, in seconds, whatever a Retry-After header asks for.
_LONGEST_WAIT = 60.0
#: Longest piece of a server's own message that is passed on.
_LONGEST_MESSAGE = 300
#: Most bytes of one answer: 600,000 tokens with their log-probabilities are no more.
_LARGEST_ANSWER = 64 << 20
#: Most bytes that are read of a refusal.
_LARGEST_REFUSAL = 64 << 10

#: What a proxy says when the server behind it is gone.
_GONE = (502, 503, 504)
#: Seconds between two looks whether a lost server is back: the first and the longest.
_LOOK, _LONGEST_LOOK = 0.25, 5.0

_REMEDIES = {
    **dict.fromkeys((301, 302, 303, 307, 308), "the server redirects: check the base URL"),
    401: "put the key into the environment variable {api_key_env}",
    403: "put a key that may use this model into the environment variable {api_key_env}",
    404: "check the model's name and the base URL (it usually ends in /v1)",
    405: "check the base URL (it usually ends in /v1)",
    413: "the prompt is longer than the server accepts",
    429: "the server is overloaded: lower the concurrency",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered, whatever its status below 500.

    Attributes
    ----------
    url : str
        Where it came from, fit to be shown.
    status : int
    body : bytes
    """

    url: str
    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class _LostError(EngineError):
    """The server cannot be reached any more."""


class _BusyError(Exception):
    """The server asks to come back later, or fails in a way that may pass."""

    def __init__(self, reply: Reply, retry_after: bool | float) -> None:
        super().__init__(reply.status)  # not the body, which may repeat the key: retries are logged
        self.reply = reply
        self.retry_after = retry_after


class JsonHttp:
    """A connection pool to one server. Until `aclose` it belongs to the loop that used it first.

    Parameters
    ----------
    base_url : str
        As the OpenAI clients take it, e.g. ``http://127.0.0.1:8000/v1``; a bare host gets ``/v1``.
        A user name and password in it are sent, and never shown.
    api_key_env : str
        Environment variable with the key. Keys are read from nowhere else.
    timeout : float
        Seconds that one answer may take.
    retries : int
        Further tries after a lost connection, a 429 or a 5xx.
    retry_wait : float
        Seconds before the first retry; doubled each time, with jitter of the same size.
    max_concurrency : int
        Most requests under way at once.
    patience : float
        Seconds to wait for a server that has answered before and then was lost. What was under way
        is asked again when it is back.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key_env: str,
        timeout: float,
        retries: int,
        retry_wait: float,
        max_concurrency: int,
        patience: float,
    ) -> None:
        for name, value, least in (
            ("timeout", timeout, 1e-3),
            ("retries", retries, 0),
            ("retry_wait", retry_wait, 0),
            ("patience", patience, 0),
            ("max_concurrency", max_concurrency, 1),
        ):
            if not (least <= value < math.inf):
                raise InvalidArgumentError(f"{name}={value}: must be at least {least}")
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            parts = None
        if (
            parts is None
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
        ):
            # The URL is not repeated: what cannot be parsed cannot be redacted either.
            raise InvalidArgumentError(
                "the base URL cannot be used: give it as http://host:port/v1, without a query"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        where = host if port is None else f"{host}:{port}"
        path = parts.path.rstrip("/") or "/v1"
        self.base_url = urlunsplit((parts.scheme, where, path, "", ""))
        #: Servers keep what OpenAI does not have, such as /tokenize, above /v1.
        self.root_url = self.base_url.removesuffix("/v1")
        # Looked up once: the HTTP client would do it for each request, on a thread.
        self._proxy = None if proxy_bypass(where) else getproxies().get(parts.scheme)
        self._api_key_env = api_key_env
        self._api_key = os.environ.get(api_key_env, "").strip()
        password, self._basic = unquote(parts.password or ""), ""
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{password}"
            self._basic = base64.b64encode(credentials.encode()).decode()
        #: What a server may repeat, as it was given and as it was sent; the longest first.
        secrets = {self._api_key, password, parts.password or "", self._basic} - {""}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._timeout = timeout
        self._tries = retries + 1
        self._retry_wait = retry_wait
        self._max_concurrency = max_concurrency
        self._patience = patience
        self._answered = False
        #: Counts the times that the server came back; began: when it was lost, if it is.
        self._returns = 0
        self._lost_at: float | None = None
        self._session: Any = None
        self._turn: asyncio.Semaphore
        self._looking: asyncio.Lock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closer: AsyncGenerator[None, None]

    async def send(self, method: str, url: str, body: object = None) -> Reply:
        """Send one request, again if that may help, and return the answer unread.

        Raises
        ------
        EngineError
            No answer, or none but 429 and 5xx.
        """
        content = None if body is None else json.dumps(body).encode("ascii")
        for losses in count(1):
            returns = self._returns
            try:
                reply = await self._try(method, url, content)
            except _LostError as error:
                # a request that loses the server each time it is asked may be the reason
                if not self._is_patient or losses > self._tries:
                    raise EngineError(str(error)) from None
                await self._wait_until_back(returns)
            else:
                self._answered = True
                return reply
        raise AssertionError  # a count has no end

    @property
    def _is_patient(self) -> bool:
        # A server that never answered is more likely a wrong address.
        return self._answered and self._patience > 0

    async def _try(self, method: str, url: str, content: bytes | None) -> Reply:
        """Send one request, and again after failures that usually pass quickly."""
        aiohttp, stamina = _require("aiohttp"), _require("stamina")

        def should_retry(error: Exception) -> bool | float:
            if isinstance(error, _BusyError):
                return error.retry_after
            if isinstance(error, aiohttp.ClientConnectorError) and self._is_patient:
                return False  # it is gone: one looks out for it, the others wait
            # A late answer is not asked for again: the server would begin the same long work anew.
            return isinstance(error, aiohttp.ClientError)

        try:
            async for attempt in stamina.retry_context(
                on=should_retry,
                attempts=self._tries,
                timeout=None,
                wait_initial=self._retry_wait,
                wait_jitter=self._retry_wait,
                wait_max=_LONGEST_WAIT,
            ):
                with attempt:
                    reply = await self._once(aiohttp, method, url, content)
        except _BusyError as error:
            reply = error.reply
            kind = _LostError if reply.status in _GONE else EngineError
            raise kind(str(self.refusal(reply))) from None
        except aiohttp.ClientError as error:
            raise _LostError(
                f"{url}: {self._one_line(_words_of(error))} "
                f"(tries: {self._tries}): is the server running? "
                f"Check it with `rtsearch doctor --base-url {self.base_url}`"
            ) from None
        except asyncio.TimeoutError:
            raise EngineError(
                f"{url}: no answer within {self._timeout:g} s: raise the timeout, or lower the "
                "concurrency"
            ) from None
        return reply

    async def _once(
        self, aiohttp: ModuleType, method: str, url: str, content: bytes | None
    ) -> Reply:
        session = await self._open(aiohttp)
        async with (
            self._turn,
            session.request(
                method, url, data=content, allow_redirects=False, proxy=self._proxy
            ) as response,
        ):
            reply = Reply(url, response.status, await self._body(response, url))
            if reply.status == 429 or (reply.status >= 500 and reply.status != 501):
                raise _BusyError(reply, _retry_after(response.headers))
            return reply

    async def _body(self, response: Any, url: str) -> bytes:
        """Read what was sent, and no more of it than an answer can have."""
        coding = response.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":  # a few bytes may stand for gigabytes
            if response.status >= 400:
                return b""  # a proxy's page on an error: the status tells enough
            raise AnswerFormatError(
                f"{url}: the answer is compressed ({self._one_line(coding)[:40]}), which nobody "
                "asked for: switch compression off at the server or the proxy"
            )
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if response.status >= 400 and size > _LARGEST_REFUSAL:
                break  # its beginning tells why
            if size > _LARGEST_ANSWER:
                raise AnswerFormatError(
                    f"{url}: the answer is larger than {_LARGEST_ANSWER >> 20} MiB, more than any "
                    "that was asked for: check what runs there"
                )
        return b"".join(parts)

    async def _wait_until_back(self, returns: int) -> None:
        """Wait for a lost server, unless it came back since the count was `returns`.

        Raises
        ------
        EngineError
            It stays away.
        """
        async with self._looking:  # whoever holds it looks for all
            if self._returns > returns:
                return
            if self._lost_at is None:
                if await self._is_back():  # only a connection was lost
                    self._returns += 1
                    return
                self._lost_at = time.monotonic()
                _log.warning(
                    "%s is lost; waiting for it, up to %g s", self.base_url, self._patience
                )
            pause = _LOOK
            while not await self._is_back():
                away = time.monotonic() - self._lost_at
                if away >= self._patience:
                    raise EngineError(
                        f"{self.base_url} was lost and is not back after {away:.0f} s: start it "
                        "again, then go on with --resume; what was finished before is kept"
                    )
                await asyncio.sleep(min(pause, self._patience - away) * random.uniform(0.75, 1))
                pause = min(2 * pause, _LONGEST_LOOK)
            away = time.monotonic() - self._lost_at
            _log.warning("%s is back after %.1f s", self.base_url, away)
            self._returns += 1
            self._lost_at = None

    async def _is_back(self) -> bool:
        aiohttp = _require("aiohttp")
        session = await self._open(aiohttp)
        timeout = aiohttp.ClientTimeout(total=5.0)
        try:
            async with session.get(
                f"{self.base_url}/models",
                timeout=timeout,
                proxy=self._proxy,
                allow_redirects=False,  # the key is for this server alone
            ) as response:
                return bool(response.status < 500)
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return False

    async def json(self, method: str, url: str, body: object = None) -> dict[str, Any]:
        """Send a request and return the JSON object of a successful answer."""
        return self.read(await self.send(method, url, body))

    def read(self, reply: Reply) -> dict[str, Any]:
        """Return the JSON object of an answer.

        Raises
        ------
        EngineError
            The server refused.
        AnswerFormatError
            The body is no JSON object, or holds NaN or an infinity, which JSON does not have.
        """
        if not reply.ok:
            raise self.refusal(reply)
        try:
            data = json.loads(reply.body, parse_constant=_reject_constant)
        except (ValueError, RecursionError) as error:
            raise AnswerFormatError(
                f"{reply.url}: the answer is not JSON: {self._one_line(str(error))}"
            ) from None
        if not isinstance(data, dict):
            raise AnswerFormatError(f"{reply.url}: the answer is no JSON object")
        return data

    def refusal(self, reply: Reply) -> EngineError:
        """Put a refusal into one line: status, the server's own words, what to do."""
        remedy = _REMEDIES.get(reply.status, "").format(api_key_env=self._api_key_env)
        words = self._one_line(_server_message(reply.body))
        return EngineError(
            f"{reply.url}: status {reply.status}"
            + (f": {words}" if words else "")
            + (f": {remedy}" if remedy else "")
        )

    def fresh(self) -> JsonHttp:
        """Return a client with the same settings and no connections, for another event loop."""
        twin = copy.copy(self)
        twin._session = None
        return twin

    async def aclose(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    async def _open(self, aiohttp: ModuleType) -> Any:
        if self._session is None or self._loop is not asyncio.get_running_loop():
            headers = {"content-type": "application/json", "accept-encoding": "identity"}
            if self._basic:
                headers["authorization"] = f"Basic {self._basic}"
            elif self._api_key:
                headers["authorization"] = f"Bearer {self._api_key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                # Of the whole answer: one that comes byte by byte has no longer.
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout, sock_connect=min(self._timeout, 10.0)
                ),
                auto_decompress=False,
                connector=aiohttp.TCPConnector(limit=self._max_concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_request_class(aiohttp),
            )
            # A semaphore belongs to an event loop as the connections do.
            self._turn = asyncio.Semaphore(self._max_concurrency)
            self._looking = asyncio.Lock()
            self._loop = asyncio.get_running_loop()
            # asyncio.run closes the generators of its loop before it closes the loop.
            self._closer = _close_with_loop(self._session)
            await anext(self._closer)
        return self._session

    def _one_line(self, text: str) -> str:
        """Make foreign text safe to show: one line, no control characters, no key, not long."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 3] + "..."


async def _close_with_loop(session: Any) -> AsyncGenerator[None, None]:
    """Close a session when its event loop ends, for callers that never say `aclose`."""
    try:
        yield
    finally:
        await session.close()


def _request_class(aiohttp: ModuleType) -> Any:
    """Requests that go over no connection on which something came that nobody asked for.

    A server or proxy that sends an answer twice would have the second taken for that of the next
    request, and so on, each a wrong text for its prompt.
    """

    class Request(aiohttp.ClientRequest):  # type: ignore[misc, name-defined]
        async def send(self, conn: Any) -> Any:
            if conn.protocol is None or conn.protocol.should_close:
                raise aiohttp.ServerDisconnectedError("the server sent what nobody asked for")
            return await super().send(conn)

    return Request


def _require(module: str) -> ModuleType:
    """Import on first use, so that the package needs no HTTP client until it talks HTTP."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(
            f'talking to a model server needs {module}: pip install "rtsearch-fast[cli]"'
        ) from None


def _words_of(error: Exception) -> str:
    """What went wrong with a connection, without what the server had written until then."""
    text = str(error)
    # aiohttp shows the head of an answer that broke off, headers and all
    return type(error).__name__ if not text or "RawResponseMessage" in text else text


def _retry_after(headers: Mapping[str, str]) -> bool | float:
    """Seconds that the server asks for; True leaves the wait to the usual back-off."""
    wanted = headers.get("retry-after", "")
    try:
        seconds = float(wanted)
    except ValueError:
        try:
            # The server's clock is asked what time it is there: this one may be wrong, or jump.
            there = parsedate_to_datetime(headers.get("date", ""))
            seconds = (parsedate_to_datetime(wanted) - there).total_seconds()
        except (ValueError, TypeError):
            return True
    return min(seconds, _LONGEST_WAIT) if seconds >= 0 else True


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _server_message(body: bytes) -> str:
    """Find the sentence in an error body; servers nest it in several ways."""
    text = body.decode("utf-8", "replace")
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for key in ("error", "message", "detail"):
        if isinstance(data, dict) and data.get(key):
            data = data[key]
    return data if isinstance(data, str) else json.dumps(data)
