"""An engine over any OpenAI-compatible server: vLLM, SGLang, llama.cpp, and others.

Only `/v1/completions` is used, with plain text: chat endpoints apply a template of their own, which
strips and re-wraps a half-written solution.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..aio import together
from ..errors import AnswerFormatError, EngineError, InvalidArgumentError
from .checks import Check, check_engine, run_check
from .http.client import JsonHttp
from .http.served import ServedModel
from .http.wire import read_next_tokens, read_prompt_usage, read_samples, tells_stop_from_eos
from .protocol import CompletionRequest, EngineStats, LabelLogprobs, Sample, seed_runs
from .server.settings import OLDEST

__all__ = ["CompletionsEngine"]

_log = logging.getLogger(__name__)

#: Fields that OpenAI's API does not have. Servers add a beginning-of-text token and sampling
#: filters of their own unless told not to; the prompt and the request already say all.
_PLAIN_SAMPLING = {
    "add_special_tokens": False,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
#: Fields that a strict server may refuse; it is then asked without, from then on. Samples can do
#: without log-probabilities too, labels cannot.
_OPTIONAL = (*_PLAIN_SAMPLING, "seed", "logprob_token_ids", "return_tokens_as_token_ids")
_OPTIONAL_FOR_SAMPLES = (*_OPTIONAL, "logprobs")


class CompletionsEngine:
    """A model behind an OpenAI-compatible `/v1/completions`.

    One event loop may use it at a time; connections end with their loop, or with `aclose`.

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
        Seconds to wait for a server that was lost after it had answered; what was under way is
        asked again when it is back.
    token_ids : bool
        Ask for the ids of generated tokens, too (vLLM).
    top_logprobs : int
        How many alternatives `label_logprobs` asks for where the server cannot be asked for the
        labels themselves.
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
        token_ids: bool = False,
        top_logprobs: int = 20,
    ) -> None:
        if top_logprobs < 1:
            raise InvalidArgumentError(f"top_logprobs={top_logprobs}: must be at least 1")
        self._http = JsonHttp(
            base_url,
            api_key_env=api_key_env,
            timeout=timeout,
            retries=retries,
            retry_wait=retry_wait,
            max_concurrency=max_concurrency,
            patience=patience,
        )
        self._url = f"{self._http.base_url}/completions"
        self._model = ServedModel(self._http, model)
        self._wants_ids = token_ids
        self._top_logprobs = top_logprobs
        #: Work done so far; `cached_tokens` only where the server tells it.
        self.stats = EngineStats()
        #: Whether it does, as far as its answers show.
        self.tells_cache = False
        self._refused: set[str] = set()
        self._label_ids: dict[str, int | None] = {}

    @cached_property
    def name(self) -> str:
        """The served model's name; asks the server, blocking, if none was given."""
        return self._model.name

    async def complete(self, request: CompletionRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds.

        Raises
        ------
        EngineError
            The server cannot be reached, refuses, or keeps failing.
        AnswerFormatError
            The answer is truncated or of a wrong shape.
        """
        vllm = await self._model.is_vllm()
        body: dict[str, Any] = {
            "model": await self._model.get(),
            "prompt": request.prompt if isinstance(request.prompt, str) else list(request.prompt),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            # The log-probability of the token itself; 0 means "none" to llama.cpp.
            "logprobs": 0 if vllm else 1,
            **_PLAIN_SAMPLING,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if vllm and self._wants_ids:
            body["return_token_ids"] = True

        async def run(seed: int, count: int) -> list[Sample]:
            more = {"seed": seed} if count == 1 else {"seed": seed, "n": count}
            data = await self._post({**body, **more}, _OPTIONAL_FOR_SAMPLES)
            samples = read_samples(data, self._url, count, with_stop=bool(request.stop), exact=vllm)
            self._count(data, sum(sample.num_tokens for sample in samples))
            return samples

        # The API has one seed a request. vLLM draws sample i of a request with n > 1 from seed + i,
        # as it would alone; elsewhere each seed is a request of its own. Sent together, they are
        # batched by the server and find their common prompt in its prefix cache.
        runs = (
            seed_runs(request.seeds)
            if vllm and request.temperature
            else [(seed, 1) for seed in request.seeds]
        )
        return [sample for part in await together(run(*r) for r in runs) for sample in part]

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> Sequence[LabelLogprobs]:
        """Return, per prompt, the log-probability of each label as the next token.

        A server with `/tokenize` is asked for the labels by id, which is exact (vLLM). Any other
        tells its most likely tokens only: a label that is not among them is NaN, never a guess.

        Raises
        ------
        EngineError
            A label is not one token, or the server does not answer.
        """
        model = await self._model.get()
        ids = await self._tokenize_labels(labels)
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": self._top_logprobs,
            **_PLAIN_SAMPLING,
        }
        if None not in ids:
            # Ids in place of texts: two tokens can have the same text.
            body |= {"logprob_token_ids": ids, "return_tokens_as_token_ids": True}

        async def one(prompt: str) -> LabelLogprobs:
            data = await self._post({**body, "prompt": prompt})
            found = read_next_tokens(data, self._url)
            self._count(data, 1)
            return tuple(
                found.get(f"token_id:{token_id}", found.get(label, math.nan))
                for label, token_id in zip(labels, ids, strict=True)
            )

        return await together(one(prompt) for prompt in prompts)

    async def probe(self, labels: tuple[str, ...] = ("Yes", "No")) -> list[Check]:
        """Check the server: "models", "version" of vLLM, those of `check_engine`, and two more.

        These are "end of text" and "prefix cache".
        """

        async def end_of_text() -> tuple[bool, str]:
            data = await self._post(
                {"model": await self._model.get(), "prompt": "1 2 3", "max_tokens": 1}
            )
            if tells_stop_from_eos(data, self._url):
                return True, "told apart from a stop string"
            return False, (
                "not told apart from a stop string: each finished solution costs one more request"
            )

        async def prefix_cache() -> tuple[bool, str]:
            # Other servers' caches may have seen a fixed text before, so the first words are new.
            text = f"{time.time_ns()}: " + "one two three four five six seven eight nine ten " * 40
            for _ in range(2):
                before = self.stats
                await self.complete(CompletionRequest(text, (0,), 1))
            cached = self.stats.cached_tokens - before.cached_tokens
            prompt = self.stats.prompt_tokens - before.prompt_tokens
            if cached:
                return True, f"{cached} of {prompt} tokens of a prompt that was asked before"
            if not self.tells_cache:
                how = "; with vLLM's --enable-prompt-tokens-details it does"
                return True, f"the server does not tell{how if await self._model.is_vllm() else ''}"
            return False, (
                f"none of {prompt} tokens of a prompt that was asked before: a tree search then "
                "computes each prompt anew; start the server with prefix caching"
            )

        async def version() -> tuple[bool, str]:
            answer = await self._http.json("GET", f"{self._http.root_url}/version")
            told = str(answer.get("version"))
            numbers = tuple(int(number) for number in re.findall(r"\d{1,9}", told)[:2])
            if numbers < OLDEST and ".dev" not in told:
                oldest = ".".join(map(str, OLDEST))
                return False, f"vLLM {told}: older than {oldest}, whose answers are understood"
            return True, f"vLLM {told}"

        checks = [await run_check("models", self._model.verdict)]
        if checks[0].ok and await self._model.is_vllm():
            checks.append(await run_check("version", version))
        checks += await check_engine(self, labels)
        if checks[-1].name != "generation":
            checks.append(await run_check("end of text", end_of_text))
            checks.append(await run_check("prefix cache", prefix_cache))
        return checks

    async def aclose(self) -> None:
        """Close the connections. Sharing is safe: a later request opens new ones."""
        await self._http.aclose()

    async def _post(
        self, body: dict[str, Any], optional: tuple[str, ...] = _OPTIONAL
    ) -> dict[str, Any]:
        """Ask for completions, without the optional fields that this server refuses."""
        body = {
            key: value
            for key, value in body.items()
            if key not in self._refused or key not in optional
        }
        dropped = []
        while True:
            reply = await self._http.send("POST", self._url, body)
            if reply.status not in (400, 422):
                break
            words = reply.body.decode("utf-8", "replace")
            named = [key for key in optional if key in body and re.search(rf"\b{key}\b", words)]
            if not named:
                break
            for key in named:
                del body[key]
            dropped += named
        data = self._http.read(reply)
        # Remembered only now: had the request failed without them too, they were not the reason.
        for key in set(dropped) - self._refused:
            self._refused.add(key)
            _log.warning("%s does not accept %r: it is no longer sent", self._url, key)
        return data

    def _count(self, data: dict[str, Any], generated: int) -> None:
        prompt, cached = read_prompt_usage(data)
        self.tells_cache |= cached is not None
        stats = self.stats
        self.stats = EngineStats(
            stats.prompt_tokens + prompt,
            stats.cached_tokens + (cached or 0),
            stats.generated_tokens + generated,
        )

    async def _tokenize_labels(self, labels: tuple[str, ...]) -> list[int | None]:
        """Return the token id of each label; None where the server has no `/tokenize`."""
        for label in labels:
            if label not in self._label_ids:
                self._label_ids[label] = await self._tokenize_label(label)
        return [self._label_ids[label] for label in labels]

    async def _tokenize_label(self, label: str) -> int | None:
        url = f"{self._http.root_url}/tokenize"
        # vLLM and SGLang read "prompt", llama.cpp "content".
        reply = await self._http.send(
            "POST",
            url,
            {
                "model": await self._model.get(),
                "prompt": label,
                "content": label,
                "add_special_tokens": False,
            },
        )
        try:
            tokens = self._http.read(reply).get("tokens") if reply.ok else None
        except AnswerFormatError:
            tokens = None
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            return None
        if len(tokens) != 1:
            raise EngineError(
                f"the label {label!r} is {len(tokens)} tokens of {self.name}: choose labels that "
                "are one token each"
            )
        return int(tokens[0])
