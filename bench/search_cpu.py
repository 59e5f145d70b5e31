"""Processor time of the search itself, for each thousand tokens that the models generate.

    python bench/search_cpu.py

Replays the recorded run of the tests at full speed: no model, no engine, so all that is left is
selection, cutting, correcting, voting and bookkeeping. Then the same search with the HTTP client,
against a server of canned answers in another process: what the process of a real run costs beside
the engine's own. "5 % of a core at 1,000 tokens/s" is 50 microseconds a token.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "support"))

from recorded import METHODS, RECORDING, replay  # noqa: E402
from toy_models import toy_problem  # noqa: E402
from toy_text import POLICY_TEMPLATE, REWARD_TEMPLATE  # noqa: E402

from rtsearch_fast import Budget, Searcher, SearchOptions, SearchResult  # noqa: E402
from rtsearch_fast.engine.completions import CompletionsEngine  # noqa: E402
from rtsearch_fast.engine.template import Template  # noqa: E402
from rtsearch_fast.policy.prompt import PromptTemplate  # noqa: E402
from rtsearch_fast.policy.prompted import PromptedPolicy  # noqa: E402
from rtsearch_fast.reward.generative import GenerativeReward  # noqa: E402
from rtsearch_fast.reward.question import JudgeTemplate  # noqa: E402
from rtsearch_fast.runs.recording import Recording  # noqa: E402

ROUNDS = 5

SERVER = """
import sys, time
sys.path[:0] = sys.argv[1:]
from toy_text import start_toy_server
print(start_toy_server().base_url, flush=True)
time.sleep(600)
"""


def report(name: str, seconds: Sequence[float], results: Sequence[SearchResult]) -> None:
    tokens = sum(result.usage.tokens for result in results)
    requests = sum(r.usage.policy_samples + r.usage.reward_calls for r in results)
    each = statistics.median(seconds) / tokens
    print(
        f"{name:22} {1e6 * each:7.1f} us a token  {100 * each * 1000:5.1f} % of a core at 1,000 "
        f"tokens/s  {1 / each:9.0f} tokens/s on one core  "
        f"({tokens} tokens, {tokens / requests:.0f} a request)"
    )


def measure_replay() -> None:
    print("search alone, on recorded answers:")
    with Recording(RECORDING, replay=True) as recording:
        for name in METHODS:
            seconds = []
            for _ in range(ROUNDS):
                started = time.process_time()
                results = replay(name, recording)
                seconds.append(time.process_time() - started)
            report(name, seconds, results)


def measure_http() -> None:
    print("search and HTTP client, against a server of canned answers:")
    paths = [str(TESTS / "support"), str(TESTS / "engines")]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, *paths], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        engine = CompletionsEngine(server.stdout.readline().strip())
        problems = [toy_problem(random.Random(i), 12) for i in range(32)]
        for name, request in (("mcts_g", "solution"), ("mcts_g, steps", "step")):
            searcher = Searcher(
                PromptedPolicy(engine, PromptTemplate(Template("toy", POLICY_TEMPLATE))),
                GenerativeReward(engine, JudgeTemplate(Template("toy", REWARD_TEMPLATE))),
                budget=Budget(tokens=3000),
                options=SearchOptions(request=request),  # type: ignore[arg-type]
            )
            seconds = []
            for _ in range(ROUNDS):
                started = time.process_time()
                results = asyncio.run(searcher.solve_async(problems))
                seconds.append(time.process_time() - started)
            report(name, seconds, results)
    finally:
        server.kill()


if __name__ == "__main__":
    measure_replay()
    measure_http()
