"""From logits to text: seeded draws of tokens, and text that grows token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextStream", "choose_tokens", "uniform"]

_MASK = (1 << 64) - 1
#: Tokens whose probabilities are added up in float32.
_BLOCK = 256
_REPLACEMENT = "\ufffd"


def _mix(x: int) -> int:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def uniform(seed: int, index: int) -> float:
    """Return the number in [0, 1) that draws token ``index`` of the sample with this seed.

    A function of its arguments alone: no generator whose state other samples could move.
    """
    step = 0x9E3779B97F4A7C15
    return (_mix((_mix((seed + step) & _MASK) + (index + 1) * step) & _MASK) >> 11) * 2.0**-53


def choose_tokens(
    logprobs: Tensor, uniforms: Sequence[float], temperature: float, top_p: float
) -> list[int]:
    """Draw one token per row by inverting its cumulative distribution.

    Parameters
    ----------
    logprobs : Tensor of float32, [rows, vocabulary]
    uniforms : sequence of float, [rows]
        In [0, 1).
    temperature : float
        0 takes the most likely token.
    top_p : float
        Only the fewest most likely tokens whose mass reaches this may be drawn.

    Returns
    -------
    list of int, [rows]
    """
    import torch

    if temperature == 0:
        return logprobs.argmax(-1).tolist()
    probs = torch.softmax(logprobs / temperature, -1)
    if top_p < 1:
        probs = _nucleus(probs, top_p)
    # In two levels: one float32 sum over a vocabulary would move the boundaries between tokens,
    # and one float64 sum takes ten times as long.
    blocks = torch.nn.functional.pad(probs, (0, -probs.shape[1] % _BLOCK))
    inner = blocks.view(len(probs), -1, _BLOCK).cumsum(-1)
    outer = inner[:, :, -1].cumsum(-1, dtype=torch.float64)
    points = torch.tensor(uniforms, dtype=torch.float64, device=probs.device)[:, None]
    points = points * outer[:, -1:]
    block = _invert(outer, points)
    before = torch.nn.functional.pad(outer, (1, 0)).gather(1, block)
    inside = inner[torch.arange(len(probs), device=probs.device), block[:, 0]].double()
    return (block * _BLOCK + _invert(inside, points - before))[:, 0].tolist()


def _invert(cumulative: Tensor, points: Tensor) -> Tensor:
    """Return the first place of each row whose cumulative sum exceeds its point.

    Rounding may lift a point to the row's total: never past the last place of positive mass.
    """
    import torch

    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    return torch.minimum(torch.searchsorted(cumulative, points, right=True), last)


def _nucleus(probs: Tensor, top_p: float, size: int = 256) -> Tensor:
    """Zero all but the most likely tokens of each row whose mass reaches ``top_p``.

    Seldom are more than ``size`` tokens needed: a full sort would cost far more.
    """
    import torch

    size = min(size, probs.shape[1])
    values, tokens = probs.topk(size)
    mass = values.cumsum(1, dtype=torch.float64)
    # A token stays unless those before it have the mass.
    values[:, 1:][mass[:, :-1] >= top_p] = 0
    kept = torch.zeros_like(probs).scatter_(1, tokens, values)
    if size < probs.shape[1]:
        short = mass[:, -1] < top_p
        if short.any():
            kept[short] = _nucleus(probs[short], top_p, 8 * size)
    return kept


class TextStream:
    """The text of a growing sample, and whether it holds a stop string yet.

    Parameters
    ----------
    decode : callable
        Token ids to text.
    context : sequence of int
        The last tokens of the prompt: some tokenizers write a token differently at a text's start.
    stop : sequence of str
    pieces : dict of int to str, optional
        Texts of tokens of whole characters, filled here and shared by all streams of a tokenizer
        that writes a token alike wherever it stands, but for a text's start.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        context: Sequence[int],
        stop: Sequence[str],
        pieces: dict[int, str] | None = None,
    ) -> None:
        self._decode = decode
        self._ids = list(context)
        self._stop = stop
        self._pieces = {} if pieces is None else pieces
        self._fills = pieces is not None
        self._overlap = max((len(s) for s in stop), default=1) - 1
        # Text of the tokens before `_read` is out; decoding starts a little earlier, at `_from`.
        self._from, self._read = 0, len(self._ids)
        self.text = ""

    def push(self, token: int) -> bool:
        """Add a token; return True, and cut the text, if a stop string is complete."""
        pieces, ids = self._pieces, self._ids
        ids.append(token)
        # Bytes of a character may be open, unless the token before is one of whole characters too.
        if token in pieces and len(ids) > 1 and ids[-2] in pieces:
            return self._add(pieces[token])
        return self._advance(final=False)

    def finish(self) -> bool:
        """Write out a last incomplete character, as U+FFFD; return as `push` does."""
        return self._read < len(self._ids) and self._advance(final=True)

    def _advance(self, final: bool) -> bool:
        known = self._decode(self._ids[self._from : self._read])
        window = self._decode(self._ids[self._from :])
        if window.endswith(_REPLACEMENT) and not final:
            return False  # part of a character whose other bytes are still to come
        new = window[len(known) :]
        alone = 0 < self._read == len(self._ids) - 1 and not known.endswith(_REPLACEMENT)
        if self._fills and alone and _REPLACEMENT not in new:
            self._pieces[self._ids[-1]] = new
        return self._add(new)

    def _add(self, new: str) -> bool:
        start = max(0, len(self.text) - self._overlap)
        self.text += new
        self._from, self._read = self._read, len(self._ids)
        found = [i for i in (self.text.find(s, start) for s in self._stop) if i >= 0]
        if found:
            self.text = self.text[: min(found)]
        return bool(found)
