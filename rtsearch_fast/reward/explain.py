"""What a format reads where, shown on one example, and what looks wrong about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..engine.checks import Check
from ..engine.marks import MarkedText, token_places
from ..errors import EngineError
from .aggregate import aggregation_name
from .spec import RewardSpec

__all__ = ["EXAMPLE", "Tokenizer", "explain"]

#: A problem and the steps of a solution, as a search writes them.
EXAMPLE = (
    "What is 12 * 3 + 4?",
    (
        "## Step 1: Multiply\n12 * 3 = 36.\n\n",
        "## Step 2: Add\n36 + 4 = 40.\n\n",
        "## Answer\n\\boxed{40}",
    ),
)
#: Tokens that are shown before a mark, and behind it.
_BEFORE, _BEHIND = 4, 2


class Tokenizer(Protocol):
    """Text to tokens and back; nothing is added."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: list[int]) -> str: ...


def explain(spec: RewardSpec, tokenizer: Tokenizer | None = None) -> list[Check]:
    """Show the text that a format makes of an example, and the tokens around each place read.

    Parameters
    ----------
    spec : RewardSpec
    tokenizer : Tokenizer, optional
        The reward model's; without it no tokens are shown, and nothing is found to be wrong.

    Returns
    -------
    list of Check
        Those that are not ok say what looks wrong.
    """
    marked = _example(spec)
    checks = [Check("reward", True, _summary(spec)), Check("text", True, repr(marked.text))]
    if tokenizer is None:
        for number, prefix in enumerate(marked.prefixes, 1):
            checks.append(Check(f"place {number}", True, f"{prefix[-24:]!r} is read at its end"))
        detail = "not at hand: give the model's folder to see tokens (--reward-model FOLDER)"
        return [*checks, Check("tokens", True, detail)]
    for number, _ in enumerate(marked.marks):
        checks.append(_place(spec, marked, number, tokenizer))
    checks += _words(spec, marked, tokenizer)
    return checks


def _example(spec: RewardSpec) -> MarkedText:
    problem, steps = EXAMPLE
    if spec.step and not spec.writes:
        return spec.process.lay(problem, steps)
    text = (spec.process if spec.step else spec.question).render(problem, steps)
    return MarkedText(text, (len(text),))


def _summary(spec: RewardSpec) -> str:
    read = {
        "label": f"the probability of {' against '.join(map(repr, spec.labels))} as the next token",
        "class": f"the probability of class {spec.positive} (squash: {spec.squash})",
        "value": f"the only value of the head (squash: {spec.squash})",
        "verdicts": f"written verdicts {' or '.join(spec.labels)} on each step",
        "json": f"{spec.key!r} of written JSON, {' to '.join(f'{x:g}' for x in spec.scale)}",
    }[spec.read]
    where = "at each mark" if spec.step and not spec.writes else "behind the text"
    written = f", after at most {spec.max_tokens} tokens that the model writes" * spec.writes
    steps = f"; of the steps' scores: {aggregation_name(spec.aggregation)}" * bool(spec.step)
    model = f" (models: {spec.source})" * bool(spec.source)
    return f"{spec.name} reads {read} {where}{written}{steps}{model}"


def _place(spec: RewardSpec, marked: MarkedText, number: int, tokenizer: Tokenizer) -> Check:
    """Which token tells what is read at one mark."""
    name = f"place {number + 1}"
    mark = marked.marks[number]
    try:
        tokens, (place,) = token_places(
            MarkedText(marked.text, (mark,), marked.cuts), tokenizer.encode
        )
    except EngineError as error:
        return Check(name, False, str(error).replace("mark 1", f"mark {number + 1}", 1))
    before = _shown(tokens[max(0, place - _BEFORE) : place], tokenizer)
    behind = _shown(tokens[place + 1 : place + 1 + _BEHIND], tokenizer)
    detail = f"{before} [{_shown(tokens[place : place + 1], tokenizer)}] {behind}".strip()
    if spec.tag:
        try:
            start = MarkedText(marked.text, (mark - len(spec.tag),), marked.cuts)
            _, (last,) = token_places(start, tokenizer.encode)
        except EngineError:
            return Check(name, False, f"{detail}: the tag {spec.tag!r} begins within a token")
        if place - last != 1:
            return Check(name, False, f"{detail}: the tag {spec.tag!r} is {place - last} tokens")
    return Check(name, True, detail)


def _words(spec: RewardSpec, marked: MarkedText, tokenizer: Tokenizer) -> Iterator[Check]:
    """The tokens of labels, and those that the format knows."""
    for label in spec.labels if spec.read == "label" else ():
        tokens = tokenizer.encode(label)
        detail = f"{label!r} is {_shown(tokens, tokenizer)}"
        if len(tokens) != 1:
            yield Check("label", False, f"{detail}: choose a label that is one token")
        elif not (
            spec.writes or label in spec.tokens or _follows(marked, label, tokens, tokenizer)
        ):
            yield Check("label", False, f"{detail}, but behind the text it becomes other tokens")
        else:
            yield Check("label", True, detail)
    for text, token in spec.tokens.items():
        tokens = tokenizer.encode(text)
        ok = tokens[-1:] == [token]
        detail = f"{text!r} ends in {token}"
        if not ok:
            detail += f", here it is {_shown(tokens, tokenizer)}: another model's tokenizer"
        yield Check("known token", ok, detail)


def _follows(marked: MarkedText, label: str, tokens: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether a label that stands at the first mark is the token that is looked for."""
    before = marked.prefixes[0]
    return tokenizer.encode(before + label) == [*tokenizer.encode(before), *tokens]


def _shown(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    return " ".join(f"{token} {tokenizer.decode([token])!r}" for token in tokens)
