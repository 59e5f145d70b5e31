"""The real vLLM killed in the middle of an evaluation, and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from eval_process import whole_lines
from patience import comes_true
from real_vllm import model_folder

from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import ServerOptions

PROBLEMS = 6
#: Records of the evaluation when the server dies.
DONE = 3
#: `rtsearch` that kills the server itself once so much is done: one that looks on from outside may
#: look too late.
PROGRAM = f"""
import os, signal, sys
from rtsearch_fast.cli import main
from rtsearch_fast.runs.folder.journal import Journal

server, append, done = int(sys.argv.pop(1)), Journal.append, []

def append_or_kill(self, entry, **options):
    place = append(self, entry, **options)
    done.extend(["done"] if "done" in entry else [])
    if done and len(done) == {DONE}:
        done.append(os.killpg(server, signal.SIGKILL))
    return place

Journal.append = append_or_kill
main()
"""


def test_eval_when_vllm_is_killed_waits_for_it_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder()
    monkeypatch.setenv("RTSEARCH_CACHE", str(tmp_path / "cache"))
    options = ServerOptions(max_model_len=2048, max_num_seqs=16, kv_cache_gib=1)
    data, output = tmp_path / "problems.jsonl", tmp_path / "out"
    with open(data, "w") as file:
        for i in range(PROBLEMS):
            line = {"id": i, "problem": f"What is {i + 2} * 3 + {i}?", "answer": str(4 * i + 6)}
            file.write(json.dumps(line) + "\n")
    arguments = ["eval", str(data), "-o", str(output), "--methods", "best_of_n,mcts_g"]
    # two at a time: with all at once, all may be answered when the first records are written
    arguments += ["--budget-tokens", "400", "--max-solution-tokens", "80", "--concurrency", "2"]
    arguments += ["--template", "chatml", "--reward-template", "followup"]
    with VllmServer(str(folder), port=0, options=options) as server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", PROGRAM, str(server.state.pid)),
                *arguments,
                *("--base-url", server.base_url),
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

        def ended() -> bool:
            return process.poll() is not None

        try:
            assert comes_true(lambda: ended() or not server.state.members, 8000)
            assert not ended()
            server.kill()
            before = [line["key"] for line in whole_lines(output)]
            assert DONE <= len(before) < 2 * PROBLEMS
            time.sleep(2)
            assert not ended()
            with VllmServer(str(folder), port=server.port, options=options) as server:
                assert comes_true(ended, 12_000), server.log.read_text()[-4000:]
        except AssertionError:
            process.kill()
            pytest.fail(f"{len(whole_lines(output))} records, then:\n{process.communicate()[1]}")
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert err.count("is lost; waiting for it") == 1 and err.count("is back after") == 1
    records = whole_lines(output)
    done = [(record["method"], record["unique_id"]) for record in records]
    assert sorted(done) == sorted(
        (method, str(i)) for method in ("best_of_n", "mcts_g") for i in range(PROBLEMS)
    )
    assert set(before) <= {record["key"] for record in records}  # none was done again
    assert all(100 < sum_of(record) <= 400 for record in records)
    assert out.count("95 % interval") == 1


def sum_of(record: dict[str, dict[str, int]]) -> int:
    return record["usage"]["policy_tokens"] + record["usage"]["reward_tokens"]
