"""A model behind a blocking OpenAI client: its solutions, and its judgement of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ...aio import all_of
from ...engine.protocol import LabelLogprobs
from ...errors import AnswerFormatError
from ...policy.protocol import SampleRequest
from ..foreign import Continuation, why_ended

__all__ = ["ChatJudge", "ChatWriter", "continues_messages", "tells_labels"]

_OWNERS = ("vllm", "sglang")
_LABELS = ("Yes", "No")

#: Statuses by which a server says that it does not know a path or a field.
_REFUSALS = (400, 404, 405, 422, 501)
#: What is known of (server, model, what): servers are asked once.
_known: dict[tuple[str, str, str], bool] = {}


class ChatWriter:
    """Writes the answer to a conversation, from its beginning or on from what is written.

    Parameters
    ----------
    client : openai.OpenAI, or what looks like it
    model : str
    messages : list of dict
        The conversation, for the API.
    continues : bool
        The server continues a last message of the assistant as vLLM does, and takes seeds.
    limit_name : str
        The API's name for most tokens.
    **settings
        Passed on with each request.
    """

    def __init__(
        self,
        client: Any,
        model: str,
        messages: Sequence[dict[str, Any]],
        *,
        continues: bool,
        limit_name: str = "max_tokens",
        **settings: Any,
    ) -> None:
        self._client = client
        self._messages = list(messages)
        self._continues = continues
        self._limit_name = limit_name
        self._settings = {"model": model, **settings}

    def __call__(self, request: SampleRequest) -> list[Continuation]:
        """One continuation; blocks."""
        messages = list(self._messages)
        more: dict[str, Any] = {}
        written = "".join(request.steps)
        if messages and messages[-1].get("role") == "assistant":
            written = (messages.pop()["content"] or "") + written
        if written:
            messages.append({"role": "assistant", "content": written})
            more["extra_body"] = {"continue_final_message": True, "add_generation_prompt": False}
        if self._continues:
            more["seed"] = request.seeds[0]
        if request.stop:
            more["stop"] = list(request.stop)
        if request.top_p < 1:
            more["top_p"] = request.top_p
        response = self._client.chat.completions.create(
            messages=messages,
            temperature=request.temperature,
            **{self._limit_name: request.max_tokens},
            **self._settings,
            **more,
        )
        choice = _choice(response)
        usage = getattr(response, "usage", None)
        text = choice["message"].get("content") or ""
        tokens = getattr(usage, "completion_tokens", None)
        return [
            Continuation(
                text, min(tokens, request.max_tokens) if tokens else None, why_ended(choice)
            )
        ]


class ChatJudge:
    """Reads how likely a chat model's next token is one label or the other.

    Parameters
    ----------
    client : openai.OpenAI, or what looks like it
    model : str
    threads : int
        Most questions at once.
    """

    def __init__(self, client: Any, model: str, threads: int) -> None:
        self.name = f"chat/{model}"
        self._client = client
        self._model = model
        self._pool = ThreadPoolExecutor(threads, "rtsearch-judge")

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> Sequence[LabelLogprobs]:
        """Return, per prompt, the log-probability of each label; NaN for one that is not told."""
        asked = (self._client, self._model, labels)
        futures = [self._pool.submit(_read_labels, *asked, prompt) for prompt in prompts]
        return await all_of(futures)

    async def aclose(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _read_labels(client: Any, model: str, labels: tuple[str, ...], prompt: str) -> LabelLogprobs:
    response = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=1,
        temperature=0,
        logprobs=True,
        top_logprobs=20,
    )
    content = (_choice(response).get("logprobs") or {}).get("content") or [{}]
    found: dict[str, float] = {}
    for entry in content[0].get("top_logprobs") or []:
        # with a blank before it or without, it is the same word; the likeliest comes first
        found.setdefault(entry["token"].strip(), entry["logprob"])
    return tuple(found.get(label, math.nan) for label in labels)


def continues_messages(client: Any, model: str) -> bool:
    """Whether the server is one that continues messages, by what it says of its models."""

    def ask() -> bool:
        return any(getattr(entry, "owned_by", None) in _OWNERS for entry in client.models.list())

    return _once(client, model, "continues", ask)


def tells_labels(client: Any, model: str) -> bool:
    """Whether the server tells log-probabilities, and the model answers Yes or No."""

    def ask() -> bool:
        question = "Problem:\n1 + 1 = ?\n\nSolution:\n2\n\nIs it correct? Answer Yes or No.\n"
        return not any(map(math.isnan, _read_labels(client, model, _LABELS, question)))

    return _once(client, model, "labels", ask)


def _once(client: Any, model: str, what: str, ask: Callable[[], bool]) -> bool:
    """The answer of before, or that of `ask`; a server that refuses the question says no."""
    key = (str(getattr(client, "base_url", type(client).__name__)), model, what)
    if key not in _known:
        try:
            _known[key] = ask()
        except Exception as error:  # whatever the client raises
            if getattr(error, "status_code", None) not in _REFUSALS:
                return False  # for now: it may be another time
            _known[key] = False
    return _known[key]


def _choice(response: Any) -> dict[str, Any]:
    """The only choice of an answer, as the dictionary that the server sent."""
    choices = getattr(response, "choices", None)
    if not choices:
        raise AnswerFormatError(f"the server answered {str(response)[:80]!r}, without a choice")
    choice = choices[0]
    told: dict[str, Any] = choice if isinstance(choice, dict) else choice.model_dump()
    return told
