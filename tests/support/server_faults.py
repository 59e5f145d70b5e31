"""All that the model server of the tests can do wrong, and which of its requests it does it to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["FAULTS", "STATUSES", "Share", "spoiled"]

#: Refusals and failures, each an answer with this status.
STATUSES = ("400", "401", "404", "429", "500", "503")
#: What befalls the way of an answer.
_ON_THE_WAY = ("slow", "drip", "hang", "drop", "silent")
#: What is wrong in the answer itself.
_IN_THE_ANSWER = (
    "truncated",
    "html",
    "list",
    "nan",
    "null-logprobs",
    "infinite",
    "no-choices",
    "no-choice",
    "two-choices",
    "text-is-number",
    "no-finish",
    "no-usage",
    "no-counts",
    "usage-is-text",
    "fewer-tokens",
    "more-tokens",
    "no-tokens",
    "no-logprobs",
    "bad-logprobs",
    "probabilities",
    "same-text",
)

#: What `OpenAIServer.fail` and `inject` take.
FAULTS = (*STATUSES, *_ON_THE_WAY, *_IN_THE_ANSWER)


class Share:
    """Chooses the requests of a run that fail: by what they ask, in whatever order they come.

    A request that is asked again is another one, so a fault that passes does pass.

    Parameters
    ----------
    fault : str
    share : float
        Of all requests.
    seed : int
    """

    def __init__(self, fault: str, share: float, seed: int = 0) -> None:
        self.fault = fault
        self.share = share
        self.seed = seed
        #: How many requests failed.
        self.hits = 0
        self._attempts: dict[str, int] = {}

    def take(self, body: dict[str, Any]) -> str | None:
        """The fault of a request, if it has one."""
        text = json.dumps(body, sort_keys=True)
        self._attempts[text] = attempt = self._attempts.get(text, 0) + 1
        digest = hashlib.blake2b(f"{self.seed}:{attempt}:{text}".encode(), digest_size=4).digest()
        if int.from_bytes(digest, "little") >= self.share * 2**32:
            return None
        self.hits += 1
        return self.fault


def spoiled(fault: str | None, data: dict[str, Any]) -> bytes:
    """The answer `data` as it is sent; nothing is wrong with it if there is no such fault."""
    choice = data["choices"][0]
    usage = data["usage"]
    if fault == "html":
        return b"<html>\nSign in</html>"
    if fault == "list":
        return b"[]"
    if fault == "no-choices":
        del data["choices"]
    elif fault == "no-choice":
        data["choices"] = []
    elif fault == "two-choices":
        data["choices"] *= 2
    elif fault == "text-is-number":
        choice["text"] = 7
    elif fault == "no-finish":
        choice["finish_reason"] = None
    elif fault == "no-usage":
        del data["usage"]
    elif fault == "no-counts":
        del data["usage"], choice["logprobs"]
    elif fault == "usage-is-text":
        usage["completion_tokens"] = "many"
    elif fault == "fewer-tokens":
        usage["completion_tokens"] -= 1
    elif fault == "more-tokens":
        usage["completion_tokens"] += 1
    elif fault == "no-tokens":
        usage["completion_tokens"] = 0
    elif fault == "no-logprobs":
        choice["logprobs"] = None
    elif fault == "bad-logprobs":
        choice["logprobs"] = {"tokens": ["a"], "token_logprobs": [-1.0, -1.0]}
    elif fault == "probabilities":
        choice["logprobs"] = {"tokens": ["a"], "token_logprobs": [0.9]}
    elif fault == "nan":
        choice["logprobs"] = {"tokens": ["a"], "token_logprobs": [float("nan")]}
    elif fault == "null-logprobs":
        _change_logprobs(choice, None)
    elif fault == "infinite":
        _change_logprobs(choice, float("-inf"))
    payload = json.dumps(data).replace("-Infinity", "-1e999").encode()
    return payload[: len(payload) // 2] if fault == "truncated" else payload


def _change_logprobs(choice: dict[str, Any], value: float | None) -> None:
    """Put one value into the place of all log-probabilities."""
    logprobs = choice["logprobs"]
    if logprobs is not None:
        logprobs["token_logprobs"] = [value for _ in logprobs["tokens"]]
        logprobs["top_logprobs"] = [dict.fromkeys(top, value) for top in logprobs["top_logprobs"]]
