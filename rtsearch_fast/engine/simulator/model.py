"""The few numbers that say how fast an engine with continuous batching is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import DataError, InvalidArgumentError

__all__ = ["EngineModel"]


@dataclass(frozen=True, slots=True)
class EngineModel:
    """What an engine can hold, and how long its steps take.

    A step lasts ``base + per_decode_sequence * decoding sequences + per_prefill_token * prompt
    tokens computed + per_context_token * tokens that the decoding sequences look back on``.

    Attributes
    ----------
    name : str
        What was measured, or assumed.
    max_num_seqs : int
        Most sequences that run at once; others wait, first come first served.
    max_num_batched_tokens : int
        Most tokens of one step: one for each decoding sequence, the rest for pieces of prompts.
    block_tokens : int
        Prompts share their keys and values in whole blocks of this many tokens.
    cache_blocks : int
        Blocks that fit into memory, for running sequences and for reuse together.
    base, per_decode_sequence, per_prefill_token, per_context_token : float
        Seconds, see above.
    per_request : float
        Seconds from a request's sending until the engine sees it (HTTP, tokenisation).
    """

    name: str = "simulated"
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    block_tokens: int = 16
    cache_blocks: int = 16384
    base: float = 0.01
    per_decode_sequence: float = 0.0
    per_prefill_token: float = 0.0
    per_context_token: float = 0.0
    per_request: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and not (isinstance(value, int) and value >= 1):
                raise InvalidArgumentError(f"{field.name}={value!r}: must be an integer >= 1")
            if field.type == "float" and not (
                isinstance(value, (int, float)) and 0 <= value < math.inf
            ):
                raise InvalidArgumentError(f"{field.name}={value!r}: must be a number >= 0")
        if self.base + self.per_decode_sequence <= 0:
            raise InvalidArgumentError("base=0 and per_decode_sequence=0: a step must take time")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise InvalidArgumentError(
                f"max_num_batched_tokens={self.max_num_batched_tokens}: must be at least "
                f"max_num_seqs={self.max_num_seqs}, so that every sequence gets its token"
            )

    def step_seconds(self, decoding: int, prefill_tokens: int, context_tokens: int) -> float:
        """Duration of one step.

        Examples
        --------
        >>> EngineModel(base=0.5, per_decode_sequence=0.25).step_seconds(2, 100, 0)
        1.0
        """
        return (
            self.base
            + self.per_decode_sequence * decoding
            + self.per_prefill_token * prefill_tokens
            + self.per_context_token * context_tokens
        )

    def to_record(self) -> dict[str, Any]:
        """All fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> EngineModel:
        """Make a model of what `to_record` gave.

        Raises
        ------
        InvalidArgumentError
            A field is unknown or out of range.

        Examples
        --------
        >>> EngineModel.from_record(EngineModel(base=0.5).to_record()).base
        0.5
        """
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in record if name not in known]:
            raise InvalidArgumentError(
                f"engine model has no field {unknown[0]!r}: it has {', '.join(known)}"
            )
        return cls(**record)

    @classmethod
    def load(cls, path: str | Path) -> EngineModel:
        """Read a JSON file: the fields, or an object that holds them under "engine_model".

        Raises
        ------
        DataError
            It cannot be read, or holds no engine model.
        """
        try:
            data = json.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: {error}; give a JSON file with an engine model") from error
        record = data.get("engine_model", data) if isinstance(data, dict) else None
        if not isinstance(record, dict):
            raise DataError(f"{path}: not a JSON object; give a JSON file with an engine model")
        try:
            return cls.from_record(record)
        except InvalidArgumentError as error:
            raise DataError(f"{path}: {error}") from error
