"""Texts into token ids, of which the last part is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, InvalidArgumentError

__all__ = ["IGNORED", "Encoded", "encode", "fit", "label_token"]

#: The label of a token that has no part in the loss.
IGNORED = -100
#: Texts that are tokenised at once.
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids, and the index of the first that is trained on."""

    ids: list[int]
    start: int

    @property
    def labels(self) -> list[int]:
        """The ids, with those before `start` left out of the loss."""
        return [IGNORED] * self.start + self.ids[self.start :]


def encode(
    tokenizer: Any, texts: Sequence[str], starts: Sequence[int], end: int | None
) -> list[Encoded]:
    r"""Tokenise whole texts, as an engine does, and find where the trained part begins.

    A text is not cut before it is tokenised: "\n\n##" may be one token over the boundary. A token
    is trained on if it holds any character of the trained part.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    texts : sequence of str
    starts : sequence of int
        For each text the index of its first trained character.
    end : int or None
        Token put behind each text.
    """
    found = []
    for first in range(0, len(texts), _CHUNK):
        batch = tokenizer(
            list(texts[first : first + _CHUNK]),
            add_special_tokens=False,  # the template spells them out
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for ids, offsets, start in zip(
            batch["input_ids"], batch["offset_mapping"], starts[first : first + _CHUNK], strict=True
        ):
            index = next((i for i, (_, stop) in enumerate(offsets) if stop > start), len(ids))
            found.append(Encoded(ids if end is None else [*ids, end], index))
    return found


def fit(lengths: Sequence[int], max_length: int) -> list[int]:
    """Return the indices of what is short enough; DataError if nothing is."""
    short = [index for index, length in enumerate(lengths) if length <= max_length]
    if not short:
        raise DataError(
            f"max_length={max_length}: none of the {len(lengths)} rows fits, the shortest has "
            f"{min(lengths)} tokens: raise max_length"
        )
    return short


def label_token(tokenizer: Any, label: str) -> int:
    """Return the one token that a label is, as an engine looks it up.

    Raises
    ------
    InvalidArgumentError
        It is none or more. The message shows the pieces.
    """
    ids = tokenizer.encode(label, add_special_tokens=False)
    if len(ids) == 1:
        return int(ids[0])
    pieces = [tokenizer.decode([token]) for token in ids]
    raise InvalidArgumentError(
        f"label {label!r} is {len(ids)} tokens, {pieces}: choose labels that are one token each (a "
        "leading blank may matter)"
    )
