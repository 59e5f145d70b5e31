"""Reading the answers of `/v1/completions`, as the different servers really write them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

from ...errors import AnswerFormatError
from ..protocol import FinishReason, Sample

__all__ = ["read_next_tokens", "read_prompt_usage", "read_samples", "tells_stop_from_eos"]


def read_samples(
    data: dict[str, Any], url: str, count: int, *, with_stop: bool, exact: bool = False
) -> list[Sample]:
    """Read an answer that holds `count` samples.

    Parameters
    ----------
    data : dict
        The decoded answer.
    url : str
        Where it came from, for messages.
    count : int
    with_stop : bool
        Whether stop strings were sent.
    exact : bool
        Whether the server tells each token that it counts (vLLM). Others leave out some, such as
        those of a stop string.

    Raises
    ------
    AnswerFormatError
        It does not hold so many choices, or a field is missing or of a wrong type.
    """
    choices = _choices(data, url, count)
    total = _completion_tokens(data, url)
    samples = [
        _read_sample(data, choice, url, total if count == 1 else None, with_stop)
        for choice in choices
    ]
    told = sum(len(sample.ends) for sample in samples)
    if total is not None and all(sample.ends for sample in samples):
        if total < told or (total > told and (exact or count > 1)):
            raise AnswerFormatError(
                f"{url}: usage.completion_tokens is {total}, but the choices have {told} tokens: "
                "budgets cannot be kept with this server"
            )
    elif total == 0 and any(sample.text for sample in samples):
        raise AnswerFormatError(f"{url}: usage.completion_tokens is 0, but there is text")
    return samples


def _read_sample(
    data: dict[str, Any], choice: dict[str, Any], url: str, num_tokens: int | None, with_stop: bool
) -> Sample:
    text = choice.get("text")
    if not isinstance(text, str):
        raise AnswerFormatError(f"{url}: choices[].text is no string")
    # Half of a surrogate pair cannot be written to any file.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    tokens, logprobs = _generated(choice, url)
    if num_tokens is None:
        if not tokens:
            # A budget counts tokens, so a guess from the text's length would be a wrong result.
            raise AnswerFormatError(f"{url}: the answer has no usage.completion_tokens")
        num_tokens = len(tokens)
    size = len(text)
    return Sample(
        text=text,
        num_tokens=num_tokens,
        finish_reason=_finish_reason(data, choice, url, bool(text), with_stop),
        logprob=_total(logprobs) if tokens else math.nan,
        ends=tuple([end if end < size else size for end in accumulate(map(len, tokens))]),
        token_ids=_token_ids(choice, url),
    )


def read_next_tokens(data: dict[str, Any], url: str) -> dict[str, float]:
    """Read the log-probabilities that an answer gives for its first token.

    Returns
    -------
    dict
        By token text and, where the server tells ids, by ``"token_id:<id>"``. The sampled token is
        included.

    Raises
    ------
    AnswerFormatError
        There are none, or none that is a number.
    """
    choice = _only_choice(data, url)
    tokens, logprobs = _generated(choice, url)
    found: dict[str, float] = {}
    if tokens:
        with _reading(url):
            found = {tokens[0]: logprobs[0], **_alternatives(choice["logprobs"])}
    # One label may be missing; an answer that tells of no token would pass for a verdict of none.
    if not any(map(math.isfinite, found.values())):
        raise AnswerFormatError(
            f"{url}: the answer has no log-probability of a next token, by which solutions are "
            "judged"
        )
    return found


def read_prompt_usage(data: dict[str, Any]) -> tuple[int, int | None]:
    """Return the tokens of the prompt, and how many came from a cache (None if not told)."""
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    prompt = usage.get("prompt_tokens")
    return (
        prompt if isinstance(prompt, int) else 0,
        cached if isinstance(cached, int) else None,
    )


def tells_stop_from_eos(data: dict[str, Any], url: str) -> bool:
    """Whether an answer says if a stop string or the end of the text ended it."""
    choice = _only_choice(data, url)
    return any(key in choice for key in ("stop_reason", "matched_stop")) or bool(
        _llama_stop_type(data, choice)
    )


def _only_choice(data: dict[str, Any], url: str) -> dict[str, Any]:
    return _choices(data, url, 1)[0]


def _choices(data: dict[str, Any], url: str, count: int) -> list[dict[str, Any]]:
    """Return the choices in the order of their indices."""
    choices = data.get("choices")
    if not isinstance(choices, list):
        raise AnswerFormatError(f"{url}: the answer has no list of choices")
    if len(choices) != count:
        raise AnswerFormatError(f"{url}: {count} samples were asked for, {len(choices)} came")
    if not all(isinstance(choice, dict) for choice in choices):
        raise AnswerFormatError(f"{url}: a choice is no object")
    if count > 1:
        places = [choice.get("index") for choice in choices]
        if not all(type(place) is int for place in places) or set(places) != set(range(count)):
            raise AnswerFormatError(f"{url}: the choices have no indices 0 to {count - 1}")
        choices = sorted(choices, key=lambda choice: int(choice["index"]))
    return choices


def _token_ids(choice: dict[str, Any], url: str) -> tuple[int, ...]:
    ids = choice.get("token_ids") or []
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        raise AnswerFormatError(f"{url}: choices[].token_ids is no list of ids")
    return tuple(ids)


def _completion_tokens(data: dict[str, Any], url: str) -> int | None:
    usage = data.get("usage")
    count = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
        raise AnswerFormatError(f"{url}: usage.completion_tokens is no count")
    return count


def _finish_reason(
    data: dict[str, Any], choice: dict[str, Any], url: str, any_text: bool, with_stop: bool
) -> FinishReason:
    """Tell stop strings from the end of the text; both are "stop" to the API.

    vLLM adds ``stop_reason`` (the string, or null at the end of the text), SGLang ``matched_stop``
    (the string, or the id of the token), llama.cpp ``stop_type`` when it is verbose. Other servers
    leave it open. Then an answer to a request with stop strings counts as "stop" if it has text,
    and as "eos" if it has none: taking an end for a stop costs one more, empty, sample, which then
    ends the solution, while taking a stop for an end would cut each solution after its first step.
    """
    reason = choice.get("finish_reason")
    if reason == "length":
        return "length"
    if reason not in ("stop", "eos", "eos_token", "stop_sequence"):
        raise AnswerFormatError(f"{url}: unknown finish_reason {str(reason)[:40]!r}")
    if reason != "stop":
        return "stop" if reason == "stop_sequence" else "eos"
    for key in ("stop_reason", "matched_stop"):
        if key in choice:
            return "stop" if isinstance(choice[key], str) else "eos"
    stop_type = _llama_stop_type(data, choice)
    if stop_type:
        return "stop" if stop_type == "word" else "eos"
    return "stop" if with_stop and any_text else "eos"


def _llama_stop_type(data: dict[str, Any], choice: dict[str, Any]) -> str | None:
    for place in (choice, data, data.get("__verbose")):
        if isinstance(place, dict) and place.get("stop_type") in ("word", "eos"):
            return str(place["stop_type"])
    return None


def _generated(choice: dict[str, Any], url: str) -> tuple[list[str], list[float]]:
    """Return texts and log-probabilities of the generated tokens; empty if not told.

    OpenAI's completions have parallel lists; llama.cpp uses the chat form, a list of objects.
    """
    logprobs = choice.get("logprobs")
    if not logprobs:
        return [], []
    with _reading(url):
        if "content" in logprobs:
            entries = logprobs["content"] or []
            tokens = [entry["token"] for entry in entries]
            values = [entry["logprob"] for entry in entries]
        else:
            tokens, values = logprobs["tokens"], logprobs["token_logprobs"]
        if not all(isinstance(token, str) for token in tokens):
            raise ValueError("a token is no text")
        if len(tokens) != len(values):
            raise ValueError(f"{len(tokens)} tokens have {len(values)} values")
        return tokens, [_logprob(value) for value in values]


def _alternatives(logprobs: dict[str, Any]) -> dict[str, float]:
    """Return what else the first token might have been."""
    if "content" not in logprobs:
        tops = logprobs.get("top_logprobs") or [{}]
        return {name: _logprob(value) for name, value in (tops[0] or {}).items()}
    found = {}
    for other in logprobs["content"][0].get("top_logprobs") or []:
        value = _logprob(other["logprob"])
        found[other["token"]] = value
        if "id" in other:
            found[f"token_id:{other['id']}"] = value
    return found


@contextmanager
def _reading(url: str) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise AnswerFormatError(f"{url}: choices[].logprobs cannot be read: {what}") from None


def _total(logprobs: list[float]) -> float:
    """The log-probability of a text; NaN where a token's is infinite, which no file can hold."""
    try:
        total = math.fsum(logprobs)
    except (OverflowError, ValueError):
        return math.nan
    return min(total, 0.0) if math.isfinite(total) else math.nan


def _logprob(value: object) -> float:
    # Room for rounding above 0; a probability in place of its logarithm would be larger.
    if type(value) is float and value <= 1e-3:
        return value
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value > 1e-3:
        raise ValueError(f"{str(value)[:40]} is no log-probability")
    return float(value)
