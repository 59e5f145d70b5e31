"""Marks read by a vLLM server that classifies: one request a mark, and none asked twice.

vLLM reads its prefix cache for the task `classify` alone, which gives one row a text, at its end.
So a text is asked for up to each mark, and costs what is new behind the mark before.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from .checks import Check
from .marks import MarkedText
from .pooling import PoolingEngine
from .pooling_protocol import ClassProbs

__all__ = ["ServedHeads"]

K = TypeVar("K")
V = TypeVar("V")

#: A text, or its tokens where pieces of it are tokenised apart.
_Prompt = str | tuple[int, ...]
#: A prompt, and whether the head's numbers are wanted.
_Key = tuple[_Prompt, bool]
_Answer = asyncio.Future[list[ClassProbs]]


class ServedHeads:
    """Reads a served reward model's head at marks; implements `Classifier` and `MarkReader`.

    Parameters
    ----------
    engine : PoolingEngine
        Of a server with the task "classify", such as `rtsearch engine start --task reward-head`.
    kept : int
        Most rows that are kept for later texts: in a tree most steps were judged before.
    """

    def __init__(self, engine: PoolingEngine, *, kept: int = 65536) -> None:
        self._engine = engine
        self._kept = kept
        # a prompt that is asked for at the moment is waited for, not asked again
        self._rows: OrderedDict[_Key, tuple[_Answer, int]] = OrderedDict()
        self._pieces: OrderedDict[str, list[int]] = OrderedDict()

    @property
    def name(self) -> str:
        """The served model's name; asks the server, blocking, if none was given."""
        return self._engine.name

    async def classify(self, prompts: Sequence[str], *, raw: bool = False) -> list[ClassProbs]:
        """Return, per prompt, the class probabilities at its last token; see `Classifier`."""
        return await self._ask(prompts, raw)

    async def read_marks(
        self, prompts: Sequence[MarkedText], *, raw: bool = False
    ) -> list[list[ClassProbs]]:
        """Return, per prompt, one row of class probabilities a mark; see `MarkReader`."""
        asked = [await self._prefixes(text) for text in prompts]
        rows = iter(await self._ask([prompt for text in asked for prompt in text], raw))
        return [[next(rows) for _ in text] for text in asked]

    async def probe(self, labels: tuple[str, ...] = ()) -> list[Check]:
        """Check the server: "models" and "classify"."""
        return await self._engine.probe("classify")

    async def aclose(self) -> None:
        """Close the connections. Sharing is safe: a later request opens new ones."""
        await self._engine.aclose()

    async def _ask(self, prompts: Sequence[_Prompt], raw: bool) -> list[ClassProbs]:
        keys = dict.fromkeys((prompt, raw) for prompt in prompts)
        new = [key for key in keys if key not in self._rows or _failed(self._rows[key][0])]
        places = {key: self._rows[key] for key in keys if key not in new}
        if new:
            asked = asyncio.ensure_future(  # noqa: RUF006 - it is kept in `places`
                self._engine.classify([prompt for prompt, _ in new], raw=raw)
            )
            asked.add_done_callback(_failed)  # looked at, whoever still waits for it
            places |= {key: (asked, number) for number, key in enumerate(new)}
        for key, place in places.items():
            _keep(self._rows, key, place, self._kept)
        # one who waits may be cancelled, the others want the answer all the same
        for answer in {id(answer): answer for answer, _ in places.values()}.values():
            if not answer.done():
                await asyncio.shield(answer)
        return [places[prompt, raw][0].result()[places[prompt, raw][1]] for prompt in prompts]

    async def _prefixes(self, text: MarkedText) -> Sequence[_Prompt]:
        if not text.cuts:
            return text.prefixes
        found: list[_Prompt] = []
        for mark in text.marks:
            edges = (0, *(cut for cut in text.cuts if 0 < cut < mark), mark)
            pieces = [await self._tokens(text.text[a:b]) for a, b in pairwise(edges)]
            found.append(tuple(token for piece in pieces for token in piece))
        return found

    async def _tokens(self, piece: str) -> list[int]:
        tokens = self._pieces.get(piece)
        if tokens is None:
            tokens = await self._engine.tokenize(piece) if piece else []
        _keep(self._pieces, piece, tokens, self._kept)
        return tokens


def _failed(answer: _Answer) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
