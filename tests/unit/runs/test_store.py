"""The run file: whatever happens to a writer, nothing that `append` returned for is lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtsearch_fast.errors import InvalidArgumentError, RunStoreError
from rtsearch_fast.runs.store import RunStore, content_key
from rtsearch_fast.search.records import Problem

RECORDS = {
    f"k{i}": {"pred": str(i), "text": "ä\n\u2028" * i, "scores": [0.1, None]} for i in range(4)
}


ONE_PATH = [HealthCheck.function_scoped_fixture]  # each example begins by removing the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def fill(path: Path, records: dict[str, dict[str, Any]] = RECORDS) -> bytes:
    with RunStore(path, resume=path.exists()) as store:
        for key, record in records.items():
            store.append(key, record)
    return path.read_bytes()


# --- writing and reading -----------------------------------------------------


def test_lines_are_records_with_their_key(path: Path) -> None:
    fill(path)
    values = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    assert values == [{"key": key, **record} for key, record in RECORDS.items()]
    assert next(iter(values[0])) == "key"
    assert "ä".encode() in path.read_bytes()


def test_a_line_is_there_when_append_returns(path: Path) -> None:
    with RunStore(path) as store:
        for number, (key, record) in enumerate(RECORDS.items(), start=1):
            store.append(key, record)
            assert path.read_bytes().count(b"\n") == number
            assert store.done[key] == record


def test_resume_knows_what_is_done(path: Path) -> None:
    fill(path)
    with RunStore(path, resume=True) as store:
        assert store.done == RECORDS
        assert list(store.done) == list(RECORDS)
        assert store.warning is None
        store.append("k9", {})
    with RunStore(path, resume=True) as store:
        assert list(store.done) == [*RECORDS, "k9"]


def test_done_holds_what_a_resumed_run_would_read(path: Path) -> None:
    with RunStore(path) as store:
        store.append("k", {"answers": ("1", None)})
        fresh = store.done
    with RunStore(path, resume=True) as store:
        assert store.done == fresh == {"k": {"answers": ["1", None]}}


def test_resume_without_a_file_begins_one(path: Path) -> None:
    with RunStore(path.parent / "new" / "folder" / "run.jsonl", resume=True) as store:
        assert store.done == {}


def test_an_existing_file_is_not_touched_without_resume(path: Path) -> None:
    before = fill(path)
    with pytest.raises(RunStoreError, match="exists; pass --resume to continue it or choose anoth"):
        RunStore(path)
    assert path.read_bytes() == before


def test_an_empty_file_may_be_there(path: Path) -> None:
    path.touch()
    assert fill(path)


def test_a_key_is_written_once(path: Path) -> None:
    with RunStore(path) as store:
        store.append("k", {})
        with pytest.raises(InvalidArgumentError, match="written already"):
            store.append("k", {"x": 1})
    assert path.read_bytes() == b'{"key": "k"}\n'


def test_of_duplicates_the_first_counts(path: Path) -> None:
    path.write_text('{"key": "a", "x": 1}\n{"key": "b"}\n{"key": "a", "x": 2}\n')
    with RunStore(path, resume=True) as store:
        assert store.done == {"a": {"x": 1}, "b": {}}
        store.finalize(["b", "a"])
    assert path.read_text() == '{"key": "b"}\n{"key": "a", "x": 1}\n'


@pytest.mark.parametrize(
    "record", [{"x": float("nan")}, {"x": float("inf")}, {"x": {1}}, {"x": b""}, {"key": "other"}]
)
def test_records_that_are_no_json_are_refused_whole(path: Path, record: dict[str, Any]) -> None:
    with RunStore(path) as store:
        with pytest.raises(InvalidArgumentError):
            store.append("k", record)
        store.append("k", {"x": 1})
    assert path.read_bytes() == b'{"key": "k", "x": 1}\n'


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # surrogates too, but no pair of them: JSON would read the pair as one character
    | st.text(st.characters(exclude_categories=[], max_codepoint=0xDBFF)),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


entries = st.dictionaries(st.text(min_size=4), json_values)


@given(st.dictionaries(st.text(min_size=1), entries, max_size=3))
@settings(max_examples=50, deadline=None, suppress_health_check=ONE_PATH)
def test_any_text_of_a_model_survives(path: Path, records: dict[str, dict[str, Any]]) -> None:
    path.unlink(missing_ok=True)
    fill(path, records)
    with RunStore(path, resume=True) as store:
        assert store.done == records


# --- damage ------------------------------------------------------------------


def test_every_prefix_of_a_journal_opens(path: Path) -> None:
    whole = fill(path)
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        with RunStore(path, resume=True) as store:
            assert store.done == dict(list(RECORDS.items())[:complete])
            torn = not whole[:length].endswith(b"\n")
            assert torn == (store.warning is not None and "will be computed again" in store.warning)
            for key in RECORDS.keys() - store.done.keys():
                store.append(key, RECORDS[key])
            store.finalize(RECORDS)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, b'{"key": "k9", "x": \0\0\0}\n', b"\0\n", b'{"key": "\xff"}\n']
)
def test_a_tail_that_was_never_written_is_cut(path: Path, tail: bytes) -> None:
    whole = fill(path)
    path.write_bytes(whole + tail)
    with RunStore(path, resume=True) as store:
        assert store.done == RECORDS
        assert store.warning is not None and str(len(tail)) in store.warning
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [b'{"key": "k9"', b"", b"[]", b'{"x": 1}', b'{"key": 1}', b"\xff"])
def test_damage_in_the_middle_names_the_line_and_changes_nothing(path: Path, line: bytes) -> None:
    damaged = fill(path) + line + b'\n{"key": "last"}\n'
    path.write_bytes(damaged)
    with pytest.raises(RunStoreError, match="line 5: not a record") as error:
        RunStore(path, resume=True)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "text", [b"my notes", b"my notes\n", b'{"problem": "p"}', b'{"problem": "p"}\n', b"[" * 9**5]
)
def test_a_file_of_another_kind_is_never_cut(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    with pytest.raises(RunStoreError, match="line 1: not a record"):
        RunStore(path, resume=True)
    assert path.read_bytes() == text


@pytest.mark.parametrize("place", ["/dev/null", ".", "file/run.jsonl"])
def test_places_that_hold_no_file(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunStoreError, match="choose another --output"):
        RunStore(tmp_path / place)


# --- one writer --------------------------------------------------------------


def test_a_second_writer_is_refused_until_the_first_closes(path: Path) -> None:
    with RunStore(path) as store:
        for _ in range(2):
            with pytest.raises(RunStoreError, match="another process is writing it; wait for"):
                RunStore(path, resume=True)
            store.append(f"k{len(store.done)}", {})
            store.finalize([])  # the lock holds for the new file as well
    with RunStore(path, resume=True) as store:
        assert len(store.done) == 2


def test_the_file_locked_is_the_one_that_bears_the_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may put its sorted file in place between our opening and our locking."""
    path.touch()
    real_lock = fcntl.flock

    def late_lock(fd: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real_lock)
        other = path.with_name("other")
        other.write_text('{"key": "other"}\n')
        other.replace(path)
        real_lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late_lock)
    with RunStore(path, resume=True) as store:
        store.append("k", {})
    assert path.read_text() == '{"key": "other"}\n{"key": "k"}\n'


def test_a_failed_opening_leaves_no_lock(path: Path) -> None:
    fill(path)
    with pytest.raises(RunStoreError):
        RunStore(path)
    with RunStore(path, resume=True):
        pass


def test_a_closed_store_writes_nothing(path: Path) -> None:
    before = fill(path)
    store = RunStore(path, resume=True)
    store.close()
    store.close()
    with pytest.raises(RunStoreError, match="cannot write"):
        store.append("k9", {})
    with pytest.raises(RunStoreError, match="cannot be sorted"):
        store.finalize([])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# --- finalize ----------------------------------------------------------------


@given(order=st.permutations(list(RECORDS)), cuts=st.sets(st.integers(1, 3)))
@settings(max_examples=40, deadline=None, suppress_health_check=ONE_PATH)
def test_the_order_of_finishing_leaves_no_trace(
    path: Path, order: list[str], cuts: set[int]
) -> None:
    path.unlink(missing_ok=True)
    for session in range(4):
        with RunStore(path, resume=True) as store:
            for key in order[len(store.done) :]:
                store.append(key, RECORDS[key])
                if len(store.done) in cuts and len(store.done) > session:
                    break
    with RunStore(path, resume=True) as store:
        for key in RECORDS.keys() - store.done.keys():
            store.append(key, RECORDS[key])
        store.finalize(RECORDS)
        assert list(store.done) == list(RECORDS)
    expected = "".join(
        json.dumps({"key": key, **record}, ensure_ascii=False) + "\n"
        for key, record in RECORDS.items()
    )
    assert path.read_bytes() == expected.encode()


def test_finalize_loses_nothing_and_appending_goes_on(path: Path) -> None:
    path.parent.joinpath("run.jsonl.tmp").write_text("left by a kill")
    fill(path)
    path.chmod(0o640)
    with RunStore(path, resume=True) as store:
        store.finalize(["k2", "unknown", "k0", "k2"])
        assert list(store.done) == ["k2", "k0", "k1", "k3"]
        store.append("k9", {})
    with RunStore(path, resume=True) as store:
        assert list(store.done) == ["k2", "k0", "k1", "k3", "k9"]
        assert {key: store.done[key] for key in RECORDS} == RECORDS
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(path.parent) == [path.name]


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.parent / "link.jsonl"
    link.symlink_to(path)
    fill(link)
    with RunStore(link, resume=True) as store:
        store.finalize(["k3"])
    assert link.is_symlink()
    assert path.read_bytes().startswith(b'{"key": "k3"')


# --- a full disk -------------------------------------------------------------


def test_a_disk_that_takes_half_a_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fill(path)
    real_write = os.write

    def full(fd: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(fd, data[: len(data) // 2])

    store = RunStore(path, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunStoreError, match="No space left on device") as error:
            store.append("k9", {"text": "x" * 100})
    assert "its 4 records are kept" in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    with RunStore(path, resume=True) as store:  # the lock is gone too
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(RunStoreError, match="cannot be sorted"):
                store.finalize(["k3"])
        assert path.read_bytes() == before
        store.append("k9", {})
    assert os.listdir(path.parent) == [path.name]


LIMITED = """
import resource, sys
from rtsearch_fast.errors import RunStoreError
from rtsearch_fast.runs.store import RunStore
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with RunStore(sys.argv[1]) as store:
    try:
        for i in range(1000):
            store.append(str(i), {"text": "x" * 300})
    except RunStoreError as error:
        print(len(store.done), error)
"""


def test_a_limit_of_the_real_system(path: Path) -> None:
    done = run(LIMITED, path)
    count, message = done.stdout.split(" ", 1)
    assert "cannot write (File too large); its" in message
    assert done.stderr == ""
    with RunStore(path, resume=True) as store:
        assert store.warning is None
        assert len(store.done) == int(count) > 20


# --- kill -9 -----------------------------------------------------------------


WRITER = """
import sys
from rtsearch_fast.runs.store import RunStore
with RunStore(sys.argv[1], resume=True) as store:
    order = [str(i) for i in range(100_000)]
    for key in order:
        if key not in store.done:
            store.append(key, {"text": "y" * (int(key) % 3000)})
            sys.stdout.write(key + "\\n")
            sys.stdout.flush()
        if int(key) % 7 == 0:
            store.finalize(order)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_kill_loses_nothing_that_append_returned_for(path: Path) -> None:
    promised: list[str] = []
    dice = random.Random(0)
    for _ in range(15):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], env=environment(), stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            promised.append(writer.stdout.readline().decode().strip())
            time.sleep(dice.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().decode()
            promised += rest[: rest.rfind("\n") + 1].split()
        with RunStore(path, resume=True) as store:
            assert set(promised) <= store.done.keys()
            for key, record in store.done.items():
                assert record == {"text": "y" * (int(key) % 3000)}
    assert len(promised) == len(set(promised)) >= 15


# --- times and keys ----------------------------------------------------------


def test_times_are_kept_apart(path: Path) -> None:
    with RunStore(path, header={"method": "cot"}) as store:
        store.append("a", {})
        store.append_timing("a", {"seconds": 1.5})
        assert store.timings() == {"a": {"seconds": 1.5}}
    assert path.read_bytes() == b'{"key": "a"}\n'
    side = Path(f"{path}.timing.jsonl")
    side.write_bytes(side.read_bytes() + b'{"key": "b", "sec')  # a kill
    with RunStore(path, resume=True, header={"method": "cot"}) as store:
        store.append_timing("b", {"seconds": 2.0})
        store.append_timing("a", {"seconds": 3.0})
        assert store.timings() == {"a": {"seconds": 3.0}, "b": {"seconds": 2.0}}
    assert side.read_bytes().count(b'{"header": {"method": "cot"}}') == 2


def test_a_new_run_forgets_old_times(path: Path) -> None:
    with RunStore(path) as store:
        store.append_timing("a", {"seconds": 1.5})
    with RunStore(path) as store:
        assert store.timings() == {}


def test_times_that_cannot_be_written_do_no_harm(path: Path) -> None:
    Path(f"{path}.timing.jsonl").mkdir()
    with RunStore(path, header={}) as store:
        store.append_timing("a", {"seconds": 1.5})
        assert store.timings() == {}
        store.append("a", {})


def test_a_key_depends_on_all_that_determines_a_record() -> None:
    base: dict[str, Any] = {
        "problem": Problem("1", "p"),
        "method": "mcts",
        "options": {"seed": 0, "budget": {"tokens": 5, "seconds": None}},
        "policy_name": "m",
        "reward_name": "r",
    }
    variants = [
        {},
        {"problem": Problem("2", "p")},
        {"problem": Problem("1", "q")},
        {"method": "cot"},
        {"options": {"seed": 1, "budget": {"tokens": 5, "seconds": None}}},
        {"options": {"seed": 0, "budget": {"tokens": 6, "seconds": None}}},
        {"policy_name": "r", "reward_name": "m"},
        {"reward_name": None},
        {"revision": "x"},
    ]
    keys = [content_key(**{**base, **variant}) for variant in variants]
    assert len(set(keys)) == len(variants)
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)
    swapped = {"budget": {"seconds": None, "tokens": 5}, "seed": 0}
    assert content_key(**{**base, "options": swapped}) == keys[0]


def test_keys_of_odd_content() -> None:
    assert content_key(Problem("1", "\ud800"), "cot", {}, "m", None)
    for odd in (float("nan"), {1}, object()):
        with pytest.raises(InvalidArgumentError, match="plain JSON"):
            content_key(Problem("1", "p"), "cot", {"x": odd}, "m", None)
