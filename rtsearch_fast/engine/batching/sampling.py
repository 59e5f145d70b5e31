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
        probs = torch.stack([_nucleus(row, top_p) for row in probs])
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


def _nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero all but the most likely tokens of one row whose mass reaches ``top_p``."""
    import torch

    size = probs.shape[0]
    k = min(256, size)
    while True:
        # Seldom are more than a few hundred tokens needed: a full sort would cost far more.
        values, tokens = probs.topk(k)
        mass = values.cumsum(0, dtype=torch.float64)
        if mass[-1] >= top_p or k == size:
            break
        k = min(8 * k, size)
    kept = tokens[: int((mass < top_p).sum()) + 1]
    return torch.zeros_like(probs).index_copy_(0, kept, probs[kept])


class TextStream:
    """The text of a growing sample, and whether it holds a stop string yet.

    Parameters
    ----------
    decode : callable
        Token ids to text.
    context : sequence of int
        The last tokens of the prompt: some tokenizers write a token differently at a text's start.
    stop : sequence of str
    """

    def __init__(
        self, decode: Callable[[list[int]], str], context: Sequence[int], stop: Sequence[str]
    ) -> None:
        self._decode = decode
        self._ids = list(context)
        self._stop = stop
        self._overlap = max((len(s) for s in stop), default=1) - 1
        # Text of the tokens before `_read` is out; decoding starts a little earlier, at `_from`.
        self._from, self._read = 0, len(self._ids)
        self.text = ""

    def push(self, token: int) -> bool:
        """Add a token; return True, and cut the text, if a stop string is complete."""
        self._ids.append(token)
        return self._advance(final=False)

    def finish(self) -> bool:
        """Write out a last incomplete character, as U+FFFD; return as `push` does."""
        return self._advance(final=True)

    def _advance(self, final: bool) -> bool:
        known = self._decode(self._ids[self._from : self._read])
        window = self._decode(self._ids[self._from :])
        if window.endswith(_REPLACEMENT) and not final:
            return False  # part of a character whose other bytes are still to come
        start = max(0, len(self.text) - self._overlap)
        self.text += window[len(known) :]
        self._from, self._read = self._read, len(self._ids)
        found = [i for i in (self.text.find(s, start) for s in self._stop) if i >= 0]
        if found:
            self.text = self.text[: min(found)]
        return bool(found)
