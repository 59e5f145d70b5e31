"""The tokenizer of a small pair: one vocabulary for solutions, checks and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...engine.embedded import name_portable_tokenizer
from ...policy.prompt import PromptTemplate
from ...reward.question import JudgeTemplate
from ...reward.worked import work_out
from ...splitters import unescape
from ...steps import make_splitter
from ..models import train_tokenizer
from ..settings import RewardSettings
from .judging import family_of
from .settings import CotrainSettings

__all__ = ["save_tokenizer"]

#: Pieces that are never merged with one another: what begins a step, digits two by two from the
#: right, words with their blanks, signs.
_PIECES = (
    r"\n\n##| Step \d+: | Answer: |: | [A-Z][a-z]+\n|\\boxed\{|\d{1,2}(?=(?:\d\d)*(?!\d))|, |; "
    r"|(?:Yes|No)(?![a-z])|[A-Za-z ]+"
    r"|[^\s\dA-Za-z]+[a-z]?(?![A-Za-z])(?:[=+*-]+[a-z]?(?![A-Za-z]))*|\s+|."
)
#: Rows that are read.
_ROWS = 20_000


def save_tokenizer(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    prompt: PromptTemplate,
    settings: CotrainSettings,
    reward: RewardSettings,
) -> None:
    """Train a tokenizer on solved problems, and on what a judge reads and writes of them."""
    tokenizer = train_tokenizer(
        _texts(rows[:_ROWS], prompt, settings, reward),
        2048,
        vocabulary=reward.labels,
        pieces=_PIECES,
    )
    tokenizer.save_pretrained(folder)
    name_portable_tokenizer(folder / "tokenizer_config.json")


def _texts(
    rows: Sequence[dict[str, Any]],
    prompt: PromptTemplate,
    settings: CotrainSettings,
    reward: RewardSettings,
) -> Iterator[str]:
    judge = JudgeTemplate.load(reward.template)
    check = JudgeTemplate.load(reward.check_template or reward.template)
    verdict = unescape(reward.verdict)
    split = make_splitter("labelled").split
    # every pair of digits, however rare
    yield "\n".join(f"{i} 0{i % 10}, {i:02}" for i in range(100))
    for row in rows:
        yield prompt.render(row["problem"], (row["solution"],))
    for row in rows[: _ROWS // 10]:
        steps = (row["solution"],)
        yield judge.render(row["problem"], steps) + reward.labels[0]
        family = family_of(row.get("unique_id", ""))
        if settings.written and family is not None:
            found = family.check(row["problem"], split(row["solution"]))
            text = work_out(found.text) if reward.calculator else found.text
            yield check.render(row["problem"], steps) + text + verdict + reward.labels[1]
