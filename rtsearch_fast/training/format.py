r"""Does a solution keep to the labelled-step format? What is wrong with it, one code a fault.

## Analysis            optional, or required
## Restatement         optional, or required
## Step 1: title       numbered from 1
## Answer              exactly one \boxed{}, and no other in the text
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from ..answers import final_answer
from ..errors import InvalidArgumentError
from ..evaluation.data import Item
from ..evaluation.grade import Grader

__all__ = ["CODES", "Level", "Violation", "check_format"]

#: "lenient": analysis, restatement and titles of steps may be missing; "strict": they may not.
Level = Literal["lenient", "strict"]

#: Every code, with what it says.
CODES = {
    "empty": "there is no text",
    "text-before-header": "text before the first header",
    "unknown-header": "a header that the format does not have",
    "repeated-section": "a section that was there before",
    "section-order": "a section that comes too late",
    "missing-analysis": "no ## Analysis",
    "missing-restatement": "no ## Restatement",
    "missing-steps": "no ## Step",
    "step-number": "steps that are not numbered from 1, one after the other",
    "missing-title": "a step without a title",
    "empty-section": "a section with nothing under its header",
    "missing-answer": "no ## Answer",
    "missing-box": "no box with an answer in it",
    "several-boxes": "more than one box",
    "box-outside-answer": "a box elsewhere than under ## Answer",
    "wrong-answer": "another answer than the right one",
}

_HEADER = re.compile(r"^(#{2,})[ \t]*(.*)$", re.MULTILINE)
_STEP = re.compile(r"Step[ \t]+(\d{1,9})[ \t]*(?::[ \t]*(.*))?")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
#: Sections in their order; steps have one place.
_ORDER = ("Analysis", "Restatement", "Step", "Answer")


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault.

    Attributes
    ----------
    code : str
        One of `CODES`.
    line : int
        In the solution, from 1.
    detail : str
        What was found there.
    """

    code: str
    line: int
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {CODES[self.code]} ({self.detail})"


@dataclass(frozen=True, slots=True)
class _Section:
    """A header and what stands below it."""

    level: int
    header: str
    body: str
    line: int


def check_format(
    text: str,
    *,
    level: Level = "lenient",
    item: Item | None = None,
    grader: Grader | None = None,
) -> list[Violation]:
    """All faults of a solution, in the order of its lines; none if it keeps to the format.

    Parameters
    ----------
    text : str
    level : {"lenient", "strict"}
    item : Item, optional
        The problem with its right answer, or check; it needs a `grader`.
    grader : Grader, optional

    Examples
    --------
    >>> check_format("## Step 1: add\\n3 + 4 = 7\\n\\n## Answer\\n\\\\boxed{7}")
    []
    >>> for fault in check_format("Well:\\n## Step 2: add\\n3 + 4 = \\\\boxed{7}"):
    ...     print(fault.code, "-", fault)
    text-before-header - line 1: text before the first header ('Well:')
    step-number - line 2: steps that are not numbered from 1, one after the other (2 for 1)
    box-outside-answer - line 3: a box elsewhere than under ## Answer (Step 2: add)
    missing-answer - line 3: no ## Answer (3 lines)
    """
    if level not in get_args(Level):
        raise InvalidArgumentError(f"level={level!r}: choose lenient or strict")
    if item is not None and grader is None:
        raise InvalidArgumentError("item: a right answer needs a grader to compare with")
    if not text.strip():
        return [Violation("empty", 1, "blank")]
    faults = [
        *_faults_of_sections(_sections(text), level),
        *_faults_of_boxes(text),
        *_missing(text, level),
    ]
    answer = final_answer(text)
    if item is not None and grader is not None and answer is not None:
        (grade,) = grader.grade_item(item, [answer])
        if not grade.correct:
            right = repr(item.gold) if item.check is None else item.check
            faults.append(Violation("wrong-answer", _lines(text), f"{answer!r} for {right}"))
    return sorted(faults, key=lambda fault: fault.line)


def _sections(text: str) -> list[_Section]:
    """The text cut at its headers; what stands before the first is a section of level 0."""
    headers = list(_HEADER.finditer(text))
    first = headers[0].start() if headers else len(text)
    sections = [_Section(0, "", text[:first], 1)]
    ends = [*(header.start() for header in headers[1:]), len(text)]
    for header, end in zip(headers, ends, strict=False):  # there may be no header
        line = text.count("\n", 0, header.start()) + 1
        body = text[header.end() : end]
        sections.append(_Section(len(header[1]), header[2].strip(), body, line))
    return sections


def _faults_of_sections(sections: list[_Section], level: Level) -> Iterator[Violation]:
    before = sections[0].body.strip()
    if before:
        yield Violation("text-before-header", 1, repr(before.splitlines()[0][:40]))
    seen: set[str] = set()
    steps, latest = 0, 0
    for section in sections[1:]:
        step = _STEP.fullmatch(section.header)
        kind = "Step" if step else section.header
        if section.level != 2 or kind not in _ORDER:
            yield Violation("unknown-header", section.line, repr(section.header[:40]))
            continue
        if step is None and kind in seen:
            yield Violation("repeated-section", section.line, kind)
        elif _ORDER.index(kind) < latest:
            yield Violation("section-order", section.line, f"{kind} after {_ORDER[latest]}")
        if step is not None:
            steps += 1
            if int(step[1]) != steps:
                yield Violation("step-number", section.line, f"{step[1]} for {steps}")
                steps = int(step[1])  # one gap is one fault
            if level == "strict" and not step[2]:
                yield Violation("missing-title", section.line, f"Step {step[1]}")
        if not section.body.strip():
            yield Violation("empty-section", section.line, section.header)
        seen.add(kind)
        latest = max(latest, _ORDER.index(kind))


def _faults_of_boxes(text: str) -> Iterator[Violation]:
    boxes = list(_BOX.finditer(text))
    if final_answer(text) is None:
        yield Violation("missing-box", _lines(text), f"{len(boxes)} boxes, none with an answer")
    if len(boxes) > 1:
        yield Violation("several-boxes", _line(text, boxes[1]), f"{len(boxes)} boxes")
    for section in _sections(text):
        found = _BOX.search(section.header + section.body)
        if found and section.header != "Answer":
            line = section.line + (section.header + section.body).count("\n", 0, found.start())
            yield Violation("box-outside-answer", line, section.header or "before any header")


def _missing(text: str, level: Level) -> Iterator[Violation]:
    kinds = [section.header for section in _sections(text)[1:] if section.level == 2]
    end, size = _lines(text), f"{_lines(text)} lines"
    if level == "strict":
        for name in ("Analysis", "Restatement"):
            if name not in kinds:
                yield Violation(f"missing-{name.lower()}", end, size)
    if not any(_STEP.fullmatch(kind) for kind in kinds):
        yield Violation("missing-steps", end, size)
    if "Answer" not in kinds:
        yield Violation("missing-answer", end, size)


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _line(text: str, found: re.Match[str]) -> int:
    return text.count("\n", 0, found.start()) + 1
