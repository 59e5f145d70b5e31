"""Texts into token ids, of which the last part is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, InvalidArgumentError

__all__ = ["IGNORED", "Encoded", "encode", "encode_spans", "fit", "label_token"]

#: The label of a token that has no part in the loss.
IGNORED = -100
#: Texts that are tokenised at once.
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids, and from which to which (not included) they are trained on."""

    ids: list[int]
    start: int
    stop: int

    @property
    def labels(self) -> list[int]:
        """The ids, with the others left out of the loss."""
        after = [IGNORED] * (len(self.ids) - self.stop)
        return [IGNORED] * self.start + self.ids[self.start : self.stop] + after


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    starts: Sequence[int],
    end: int | None,
    stops: Sequence[int] | None = None,
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
    stops : sequence of int, optional
        For each text the index of the first character behind the trained part, if that ends before
        the text does.
    """
    found = []
    for i, (ids, offsets) in enumerate(_tokenise(tokenizer, texts)):
        begin = _token_at(offsets, starts[i])
        whole = ids if end is None else [*ids, end]
        stop = len(whole) if stops is None else _token_at(offsets, stops[i])
        found.append(Encoded(whole, begin, stop))
    return found


def encode_spans(
    tokenizer: Any, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]
) -> list[tuple[list[int], list[int]]]:
    """Tokenise whole texts of which several parts are trained on.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    texts : sequence of str
    spans : sequence of sequence of (int, int)
        For each text its trained parts: index of the first character, and of the first behind.

    Returns
    -------
    list of (list of int, list of int)
        Token ids and labels.
    """
    found = []
    for (ids, offsets), trained in zip(_tokenise(tokenizer, texts), spans, strict=True):
        labels = [IGNORED] * len(ids)
        for start, stop in trained:
            part = slice(_token_at(offsets, start), _token_at(offsets, stop))
            labels[part] = ids[part]
        found.append((ids, labels))
    return found


def _tokenise(
    tokenizer: Any, texts: Sequence[str]
) -> Iterator[tuple[list[int], Sequence[tuple[int, int]]]]:
    """The tokens of each text, and from which to which character they reach."""
    for first in range(0, len(texts), _CHUNK):
        batch = tokenizer(
            list(texts[first : first + _CHUNK]),
            add_special_tokens=False,  # the template spells them out
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        yield from zip(batch["input_ids"], batch["offset_mapping"], strict=True)


def _token_at(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Index of the token that holds a character; the number of tokens behind the last."""
    return next((i for i, (_, stop) in enumerate(offsets) if stop > character), len(offsets))


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
