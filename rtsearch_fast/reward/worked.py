"""Checks whose sums a calculator works out: the judge copies, the calculator computes."""

from __future__ import annotations

import re

from ..arithmetic import evaluate, tokenize, write

__all__ = ["RESULTS", "work_out"]

#: What stands between the sums of a check and their results; a judge ends its sums with it.
RESULTS = " = "
_UNKNOWN = "?"
#: What stands between sums: commas, and labels that say what the next ones are about.
#: Blanks are looked at from their first one only, else many of them would take quadratic time.
_BETWEEN = re.compile(r", |(?:(?<!\s)\s+)?\b[A-Z][a-z]+(?: \d+)?: ")


def work_out(sums: str) -> str:
    """Write the results of sums behind them.

    Parameters
    ----------
    sums : str
        Arithmetic between commas and labels, which are a word, with or without a number, before a
        colon. What is none has the result ``?``.

    Examples
    --------
    >>> work_out("13*54-702, 54*23-1240, ?")
    '13*54-702, 54*23-1240, ? = 0, 2, ?'
    >>> work_out("Step 1: 13*54-702 Answer: 54-54, 9-8")
    'Step 1: 13*54-702 Answer: 54-54, 9-8 = 0, 0, 1'
    """
    first, *others = _BETWEEN.split(sums)
    each = [first, *others] if first.strip() or not others else others
    return f"{sums}{RESULTS}{', '.join(map(_result, each))}"


def _result(text: str) -> str:
    found = evaluate(list(tokenize(text, 0, len(text))))
    digits = write(abs(found[0]), "") if found is not None else None
    if found is None or digits is None:
        return _UNKNOWN
    return f"-{digits}" if found[0] < 0 else digits
