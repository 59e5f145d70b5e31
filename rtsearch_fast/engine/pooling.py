"""A reward model behind vLLM's pooling endpoints: `/classify`, and `/pooling` for single tokens.

All that is vLLM's own about them is in this file: paths, fields, tasks, and the flags that a server
must be started with. Written against vLLM 0.32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ..aio import run_apart, together
from ..errors import AnswerFormatError, EngineError
from .checks import Check, run_check
from .http.client import JsonHttp, Reply
from .http.served import ServedModel
from .pooling_protocol import ClassProbs

__all__ = ["PoolingEngine"]

#: What a server that serves the task was started with.
_FLAGS = {
    "classify": (
        '--runner pooling --pooler-config \'{"task": "classify"}\' '
        "(and --convert classify if the model is no classifier)"
    ),
    "token_classify": '--runner pooling --pooler-config \'{"task": "token_classify"}\'',
}

#: A text that any reward model can read.
_PROBE = "What is 1 + 1? 1 + 1 = 2."


class PoolingEngine:
    """A classifier behind a vLLM server; implements `Classifier` and `TokenClassifier`.

    A server serves one of the two. One event loop may use the engine at a time; connections end
    with their loop, or with `aclose`.

    Parameters
    ----------
    base_url : str
        As the OpenAI clients take it, e.g. ``http://127.0.0.1:8000/v1``.
    model : str, optional
        The served model's name; None takes the only one that the server has.
    api_key_env : str
        Environment variable that holds the API key, if the server wants one.
    timeout : float
        Seconds that one answer may take. An answer that is late is not asked for again.
    retries : int
        Further tries after a lost connection, a 429 or a 5xx.
    retry_wait : float
        Seconds before the first retry; doubled each time, with jitter.
    max_concurrency : int
        Most requests under way at once.
    patience : float
        Seconds to wait for a server that was lost after it had answered.
    """

    def __init__(
        self,
        base_url: str,
        model: str | None = None,
        *,
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 600.0,
        retries: int = 4,
        retry_wait: float = 0.5,
        max_concurrency: int = 256,
        patience: float = 300.0,
    ) -> None:
        self._http = JsonHttp(
            base_url,
            api_key_env=api_key_env,
            timeout=timeout,
            retries=retries,
            retry_wait=retry_wait,
            max_concurrency=max_concurrency,
            patience=patience,
        )
        self._served = ServedModel(self._http, model)

    @property
    def name(self) -> str:
        """The served model's name; asks the server, blocking, if none was given."""
        return self._served.name

    def task(self) -> str:
        """Return "classify" or "token_classify", whichever the server does; asks it, blocking."""
        return run_apart(self._task_alone())

    async def classify(
        self, prompts: Sequence[str | Sequence[int]], *, raw: bool = False
    ) -> list[ClassProbs]:
        """Return, per prompt, the class probabilities at its last token, or the head's numbers.

        The server finds what prompts have in common in its prefix cache.

        Parameters
        ----------
        prompts : sequence of str or of sequences of int
            Texts, or all of them as tokens.
        raw : bool

        Raises
        ------
        EngineError
            The server cannot be reached, refuses, or serves another task.
        AnswerFormatError
            The answer is of a wrong shape.
        """
        if not prompts:
            return []
        url = f"{self._http.root_url}/classify"
        data = await self._post(url, {"input": list(prompts)}, "classify", raw)
        return [_row(item.get("probs"), url) for item in _items(data, len(prompts), url)]

    async def token_classify(
        self, prompts: Sequence[str], step_tag: str | None = None, *, raw: bool = False
    ) -> list[list[ClassProbs]]:
        """Return, per prompt, a row of class probabilities for each place that is read.

        vLLM does not look into its prefix cache for this task: each prompt is computed whole.

        Parameters
        ----------
        prompts : sequence of str
        step_tag : str, optional
            The token whose places are read. A server with step pooling sends these rows only; of
            one that sends a row for each token they are picked. None returns what the server sends.
        raw : bool
            Return the head's numbers, not probabilities.

        Raises
        ------
        EngineError
            The server cannot be reached, refuses, or serves another task; the tag is not one token.
        AnswerFormatError
            The answer is of a wrong shape, or its rows belong neither to the tokens nor to the
            tags.
        """
        url = f"{self._http.root_url}/pooling"

        async def one(prompt: str) -> list[ClassProbs]:
            body = {"input": prompt, "task": "token_classify"}
            (item,) = _items(await self._post(url, body, "token_classify", raw), 1, url)
            rows = item.get("data")
            if not isinstance(rows, list):
                raise AnswerFormatError(f"{url}: data[0].data is no list of rows")
            found = [_row(row, url) for row in rows]
            if step_tag is None or len(found) == prompt.count(step_tag):
                return found
            return await self._at_tags(prompt, found, step_tag, url)

        return await together(one(prompt) for prompt in prompts)

    async def probe(self, task: str = "classify") -> list[Check]:
        """Check the server: "models", and the task ("classify" or "token_classify")."""

        async def answer() -> tuple[bool, str]:
            if task == "classify":
                rows = await self.classify([_PROBE])
            else:
                (rows,) = await self.token_classify([_PROBE])
            if not rows:  # step pooling, and no tag in the text
                return True, "answers"
            return True, f"{len(rows[0])} classes, " + ", ".join(f"{p:.3f}" for p in rows[0])

        checks = [await run_check("models", self._served.verdict)]
        if checks[0].ok:
            checks.append(await run_check(task, answer))
        return checks

    async def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text; nothing is added.

        Raises
        ------
        EngineError
            The server has no `/tokenize`.
        """
        tokens = await self._tokenize(text)
        if tokens is None:
            raise EngineError(
                f"{self._http.root_url} has no /tokenize, without which steps cannot be tokenised "
                "apart: run the model in this process, or under vLLM"
            )
        return tokens

    async def aclose(self) -> None:
        """Close the connections. Sharing is safe: a later request opens new ones."""
        await self._http.aclose()

    async def _task_alone(self) -> str:
        http = self._http.fresh()
        try:
            model = await ServedModel(http, self._served.given).get()
            body = {"model": model, "input": [_PROBE]}
            reply = await http.send("POST", f"{http.root_url}/classify", body)
            return "token_classify" if _serves_another_task(reply) else "classify"
        finally:
            await http.aclose()

    async def _at_tags(
        self, prompt: str, rows: list[ClassProbs], step_tag: str, url: str
    ) -> list[ClassProbs]:
        """Pick the rows of the tags out of one row for each token."""
        tag = await self._tokenize(step_tag)
        if tag is not None and len(tag) != 1:
            raise EngineError(
                f"the step tag {step_tag!r} is {len(tag)} tokens of {await self._served.get()}: "
                "give the one that the model was trained with"
            )
        tokens = None if tag is None else await self._tokenize(prompt)
        if tag is not None and tokens is not None and len(tokens) == len(rows):
            return [row for row, token in zip(rows, tokens, strict=True) if token == tag[0]]
        pooling = json.dumps(
            {
                "task": "token_classify",
                "tok_pooling_type": "STEP",
                "step_tag_id": tag[0] if tag else f"the id of {step_tag}",
            }
        )
        raise AnswerFormatError(
            f"{url}: {len(rows)} rows came for {prompt.count(step_tag)} step tags {step_tag!r}: "
            f"start vLLM with --runner pooling --pooler-config '{pooling}'"
        )

    async def _tokenize(self, text: str) -> list[int] | None:
        """Return the token ids of a text; None where the server has no `/tokenize`."""
        reply = await self._http.send(
            "POST",
            f"{self._http.root_url}/tokenize",
            {"model": await self._served.get(), "prompt": text, "add_special_tokens": False},
        )
        tokens = self._http.read(reply).get("tokens") if reply.ok else None
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            return None
        return tokens

    async def _post(self, url: str, body: dict[str, Any], task: str, raw: bool) -> dict[str, Any]:
        model = await self._served.get()
        # nothing is put before the prompt
        how = {"add_special_tokens": False, "use_activation": not raw}
        reply = await self._http.send("POST", url, {"model": model, **body, **how})
        if _serves_another_task(reply):
            raise EngineError(
                f"{url}: {model} is not served for {task}: start vLLM with {_FLAGS[task]}"
            )
        return self._http.read(reply)


def _serves_another_task(reply: Reply) -> bool:
    """Whether the server runs, but not for this task."""
    if reply.status == 501:
        return True
    words = reply.body.decode("utf-8", "replace")
    if reply.status == 404:  # of the path: that of a model says that it does not exist
        return "Not Found" in words
    return reply.status == 400 and ("pooling_task" in words or "Unsupported task" in words)


def _items(data: dict[str, Any], count: int, url: str) -> list[dict[str, Any]]:
    """The entries of an answer, one a prompt, in the order of the prompts."""
    items = data.get("data")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise AnswerFormatError(f"{url}: the answer has no list `data`")
    if [item.get("index") for item in items] != list(range(count)):
        raise AnswerFormatError(
            f"{url}: {len(items)} entries came for {count} prompts, or not in their order"
        )
    return items


def _row(values: object, url: str) -> ClassProbs:
    """One row of numbers; null, which is how JSON has to write NaN, is NaN."""
    if not isinstance(values, list) or not all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in values
    ):
        raise AnswerFormatError(f"{url}: a row of the answer is no list of numbers")
    try:
        return tuple(math.nan if value is None else float(value) for value in values)
    except OverflowError:
        raise AnswerFormatError(f"{url}: a number of the answer is too large") from None
