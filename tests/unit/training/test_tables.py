"""Files of rows: the name's end decides, and what fails leaves nothing."""

from __future__ import annotations

import json

import pytest

from rtsearch_fast.errors import DataError, InvalidArgumentError, MissingExtraError
from rtsearch_fast.training.tables import write_rows

COLUMNS = {"text": "string", "values": ["float64"], "score": "float64"}
ROWS = [{"text": f"row {i} \ud800", "values": [0.5] * (i % 3), "score": None} for i in range(2500)]


def test_parquet_when_written_holds_the_rows_of_the_jsonl(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_rows(tmp_path / "rows.jsonl", ROWS, COLUMNS) == 2500
    assert write_rows(tmp_path / "rows.parquet", iter(ROWS), COLUMNS) == 2500
    file = parquet.ParquetFile(tmp_path / "rows.parquet")
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert file.read().to_pylist() == [json.loads(line) for line in lines]
    assert file.num_row_groups == 3  # no more than one was in memory
    again = tmp_path / "again.parquet"
    write_rows(again, ROWS, COLUMNS)
    assert again.read_bytes() == (tmp_path / "rows.parquet").read_bytes()


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
def test_file_when_rows_fail_halfway_is_as_it_was(end, tmp_path):
    if end == "parquet":
        pytest.importorskip("pyarrow")

    def rows():
        yield from ROWS
        raise DataError("line 7: no sample")

    path = tmp_path / f"rows.{end}"
    path.write_text("precious")
    with pytest.raises(DataError, match="line 7"):
        write_rows(path, rows(), COLUMNS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "precious"


@pytest.mark.parametrize("end", ["jsonl", "parquet"])
def test_file_when_there_is_no_room_leaves_nothing(end, tmp_path):
    if end == "parquet":
        pytest.importorskip("pyarrow")
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(
            DataError, match=r"cannot be written \(File too large\); choose another"
        ):
            write_rows(tmp_path / f"rows.{end}", ROWS, COLUMNS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["rows", "rows.csv", "rows.JSONL", "parquet"])
def test_file_when_its_end_is_unknown_is_refused(name, tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"ends in '.*'; name the output .jsonl or"):
        write_rows(tmp_path / name, ROWS, COLUMNS)
    assert not list(tmp_path.iterdir())


def test_parquet_when_pyarrow_is_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rtsearch-fast\[train\]"):
        write_rows(tmp_path / "rows.parquet", ROWS, COLUMNS)


def test_parquet_when_the_folder_cannot_be_written_says_so():
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="cannot be written"):
        write_rows("/proc/self/rows.parquet", ROWS, COLUMNS)
