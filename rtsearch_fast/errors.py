"""Every error that rtsearch_fast raises on purpose, one class per fault a user can act on.

The C++ core raises the same classes: the bindings look them up here by name.
"""

from __future__ import annotations

__all__ = [
    "AnswerFormatError",
    "ArenaFullError",
    "ConcurrentUseError",
    "CorruptDataError",
    "DataError",
    "EngineError",
    "InvalidArgumentError",
    "InvariantError",
    "MissingExtraError",
    "RewardGoldenError",
    "RunStoreError",
    "ScoreRangeError",
    "SearchError",
    "TreeStateError",
    "UnknownNodeError",
    "UnknownTreeError",
    "UnknownTrialError",
]


class SearchError(Exception):
    """Base of all errors of this package."""


# --- the tree core -----------------------------------------------------------


class InvalidArgumentError(SearchError, ValueError):
    """An argument is outside its documented range (NaN, negative count, bad shape)."""


class UnknownTreeError(SearchError, LookupError):
    """The forest holds no tree with this id: it was never created, or it was dropped."""


class UnknownNodeError(SearchError, LookupError):
    """The tree holds no node with this id."""


class TreeStateError(SearchError, RuntimeError):
    """The operation is not allowed now, e.g. releasing a leaf that was not selected."""


class ArenaFullError(SearchError, MemoryError):
    """The tree has no room for the new nodes; it was left unchanged."""


class ConcurrentUseError(SearchError, RuntimeError):
    """A second thread entered a forest while another was inside."""


class CorruptDataError(SearchError, ValueError):
    """Exported bytes are truncated, damaged, or of another format version."""


class InvariantError(SearchError, AssertionError):
    """A tree contradicts itself: a bug in this package, please report it."""


# --- searches by asking and telling --------------------------------------------


class ScoreRangeError(InvalidArgumentError, RuntimeError):
    """What was told of a node cannot be: a score outside [0, 1] or NaN, or no state."""


class UnknownTrialError(SearchError, LookupError):
    """No trial of this search has this id."""


# --- models, data, runs ------------------------------------------------------


class MissingExtraError(SearchError, ImportError):
    """A feature needs an optional dependency; the message names the extra to install."""


class EngineError(SearchError, RuntimeError):
    """A model engine (in process or behind a URL) cannot answer."""


class AnswerFormatError(EngineError):
    """An engine answered, but not in the shape that its protocol promises."""


class RewardGoldenError(EngineError):
    """A reward model does not give the scores that were recorded of it."""


class DataError(SearchError, ValueError):
    """A data file or record cannot be used; the message names file, line and field."""


class RunStoreError(SearchError, OSError):
    """A results file cannot be read, written or resumed."""
