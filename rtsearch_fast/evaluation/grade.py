"""Is an answer right? Cheap comparisons first, then math-verify in processes that can be killed.

Model text reaches a computer algebra system here, and some of it ("9^9^9^9") never comes back.
Threads cannot be stopped, so symbolic comparison runs in child processes: one that overruns its
time, or dies, costs the one answer it was at and is replaced. Nothing is ever passed to `eval`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait

from ..errors import InvalidArgumentError, MissingExtraError, SearchError
from .answers import compare_plainly, compare_symbolically
from .checks import find_check
from .data import Item

__all__ = ["Grade", "Grader"]

_MAX_LENGTH = 4_000  # characters; a longer answer is no answer
_START_SECONDS = 120.0  # importing sympy takes one or two, a busy machine many more
_WORKER_BYTES = 2 << 30  # address space; "9^9^9^9" would take it all
# The order of sets may decide how far sympy simplifies: the same answers get the same grades.
# Numerical libraries reserve memory for each thread, which counts against the limit above.
_WORKER_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

# sys.path is handed over so that a child finds this package however the parent found it.
_WORKER_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {__name__} import _work; _work(float(sys.argv[2]))"
)


@dataclass(frozen=True, slots=True)
class Grade:
    """The judgement on one answer.

    Attributes
    ----------
    correct : bool
        Equal to the right answer, exactly or symbolically.
    relative : bool
        `correct`, or both are numbers and differ by at most 1e-4 of the right one.
    how : str
        What decided: "none" (there is no answer), "string", "number", "symbolic", "check",
        "refused" (too long), "timeout" or "crash".
    """

    correct: bool
    relative: bool
    how: str


class Grader:
    """A pool of processes that grade answers. Use it as a context manager, from one thread.

    Processes start when the first answer needs them: most numbers never do.

    Parameters
    ----------
    timeout : float
        Seconds that one symbolic comparison may take; then the answer counts as wrong.
    workers : int, optional
        Most processes at once; by default one per CPU, at most four.

    Examples
    --------
    >>> with Grader() as grader:
    ...     grader.grade("18.0", "$18$")
    Grade(correct=True, relative=True, how='number')
    """

    def __init__(self, *, timeout: float = 5.0, workers: int | None = None) -> None:
        if not 0 < timeout <= 3600:
            raise InvalidArgumentError(f"timeout={timeout}: give seconds in (0, 3600]")
        if workers is not None and workers < 1:
            raise InvalidArgumentError(f"workers={workers}: at least one is needed")
        self._timeout = timeout
        self._size = workers or min(4, os.cpu_count() or 1)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes. They start anew if something is graded later."""
        while self._workers:
            self._workers.pop().kill()

    def start(self) -> None:
        """Start the processes now, e.g. to learn before a long run that math-verify is missing."""
        self._staff(self._size)

    def grade(self, pred: str | None, gold: str) -> Grade:
        """Judge one answer; `pred` is what the box held, None if there was none."""
        return self.grade_many([(pred, gold)])[0]

    def grade_item(self, item: Item, answers: Sequence[str | None]) -> list[Grade]:
        """Judge answers to one problem, by its own check if it has one; in their order.

        Raises
        ------
        InvalidArgumentError
            The problem has neither a right answer nor a check.

        Examples
        --------
        >>> from rtsearch_fast import Problem
        >>> puzzle = Problem("1", "Use each of 1, 2, 3 and 4 once to make 24.")
        >>> with Grader() as grader:
        ...     grades = grader.grade_item(Item(puzzle, None, "countdown"), ["4*3*2*1", "24", None])
        >>> [(grade.correct, grade.how) for grade in grades]
        [(True, 'check'), (False, 'check'), (False, 'none')]
        """
        if item.check is None:
            if item.gold is None:
                raise InvalidArgumentError(
                    f"problem {item.problem.unique_id} has no right answer and no check: nothing "
                    "to grade against"
                )
            gold = item.gold
            return self.grade_many((answer, gold) for answer in answers)
        is_right = find_check(item.check)
        grades: dict[str | None, Grade] = {}
        for answer in dict.fromkeys(answers):  # equal answers are checked once
            grade = _grade_without_reading(answer)
            if grade is None:
                right = is_right(item.problem.problem, answer or "")
                grade = Grade(right, right, "check")
            grades[answer] = grade
        return [grades[answer] for answer in answers]

    def grade_many(self, pairs: Iterable[tuple[str | None, str]]) -> list[Grade]:
        """Judge many ``(pred, gold)`` pairs in parallel; the results are in their order.

        Raises
        ------
        MissingExtraError
            A comparison needs math-verify, and it is not installed.
        SearchError
            The processes cannot be started.
        """
        pairs = list(pairs)
        grades: dict[tuple[str | None, str], Grade] = {}
        hard = []
        for pair in dict.fromkeys(pairs):  # equal pairs are graded once
            grade = _grade_plainly(*pair)
            if grade is None:
                hard.append(pair)
            else:
                grades[pair] = grade
        grades.update(zip(hard, self._grade_symbolically(hard), strict=True))
        return [grades[pair] for pair in pairs]

    def _grade_symbolically(self, pairs: list[tuple[str | None, str]]) -> list[Grade]:
        grades: dict[int, Grade] = {}
        todo = deque(enumerate(pairs))
        try:
            while len(grades) < len(pairs):
                self._staff(min(self._size, len(pairs) - len(grades)))
                for worker in self._workers:
                    if worker.idle and todo:
                        worker.send(*todo.popleft(), self._timeout)
                busy = [worker for worker in self._workers if not worker.idle]
                left = min(worker.deadline for worker in busy) - time.monotonic()
                replied = wait([worker.replies.fileno() for worker in busy], timeout=max(0.0, left))
                for worker in busy:
                    has_replied = worker.replies.fileno() in replied
                    if has_replied or time.monotonic() >= worker.deadline:
                        job = worker.job
                        grade = worker.collect(has_replied)
                        if job is not None and grade is not None:
                            grades[job] = grade
        except BaseException:
            self.close()  # a reply left in a pipe would be taken for the answer to the next pair
            raise
        return [grades[job] for job in range(len(pairs))]

    def _staff(self, size: int) -> None:
        """Replace the dead, hire up to `size`."""
        for worker in self._workers:
            if not worker.alive:
                worker.kill()  # which closes its pipes
        self._workers = [worker for worker in self._workers if worker.alive]
        if len(self._workers) < size and importlib.util.find_spec("math_verify") is None:
            raise MissingExtraError(
                'grading this answer needs math-verify: pip install "rtsearch-fast[hf]"'
            )
        while len(self._workers) < size:
            self._workers.append(_Worker(self._timeout))


def _grade_plainly(pred: str | None, gold: str) -> Grade | None:
    """The grade if no computer algebra is needed for it, else None."""
    if (grade := _grade_without_reading(pred)) is not None or pred is None:
        return grade
    verdict = compare_plainly(pred, gold)
    return None if verdict is None else Grade(*verdict)


def _grade_without_reading(pred: str | None) -> Grade | None:
    """The grade of what is no answer, whatever the right one is; else None."""
    if pred is None or not pred.strip():
        return Grade(False, False, "none")
    if len(pred) > _MAX_LENGTH:
        return Grade(False, False, "refused")
    return None


class _Worker:
    """The parent's end of one child: starting, idle, or at one job until a deadline."""

    def __init__(self, timeout: float) -> None:
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER_CODE, path, str(timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # parsers complain about every odd answer
            start_new_session=True,  # Ctrl-C is the parent's to handle
            env={**os.environ, **_WORKER_ENVIRONMENT},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self.replies = self._process.stdin, self._process.stdout
        self.idle = False
        self.job: int | None = None
        self.deadline = time.monotonic() + _START_SECONDS

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, job: int, pair: tuple[str | None, str], timeout: float) -> None:
        self.idle, self.job, self.deadline = False, job, time.monotonic() + timeout
        with suppress(OSError):  # it died just now: `collect` will find that out
            self._requests.write(json.dumps(pair).encode() + b"\n")
            self._requests.flush()

    def collect(self, replied: bool) -> Grade | None:
        """The grade of its job, None if it had none; kills it if it overran or died."""
        line = self.replies.readline() if replied else b""
        job, self.job = self.job, None
        if line.endswith(b"\n"):
            self.idle = True
            return None if job is None else Grade(*json.loads(line))
        self.kill()
        if job is None:
            raise SearchError(
                "a grading process does not start; `python -c 'import math_verify'` may tell why"
            )
        return Grade(False, False, "crash" if replied else "timeout")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # closing flushes what it never read
            self._requests.close()
        self.replies.close()


def _work(timeout: float) -> None:
    """The child's loop: a line with a pair in, a line with its verdict out."""
    replies = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not be taken for a reply
    with suppress(ImportError):
        import resource

        for what, limit in ((resource.RLIMIT_AS, _WORKER_BYTES), (resource.RLIMIT_CORE, 0)):
            with suppress(ValueError, OSError):  # the user's own limit may be lower
                resource.setrlimit(what, (limit, resource.getrlimit(what)[1]))
    import math_verify  # noqa: F401  (seconds, which must not count as comparing)

    os.write(replies, b"[]\n")
    for line in sys.stdin.buffer:
        # Should the parent be killed meanwhile, nobody else would end this process.
        signal.setitimer(signal.ITIMER_REAL, 2 * timeout + 1)
        verdict = compare_symbolically(*json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(replies, json.dumps(verdict).encode() + b"\n")
