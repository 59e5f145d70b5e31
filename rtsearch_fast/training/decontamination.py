"""Keep test problems out of training data: 13-gram overlap, and exact matches of short problems.

A training text is contaminated if it has 13 consecutive words in common with a test problem,
whatever stands between the words. Problems of fewer words are compared as a whole, signs included,
with each whole text and each of its lines (a prompt has its problem on lines of its own).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, InvalidArgumentError
from ..evaluation.data import load_problems
from .jsonl import read_jsonl
from .report import columns
from .samples import Sampled
from .wording import tokens, words

__all__ = ["Contamination", "Decontaminated", "HeldOut", "assert_no_leak", "decontaminate"]

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Contamination:
    """Where a training text meets a test problem.

    Attributes
    ----------
    test_id : str
        Of the test problem.
    place : {"problem", "solution"}
        Where in the training row; `assert_no_leak` names the field.
    shared : str
        The words that both have.
    """

    test_id: str
    place: str
    shared: str


class HeldOut:
    """The test problems, indexed.

    Parameters
    ----------
    n : int
        Consecutive words in common that are a match.

    Examples
    --------
    >>> held_out = HeldOut()
    >>> held_out.add("gsm8k/1", "How many eggs does Janet sell?")
    >>> held_out.find("Q: HOW many eggs\\nHow many eggs does Janet sell?\\n")
    ('gsm8k/1', 'how many eggs does janet sell ?')
    >>> held_out.find("How many eggs does Janet sell each day?")
    """

    def __init__(self, n: int = 13) -> None:
        if n < 1:
            raise InvalidArgumentError(f"n={n}: at least 1 word in common makes a match")
        self._n = n
        self._block = max(1, n // 3)
        self._blocks: set[str] = set()
        self._ids: dict[str, str] = {}
        self._grams: dict[str, str] = {}
        self._short: dict[str, str] = {}
        self._longest = 0  # characters that a line can have and still be a short problem

    @classmethod
    def load(cls, paths: Iterable[StrPath], n: int = 13) -> HeldOut:
        """Index the problems of JSONL files.

        Raises
        ------
        DataError
            A file cannot be read, or there is none.
        """
        held_out = cls(n)
        for path in paths:
            for item in load_problems(path):
                held_out.add(item.problem.unique_id, item.problem.problem)
        if not len(held_out):
            raise DataError("there are no test problems to compare with: give their files")
        return held_out

    def __len__(self) -> int:
        """How many problems there are."""
        return len(self._ids)

    def add(self, test_id: str, problem: str) -> None:
        """Index one problem."""
        self._ids[test_id] = problem
        found = words(problem)
        if len(found) >= self._n:
            self._blocks.update(_ngrams(found, self._block))
            for gram in _ngrams(found, self._n):
                self._grams.setdefault(gram, test_id)
        elif whole := " ".join(tokens(problem)):
            self._short.setdefault(whole, test_id)
            self._longest = max(self._longest, 2 * len(problem) + 50)  # blanks may be more

    def find(self, text: str) -> tuple[str, str] | None:
        """The test problem that a text meets, and what they share; None if there is none."""
        found = words(text)
        # Any n words in a row hold the `block` words that begin at a multiple of `stride`: where
        # these are in no test problem, `stride` n-grams need not be looked at.
        stride = self._n - self._block + 1
        for start in range(0, len(found) - self._block + 1, stride):
            if " ".join(found[start : start + self._block]) in self._blocks:
                around = found[max(0, start - stride + 1) : start + self._n]
                for gram in _ngrams(around, self._n):
                    if gram in self._grams:
                        return self._grams[gram], gram
        if self._short:
            for part in (text, *text.splitlines()):
                if len(part) <= self._longest and (whole := " ".join(tokens(part))) in self._short:
                    return self._short[whole], whole
        return None


@dataclass(frozen=True, slots=True)
class Decontaminated:
    """What is clean, in its old order, and what is not, with the reason.

    Attributes
    ----------
    kept : list of Sampled
    dropped : list of (Sampled, Contamination)
    """

    kept: list[Sampled]
    dropped: list[tuple[Sampled, Contamination]]

    def render(self, limit: int = 10) -> str:
        """Counts, and the test problems that were met most often."""
        places = Counter(hit.place for _, hit in self.dropped)
        head = (
            f"{len(self.kept)} samples are clean, {len(self.dropped)} are not "
            f"(problem {places['problem']}, solution {places['solution']})"
        )
        if not self.dropped:
            return head
        hits = Counter(hit.test_id for _, hit in self.dropped)
        shared = {hit.test_id: hit.shared for _, hit in reversed(self.dropped)}
        rows: list[tuple[object, ...]] = [("test problem", "samples", "in common")]
        rows += [(name, count, shared[name][:60]) for name, count in hits.most_common(limit)]
        more = f"\n... and {len(hits) - limit} more test problems" if len(hits) > limit else ""
        return f"{head}\n{columns(rows)}{more}"


def decontaminate(samples: Sequence[Sampled], held_out: HeldOut) -> Decontaminated:
    """Drop samples whose problem or solution meets a test problem.

    Examples
    --------
    >>> held_out = HeldOut(n=3)
    >>> held_out.add("test/1", "Add three and four.")
    >>> clean = Sampled("1", "Add four and three.", ("\\\\boxed{7}",), "7", True)
    >>> leak = Sampled("2", "Find x.", ("First add (three) and four.",), "7", True)
    >>> decontaminate([clean, leak], held_out).dropped[0][1]
    Contamination(test_id='test/1', place='solution', shared='add three and')
    """
    kept, dropped = [], []
    problems: dict[str, tuple[str, str] | None] = {}
    for sample in samples:
        problem = sample.problem
        if problem not in problems:  # shared by many samples
            problems[problem] = held_out.find(problem)
        hit, place = problems[problem], "problem"
        if hit is None:
            hit, place = held_out.find(sample.text), "solution"
        if hit is None:
            kept.append(sample)
        else:
            dropped.append((sample, Contamination(hit[0], place, hit[1])))
    return Decontaminated(kept, dropped)


def assert_no_leak(
    train_files: Iterable[StrPath], heldout_files: Iterable[StrPath], *, n: int = 13
) -> int:
    """Make sure that no text in any field of the training files meets a test problem.

    Whatever fields the training rows have: samples and all exported formats can be checked.

    Returns
    -------
    int
        How many rows were looked at.

    Raises
    ------
    DataError
        A row meets a test problem; the message names file, line, field, and the test problem.
    """
    held_out = HeldOut.load(heldout_files, n)
    seen: dict[str, None] = {}
    count = 0
    for path in train_files:
        for where, row in read_jsonl(path):
            count += 1
            for field, text in _texts(row):
                if text in seen:  # problems and prompts are shared by many rows
                    continue
                hit = held_out.find(text)
                if hit is not None:
                    raise DataError(
                        f"{where}: {field} has {hit[1][:80]!r} in common with the test problem "
                        f"{hit[0]}: run rtsearch data decontaminate"
                    )
                seen[text] = None
    if not count:
        raise DataError("there are no training rows to check: give their files")
    return count


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """All texts of a row; lists of texts joined, since steps break n-grams."""
    for field, value in row.items():
        if isinstance(value, str):
            yield field, value
        elif isinstance(value, list) and all(isinstance(part, str) for part in value):
            yield field, "".join(value)
        elif isinstance(value, list):
            for part in value:
                if isinstance(part, dict):
                    yield from ((f"{field}.{name}", text) for name, text in _texts(part))


def _ngrams(found: list[str], n: int) -> Iterator[str]:
    return (" ".join(found[i : i + n]) for i in range(len(found) - n + 1))
