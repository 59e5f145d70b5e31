"""What the plugin is told: by the environment of the proxy, and by each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...errors import InvalidArgumentError

__all__ = ["Settings"]

#: Which server is asked for judgements is not for requests to say.
_OPERATORS = ("reward", "reward_format", "reward_url", "reward_model", "concurrency")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one answer; ``RTSEARCH_BUDGET=16``, or ``{"rtsearch": {"budget": 16}}``.

    Attributes
    ----------
    method : str
        One of `rtsearch_fast.METHODS`.
    budget : int
        Most solutions that are judged, or, where a vote decides, drawn; for `beam` the steps that
        are judged on each level.
    tokens : int, optional
        Most tokens that are generated, judgements included.
    seconds : float, optional
        Most seconds.
    splitter : str
        What a step is, as `rtsearch_fast.steps.make_splitter` takes it.
    width, exploration, value, in_flight, max_depth, calculator
        As in `rtsearch_fast.SearchOptions`.
    seed : int, optional
        Makes answers repeatable on servers that are; each is drawn anew if left out.
    prefill : {"auto", "yes", "no"}
        Whether the server continues a last message of the assistant when told to as vLLM is; "auto"
        takes vLLM and SGLang by what they say of their models.
    reward : {"self", "none"}
        Without a reward server: the model judges itself, or a majority decides.
    reward_url, reward_format, reward_model : str, optional
        A reward server, the name of its format, and of its model.
    concurrency : int
        Most requests of one answer at once.
    """

    method: str = "mcts_g"
    budget: int = 8
    tokens: int | None = None
    seconds: float | None = None
    splitter: str = "string:\\n\\n"
    width: int = 4
    exploration: float = 0.4
    value: str = "rollout"
    in_flight: int = 2
    max_depth: int = 64
    calculator: bool = False
    seed: int | None = None
    prefill: str = "auto"
    reward: str = "self"
    reward_url: str | None = None
    reward_format: str | None = None
    reward_model: str | None = None
    concurrency: int = 16

    def __post_init__(self) -> None:
        for name, wanted in (("prefill", ("auto", "yes", "no")), ("reward", ("self", "none"))):
            if getattr(self, name) not in wanted:
                raise InvalidArgumentError(
                    f"{name}={getattr(self, name)!r}: choose one of {', '.join(wanted)}"
                )
        for name in ("budget", "concurrency"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name}={getattr(self, name)}: must be at least 1")
        if (self.reward_url is None) != (self.reward_format is None):
            raise InvalidArgumentError(
                f"reward_url={self.reward_url!r} and reward_format={self.reward_format!r}: give "
                "both, or neither"
            )

    @classmethod
    def of(cls, environment: Mapping[str, str], request: object = None) -> Settings:
        """Read the environment, then what a request says.

        Raises
        ------
        InvalidArgumentError
            A setting is unknown, not for requests, or out of range.
        """
        given = {f.name: environment.get(f"RTSEARCH_{f.name.upper()}") for f in fields(cls)}
        kinds = {f.name: str(f.type).partition(" ")[0] for f in fields(cls)}
        told = {
            name: _read(f"RTSEARCH_{name.upper()}", value, kinds[name])
            for name, value in given.items()
            if value
        }
        if request is not None and not isinstance(request, Mapping):
            raise InvalidArgumentError(f"rtsearch={request!r}: give an object of settings")
        for name, value in (request or {}).items():
            if name not in kinds or name in _OPERATORS:
                allowed = ", ".join(kind for kind in kinds if kind not in _OPERATORS)
                raise InvalidArgumentError(f"rtsearch.{name}={value!r}: requests may set {allowed}")
            told[name] = _read(f"rtsearch.{name}", value, kinds[name])
        return replace(cls(), **told)


def _read(where: str, value: Any, kind: str) -> Any:
    """A setting of its kind, from JSON or from text."""
    try:
        if kind == "bool":
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                str(value).lower()
            ]
        if kind == "int" and isinstance(value, float | bool):
            raise ValueError
        return {"int": int, "float": float, "str": str}[kind](value)
    except (KeyError, TypeError, ValueError):
        raise InvalidArgumentError(f"{where}={value!r}: must be {_KINDS[kind]}") from None


_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"}
