"""What records hold of a tree, and how a damaged one is met."""

from __future__ import annotations

import json
import math

import pytest

from rtsearch_fast.errors import DataError
from rtsearch_fast.search.records import SearchTree

TREE = SearchTree(
    (-1, 0, 0), ("", "a", "b"), (2, 2, 0), (0.5, 0.5, math.nan), (1.0, 0.5, 0.5), (False,) * 3
)


def test_tree_when_written_and_read_is_the_same():
    record = json.loads(json.dumps(TREE.to_record(), allow_nan=False))
    assert repr(SearchTree.from_record(record)) == repr(TREE)  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"parent": [0, 0, 0]}, "`parent` does not name"),
        ({"parent": [-1, 0, 2]}, "`parent` does not name"),
        ({"parent": [-1, 0, -1]}, "`parent` does not name"),
        ({"parent": [-1, 0, "0"]}, "`parent` is missing"),
        ({"step": ["", "a", None]}, "`step` is missing"),
        ({"step": []}, "`step` is missing"),
        ({"visit_count": [1, 1, -1]}, "`visit_count` is missing"),
        ({"mean_value": [0.5, 0.5, 1.5]}, "`mean_value` is missing"),
        ({"prior": [1.0, None, 0.5]}, "`prior` is missing"),
        ({"prior": [1.0, 0.5]}, "lists differ in length"),
        ({"terminal": [0, 0, 0]}, "`terminal` is missing"),
        ({"terminal": None}, "`terminal` is missing"),
    ],
)
def test_tree_when_damaged_is_refused(change, words):
    with pytest.raises(DataError, match=words):
        SearchTree.from_record(TREE.to_record() | change)


def test_tree_when_no_record_at_all_is_refused():
    with pytest.raises(DataError, match="`parent` is missing"):
        SearchTree.from_record([1])
