"""Graders: equal answers in all their spellings, and answers that must not take others along."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rtsearch_fast.evaluation.grade as module
from rtsearch_fast.errors import InvalidArgumentError, MissingExtraError, SearchError
from rtsearch_fast.evaluation.answers import compare_plainly
from rtsearch_fast.evaluation.data import Item
from rtsearch_fast.evaluation.grade import Grade, Grader
from rtsearch_fast.search.records import Problem

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, timeout=20) as grader:
        yield grader


# --- strings and numbers, without a process ----------------------------------


@pytest.mark.parametrize(
    ("pred", "gold"),
    [
        ("18", "18"),
        ("18", "$18$"),
        (r"\$18", "18"),
        ("$18", "18"),
        ("-$18.00", "-18"),
        ("18 dollars", "18"),
        (r"18\text{ dollars}", "18.0"),
        ("18.", "18"),
        ("+18", "18"),
        ("1,234,567", "1234567"),
        (r"1{,}234", "1234"),
        (r"1\,234\!", "1234"),
        ("-9867630", "-9867630.0"),
        ("\u2212\u0035", "-5"),
        (".5", "0.50"),
        ("1e3", "1000"),
        (r"6.72 \times 10^{-5}", "0.0000672"),
        ("5.4", r"5.4 \text{ cents}"),
        ("36", r"36^\circ"),
        ("36 degrees", r"36^{\circ}"),
        (r"60 \mathrm{~km} / \mathrm{h}", "60"),
        (r"12\text{ cm}^2", "12"),
        ("17.5", "17.5%"),
        ("0.175", r"17.5\%"),
        ("17.5 percent", "17.5%"),
        (r"\frac{1}{2}", r"\dfrac12"),
        ("1/2", r"\frac{1}{2}"),
        (r"-\frac{1}{2}", r"\frac{-1}{2}"),
        ("0.75", r"\frac 34"),
        ("0.333333", r"\frac{1}{3}"),
        ("-416761.222222", "-416761.2222222222"),
        ("east", r"\text{east}"),
        (r"\text{East}", "east"),
        ("E", r"\text{(E)}"),
        (r"\left( \frac{3}{2}, -13 \right)", r"(\dfrac{3}{2},-13)"),
        ("40_{9}", "40_9"),
        ("x + 1", "$x+1$"),
        (r"\(x\)", "x"),
    ],
)
def test_equal_without_algebra(pred: str, gold: str) -> None:
    verdict = compare_plainly(pred, gold)
    assert verdict is not None
    assert verdict.correct and verdict.relative
    assert compare_plainly(gold, pred) == verdict


@pytest.mark.parametrize(
    ("pred", "gold"),
    [
        ("18", "19"),
        ("18", "-18"),
        ("1 1/2", "11/2"),
        ("1 2", "12"),
        ("0.33", r"\frac{1}{3}"),
        ("416761.22", "416761.2222222222"),
        ("4050345", "4050344.0"),
        ("0.000067", "0.0000672"),
        ("0", "0.0000001"),
        ("40_8", "40_9"),
        ("x_1", "x_2"),
        (r"2\mathrm{i}", "2"),
        ("3 million", "3"),
        ("3 half", "3"),
        ("2x", "2"),
        ("3 or 5", "3"),
        ("3,5", "35"),
        ("e5", "0"),
        ("1/0", "1"),
        ("A", "a"),
        ("west", r"\text{east}"),
        (".0000672", "672"),
    ],
)
def test_not_equal_without_algebra(pred: str, gold: str) -> None:
    for verdict in (compare_plainly(pred, gold), compare_plainly(gold, pred)):
        assert verdict is None or not verdict.correct


@pytest.mark.parametrize(
    ("pred", "gold", "relative"),
    [
        ("10001", "10000", True),
        ("10001.01", "10000", False),
        ("-9999", "-10000", True),
        ("9999", "-10000", False),
        ("0.00000001", "0", False),
        ("17.501", "17.5%", True),
        ("649788.83", "649788.8333333333", True),
    ],
)
def test_relative_tolerance(pred: str, gold: str, relative: bool) -> None:
    assert compare_plainly(pred, gold) == (False, relative, "number")


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_integers_are_compared_exactly(a: int, b: int) -> None:
    verdict = compare_plainly(f"{a:,}", f"${b}$")
    assert verdict is not None
    assert verdict.correct == (a == b)
    assert verdict.relative == (a == b or 10_000 * abs(a - b) <= abs(b))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_equal_themselves(x: float) -> None:
    verdict = compare_plainly(repr(x), f"{x!r} dollars")
    assert verdict is not None and verdict.correct


@given(st.text(), st.text())
def test_any_text_can_be_compared(a: str, b: str) -> None:
    verdict = compare_plainly(a, a)
    assert verdict is not None and verdict.correct
    compare_plainly(a, b)


@given(st.text(alphabet=r"0123456789.,-+eE%$\{}()/^_ abtexfrcimns", max_size=30))
def test_texts_like_numbers_can_be_compared(text: str) -> None:
    compare_plainly(text, "1")


def test_cheap_comparison_is_cheap() -> None:
    for text in ("a " * 2_000, "1" * 4_000, "{" * 4_000, r"\text{" * 600, " " * 3_999 + "x"):
        begun = time.perf_counter()
        compare_plainly(text, "1")
        assert time.perf_counter() - begun < 0.5


def test_cheap_grades_start_no_process() -> None:
    with Grader() as grader:
        pairs = [(None, "1"), ("", "1"), ("  ", "1"), ("2", "1"), ("east", "east")]
        how = [grade.how for grade in grader.grade_many(pairs)]
        assert how == ["none", "none", "none", "number", "string"]
        assert grader.grade("x" * 100_000, "1") == Grade(False, False, "refused")
        assert grader._workers == []


def test_nothing_to_grade() -> None:
    with Grader() as grader:
        assert grader.grade_many([]) == []


@pytest.mark.parametrize("arguments", [{"timeout": 0}, {"timeout": float("nan")}, {"workers": 0}])
def test_nonsense_settings(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidArgumentError):
        Grader(**arguments)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with Grader() as grader:
        assert grader.grade("1", "1").correct
        with pytest.raises(MissingExtraError, match=r'pip install "rtsearch-fast\[hf\]"'):
            grader.grade("x+1", "1+x")
        with pytest.raises(MissingExtraError):
            grader.start()


# --- computer algebra, in processes ------------------------------------------


@needs_math_verify
def test_equal_by_algebra(grader: Grader) -> None:
    pairs = [
        ("3-13x", "-13x+3"),
        (r"\sqrt{72}", r"$6 \sqrt{2}$"),
        ("(-10,-9), (45,2)", "$(45,2),(-10,-9)$"),
        ("3, 2, 4", "2,4,3"),
        (r"x=1 \text{ or } x=-1", "$x=-1$ or $x=1$"),
        (r"\pm 1", "$x=-1$ or $x=1$"),
        (r"(-\infty, 0 ]", r"(-\infty,0]"),
        ("2x + 3", "y = 2x+3"),
        ("x = 5", "5"),
        (r"\frac{(2n)!}{(n!)^2}", r"$\binom{2n}{n}$"),
        (r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ]
    for pair, grade in zip(pairs, grader.grade_many(pairs), strict=True):
        assert grade.correct and grade.relative, pair


@needs_math_verify
def test_unequal_by_algebra(grader: Grader) -> None:
    pairs = [
        ("(45,2)", "$(45,2),(-10,-9)$"),
        ("x=1", "$x=-1$ or $x=1$"),
        ("2,4", "2,4,3"),
        ("1,2,3,4", "1,2,3"),
        (r"(-\infty,0)", r"(-\infty,0]"),
        ("(2,1)", "(1,2)"),
        ("2x", "2"),
        ("2x+4", "y=2x+3"),
        ("y=5", "x=5"),
        ("nonsense", "5"),
        (r"\frac{", "5"),
        ("\ud800", "5"),
        ("x\n\ny", "5"),
    ]
    for pair, grade in zip(pairs, grader.grade_many(pairs), strict=True):
        assert grade == Grade(False, False, "symbolic"), pair


@needs_math_verify
def test_relative_tolerance_of_expressions(grader: Grader) -> None:
    pairs = [(r"1000 \times 3.5", "3500.2"), (r"1000 \times 3.5", "3501"), ("7x", "7.0")]
    assert [g.relative for g in grader.grade_many(pairs)] == [True, False, False]


@needs_math_verify
def test_hostile_answers_take_nobody_along() -> None:
    hostile = ["9^9^9^9^9", "9^{9^{9^{9}}}", "100000000!", "{" * 4_000, "{" * 100_000]
    pairs = []
    for text in hostile:
        pairs += [(text, "3"), ("x+1", "1+x")]
    with Grader(timeout=1.5, workers=2) as grader:
        begun = time.monotonic()
        grades = grader.grade_many(pairs)
        assert time.monotonic() - begun < 60
        assert [grade.correct for grade in grades] == [False, True] * len(hostile)
        assert "timeout" in {grade.how for grade in grades}
        assert grades[-2].how == "refused"
        assert grader.grade("x+2", "2+x").correct  # and the pool is whole again


@needs_math_verify
def test_a_crash_costs_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    dying = module._WORKER_CODE.replace(
        "from rtsearch_fast.evaluation.grade import _work;",
        "import os, rtsearch_fast.evaluation.grade as g; real = g.compare_symbolically; "
        "g.compare_symbolically = lambda p, t: os.abort() if p == 'die' else real(p, t); "
        "_work = g._work;",
    )
    assert dying != module._WORKER_CODE
    monkeypatch.setattr(module, "_WORKER_CODE", dying)
    with Grader(workers=1, timeout=30) as grader:
        grades = grader.grade_many([("x+1", "1+x"), ("die", "4"), ("x+2", "2+x")])
    assert [grade.how for grade in grades] == ["symbolic", "crash", "symbolic"]
    assert [grade.correct for grade in grades] == [True, False, True]


@needs_math_verify
def test_a_worker_killed_while_idle_is_replaced(grader: Grader) -> None:
    assert grader.grade("x+1", "1+x").correct
    for worker in grader._workers:
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
    assert grader.grade("x+3", "3+x").correct


@needs_math_verify
def test_an_interrupt_leaves_no_stale_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    with Grader(workers=1, timeout=30) as grader:
        assert grader.grade("x+1", "1+x").correct

        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(module, "wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                grader.grade("x+1", "1+x")
        assert not grader.grade("x+1", "2+x").correct


@needs_math_verify
def test_processes_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORKER_CODE", "raise SystemExit(3)")
    with Grader(workers=1) as grader, pytest.raises(SearchError, match="does not start"):
        grader.grade("x+1", "1+x")


@needs_math_verify
def test_close_leaves_no_process() -> None:
    grader = Grader(workers=2)
    grader.start()
    processes = [worker._process for worker in grader._workers]
    assert len(processes) == 2
    grader.close()
    grader.close()
    assert all(process.poll() is not None for process in processes)


@needs_math_verify
def test_it_works_in_a_script_without_main_guard_and_in_a_thread(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, threading\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from rtsearch_fast.evaluation.grade import Grader\n"
        "def run():\n"
        "    with Grader(workers=1) as grader:\n"
        "        print(grader.grade('x+1', '1+x').correct)\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")


@needs_math_verify
def test_a_busy_worker_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from rtsearch_fast.evaluation.grade import Grader\n"
        "grader = Grader(workers=1, timeout=1)\n"
        "grader.grade('x+1', '1+x')\n"
        "print(grader._workers[0]._process.pid, flush=True)\n"
        "grader._workers[0].send(0, ('9^{9^{9^{9}}}', '3'), 60)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}/stat").exists() and time.monotonic() < deadline:
        # a zombie that nobody reaps has ended as well
        if Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    assert time.monotonic() < deadline


# --- checks ------------------------------------------------------------------

PUZZLE = Problem("p", "Use each of 1, 2, 3 and 4 once to make 24.")


def test_check_grades_answers_that_differ_from_the_known_one() -> None:
    item = Item(PUZZLE, "1*2*3*4", "countdown")
    answers = ["(1+2+3)*4", "24", "1*2*3*4", None, "", "x" * 5_000, "24"]
    with Grader() as grader:
        grades = grader.grade_item(item, answers)
        assert grader._workers == []
    assert [grade.correct for grade in grades] == [True, False, True, False, False, False, False]
    assert [grade.how for grade in grades[3:6]] == ["none", "none", "refused"]
    assert {grade.how for grade in grades[:3]} == {"check"}


def test_check_is_asked_once_of_equal_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def is_right(problem: str, answer: str) -> bool:
        asked.append(answer)
        return True

    monkeypatch.setattr(module, "find_check", lambda name: is_right)
    with Grader() as grader:
        grades = grader.grade_item(Item(PUZZLE, None, "countdown"), ["1", "2", "1", None])
    assert asked == ["1", "2"]
    assert [grade.correct for grade in grades] == [True, True, True, False]


def test_item_without_a_check_is_compared_with_its_answer() -> None:
    with Grader() as grader:
        grades = grader.grade_item(Item(PUZZLE, "24"), ["24.0", "25"])
        assert [grade.correct for grade in grades] == [True, False]
        with pytest.raises(InvalidArgumentError, match="no right answer and no check"):
            grader.grade_item(Item(PUZZLE, None), ["24"])
