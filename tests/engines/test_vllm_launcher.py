"""`rtsearch engine` with the real vLLM and the embedded model: start, look, ask, stop."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest
from real_vllm import model_folder

from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import ServerOptions
from rtsearch_fast.engine.server.status import server_status


@pytest.fixture(scope="module")
def ready_server() -> VllmServer:
    """A server with SmolLM2, started once."""
    model_folder()
    with VllmServer(
        "smollm2-135m",
        port=0,
        options=ServerOptions(max_model_len=2048, kv_cache_gib=1),
    ) as started:
        yield started


def _processes(group: int) -> list[str]:
    done = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [row[2] for row in rows if int(row[0]) == group and not row[1].startswith("Z")]


def test_vllm_when_started_passes_doctor_reuses_prefixes_and_leaves_no_process(
    ready_server: VllmServer,
) -> None:
    from rtsearch_fast.engine.completions import CompletionsEngine

    pid = ready_server.state.pid
    status = server_status(ready_server.port)
    assert status is not None and status.is_alive and status.is_ready
    assert status.state.model == "smollm2-135m"
    # server, engine, worker
    assert len(_processes(pid)) >= 2

    async def check() -> list[object]:
        engine = CompletionsEngine(ready_server.base_url)
        try:
            return list(await engine.probe(("Yes", "No")))
        finally:
            await engine.aclose()

    checks = asyncio.run(check())
    assert len(checks) > 3 and all(found.ok for found in checks), checks

    # Longer than a block of 32 tokens, shorter than one of 128: vLLM's default would reuse nothing.
    async def twice() -> None:
        from rtsearch_fast.engine.protocol import CompletionRequest

        engine = CompletionsEngine(ready_server.base_url)
        prompt = " ".join(map(str, range(30)))
        try:
            for seed in (1, 2):
                await engine.complete(CompletionRequest(prompt, (seed,), 2))
        finally:
            await engine.aclose()

    asyncio.run(twice())
    status = server_status(ready_server.port)
    assert status is not None and status.metrics is not None
    assert status.metrics.hit_rate is not None and status.metrics.hit_rate > 0
    assert (status.metrics.running, status.metrics.waiting) == (0, 0)

    ready_server.stop()
    assert _processes(pid) == []
    assert server_status(ready_server.port) is None
    assert not Path(f"/proc/{pid}").exists()
