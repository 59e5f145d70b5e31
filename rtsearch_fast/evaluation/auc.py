"""Area under the ROC curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["auc"]


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the chance that a right one has the higher score than a wrong one; ties count half.

    NaN scores are left out. NaN if either class is empty. By ranks (Mann-Whitney U).

    Examples
    --------
    >>> auc([0.9, 0.8, 0.7, 0.8], [True, True, False, False])
    0.875
    """
    values = np.asarray(scores, float)
    right = np.asarray(labels, bool)
    known = ~np.isnan(values)
    values, right = values[known], right[known]
    count = int(right.sum())
    if count in (0, len(right)):
        return math.nan
    _, inverse, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    above = ranks[inverse][right].sum() - count * (count + 1) / 2
    return float(above / (count * (len(right) - count)))
