"""Tokens set aside for work under way, so that a token budget is never exceeded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ..errors import AnswerFormatError, InvalidArgumentError
from .options import Budget
from .records import Usage

__all__ = ["Claim", "Ledger"]


class Claim:
    """Tokens that one piece of work may generate.

    Attributes
    ----------
    granted : int
        Tokens set aside.
    spent : int
        Tokens generated so far.
    """

    __slots__ = ("granted", "settled", "spent")

    def __init__(self, granted: int) -> None:
        self.granted = granted
        self.spent = 0
        self.settled = False

    @property
    def left(self) -> int:
        """Tokens that may still be generated; negative once it is overdrawn."""
        return self.granted - self.spent

    def spend(self, tokens: int) -> None:
        """Count generated tokens.

        Raises
        ------
        AnswerFormatError
            More tokens came than were left. They are counted all the same.

        Examples
        --------
        >>> claim = Claim(100)
        >>> claim.spend(30)
        >>> claim.left
        70
        """
        self.spent += tokens
        if self.left < 0:
            raise AnswerFormatError(
                f"models generated {self.spent} tokens where {self.granted} were allowed: "
                "budgets cannot be kept with this engine"
            )


class Ledger:
    """The token account of one problem, and its other limits.

    A claim is granted from what is neither spent nor set aside, and what it leaves over comes back
    when it is settled. Claims that are made and settled in a fixed order are answered the same way
    in every run, however soon the models answered in between.

    Parameters
    ----------
    budget : Budget
    clock : callable
        Seconds, from any origin; the ledger's time starts when it is made.

    Examples
    --------
    >>> ledger = Ledger(Budget(tokens=100))
    >>> claim = ledger.claim(60, 10, others_in_flight=False)
    >>> ledger.claim(60, 10, others_in_flight=True) is None
    True
    >>> claim.spend(20)
    >>> ledger.settle(claim)
    >>> ledger.claim(90, 10, others_in_flight=False).left
    80
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.committed = 0  #: tokens spent by settled claims
        self.claimed = 0  #: tokens set aside by open claims
        self._clock = clock
        self._started_at = clock()

    def claim(self, worst_case_tokens: int, minimum: int, others_in_flight: bool) -> Claim | None:
        """Set tokens aside for one piece of work.

        Parameters
        ----------
        worst_case_tokens : int
            Most that it can generate.
        minimum : int
            Least that it is worth starting with.
        others_in_flight : bool
            Work of this problem is under way, whose claims may return tokens.

        Returns
        -------
        Claim or None
            Of `worst_case_tokens` if they are available. If not, and there is nothing to wait for,
            of all that is available, from `minimum` up. Otherwise None.
        """
        if worst_case_tokens < 1:
            raise InvalidArgumentError(f"worst_case_tokens={worst_case_tokens}: must be at least 1")
        granted = worst_case_tokens
        available = self.available
        if available is not None and available < worst_case_tokens:
            if others_in_flight or available < max(1, minimum):
                return None
            granted = available
        self.claimed += granted
        return Claim(granted)

    @property
    def available(self) -> int | None:
        """Tokens neither spent nor set aside; None where there is no limit."""
        if self.budget.tokens is None:
            return None
        return self.budget.tokens - self.committed - self.claimed

    def settle(self, claim: Claim) -> None:
        """Commit what a claim has spent and take back the rest.

        Raises
        ------
        InvalidArgumentError
            It was settled before.
        """
        if claim.settled:
            raise InvalidArgumentError("this claim was settled before")
        claim.settled = True
        self.claimed -= claim.granted
        self.committed += claim.spent

    def seconds_left(self) -> float:
        """Wall time until the limit; infinite where there is none."""
        if self.budget.seconds is None:
            return math.inf
        return self.budget.seconds - (self._clock() - self._started_at)

    def resume_at(self, seconds: float) -> None:
        """Count the time as if so much of it had passed already."""
        self._started_at = self._clock() - seconds

    def exhausted(self, usage: Usage) -> str | None:
        """Return the limit that `usage` has met, as a stop reason; None if there is none.

        Examples
        --------
        >>> Ledger(Budget(simulations=8)).exhausted(Usage(simulations=8))
        'simulations'
        """
        for name in ("tokens", "simulations", "nodes"):
            limit = getattr(self.budget, name)
            if limit is not None and getattr(usage, name) >= limit:
                return name
        return "seconds" if self.seconds_left() <= 0 else None
