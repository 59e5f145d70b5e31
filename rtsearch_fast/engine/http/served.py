"""Which model of a server is meant: the one that was named, or the only one that it has."""

from __future__ import annotations

from ...aio import run_apart
from ...errors import AnswerFormatError, EngineError
from .client import JsonHttp

__all__ = ["ServedModel"]


class ServedModel:
    """The name of a served model, found out on first use.

    Parameters
    ----------
    http : JsonHttp
    model : str, optional
        None takes the only one that the server has.
    """

    def __init__(self, http: JsonHttp, model: str | None) -> None:
        self._http = http
        self._model = model
        self._is_vllm: bool | None = None  # not known yet

    @property
    def given(self) -> str | None:
        """The name as far as it is known; asks nobody."""
        return self._model

    @property
    def name(self) -> str:
        """The name; asks the server, blocking, if none was given."""
        if self._model is None:
            self._model = run_apart(self._only_alone())
        return self._model

    async def get(self) -> str:
        """The name; asks the server if none was given."""
        if self._model is None:
            self._model = await _only(self._http)
        return self._model

    async def is_vllm(self) -> bool:
        """Whether the server is vLLM; one that does not tell is not."""
        if self._is_vllm is None:
            reply = await self._http.send("GET", f"{self._http.base_url}/models")
            self._is_vllm = reply.ok and b'"owned_by":"vllm"' in reply.body.replace(b" ", b"")
        return self._is_vllm

    async def verdict(self) -> tuple[bool, str]:
        """Whether the server has the model, and a line that says so."""
        served = await _served(self._http)
        model = self._model or (served[0] if len(served) == 1 else None)
        if model not in served:
            return False, f"model {model or 'not given'}; the server has {', '.join(served)}"
        return True, f"{self._http.base_url} serves {model}"

    async def _only_alone(self) -> str:
        http = self._http.fresh()
        try:
            return await _only(http)
        finally:
            await http.aclose()


async def _only(http: JsonHttp) -> str:
    served = await _served(http)
    if len(served) != 1:
        raise EngineError(
            f"{http.base_url} serves {len(served)} models: name one of them: " + ", ".join(served)
        )
    return served[0]


async def _served(http: JsonHttp) -> list[str]:
    url = f"{http.base_url}/models"
    entries = (await http.json("GET", url)).get("data")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries
    ):
        raise AnswerFormatError(f"{url}: the answer has no list of models")
    return [entry["id"] for entry in entries]
