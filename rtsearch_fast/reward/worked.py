"""Checks whose sums a calculator works out: the judge copies, the calculator computes."""

from __future__ import annotations

from ..arithmetic import evaluate, tokenize, write

__all__ = ["RESULTS", "work_out"]

#: What stands between the sums of a check and their results; a judge ends its sums with it.
RESULTS = " = "
_UNKNOWN = "?"


def work_out(sums: str) -> str:
    """Write the results of sums behind them.

    Parameters
    ----------
    sums : str
        Arithmetic between commas. What is none has the result ``?``.

    Examples
    --------
    >>> work_out("13*54-702, 54*23-1240, ?")
    '13*54-702, 54*23-1240, ? = 0, 2, ?'
    """
    return f"{sums}{RESULTS}{', '.join(_result(each) for each in sums.split(', '))}"


def _result(text: str) -> str:
    found = evaluate(list(tokenize(text, 0, len(text))))
    digits = write(abs(found[0]), "") if found is not None else None
    if found is None or digits is None:
        return _UNKNOWN
    return f"-{digits}" if found[0] < 0 else digits
