"""docs/faults.md: each fault of the tests' server has a row, and each row a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from server_faults import FAULTS

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "docs" / "faults.md").read_text("utf-8").splitlines()
ROWS = [line.strip("|").split(" | ") for line in LINES if line.startswith("| ")][1:]


def test_table_when_read_has_a_row_for_each_fault_of_the_server():
    named = [name for row in ROWS for name in re.findall(r"`([a-z0-9-]+)`", row[0])]
    kinds = [name for name in named if name in FAULTS]
    assert sorted(kinds) == sorted(FAULTS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_table_when_read_names_a_test_that_there_is_in_each_row(row: list[str]):
    assert len(row) == 4 and all(cell.strip() for cell in row)
    path, _, name = row[3].strip().partition("::")
    text = (ROOT / "tests" / path).read_text("utf-8")
    assert re.search(rf"^def {re.escape(name)}\(", text, re.MULTILINE)
