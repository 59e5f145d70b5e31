"""Fixed searches whose signatures are recorded: a change of one bit of one node fails here.

Whoever means to alter the search gets the new signatures by ``rtsearch bench --signature``, puts
them in rtsearch_fast/bench/signatures.json and says why in the commit.
"""

from __future__ import annotations

import pytest

from rtsearch_fast.bench.signature import SEARCHES, recorded_signatures, search
from rtsearch_fast.forest import Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest


def test_recorded_signatures_when_listed_are_those_of_the_searches() -> None:
    assert sorted(recorded_signatures()) == sorted(SEARCHES)


@pytest.mark.parametrize("forest_class", [Forest, ReferenceForest], ids=["core", "reference"])
@pytest.mark.parametrize("name", SEARCHES)
def test_search_when_repeated_has_the_recorded_signature(
    name: str, forest_class: type[Forest | ReferenceForest]
) -> None:
    settings, batch = SEARCHES[name]
    assert search(forest_class(SearchParams(**settings)), batch) == recorded_signatures()[name]
