"""A run over real vLLM that was recorded once, and the settings that repeat it without vLLM.

To record it anew (after a change of what searches ask), with a server of the embedded model:

    rtsearch engine start smollm2-135m
    python tests/support/recorded.py http://127.0.0.1:8000/v1
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rtsearch_fast import Budget, Problem, Searcher, SearchOptions, SearchResult
from rtsearch_fast.runs.recording import RecordedPolicy, RecordedReward, Recording

__all__ = ["METHODS", "RECORDING", "SIGNATURES", "problems", "replay"]

TESTS = Path(__file__).resolve().parents[1]
RECORDING = TESTS / "data" / "smollm2_vllm.jsonl.gz"
SIGNATURES = TESTS / "golden" / "recorded.json"

#: Name -> method and options.
METHODS = {
    "mcts_g": ("mcts_g", {}),
    "mcts_g, steps": ("mcts_g", {"request": "step"}),
    "mcts": ("mcts", {"in_flight": 4, "rollouts": 2}),
    "best_of_n": ("best_of_n", {}),
    "weighted_majority": ("weighted_majority", {}),
    "beam": ("beam", {}),
}


def problems() -> list[Problem]:
    """Six word problems, in the manner of those that come with the package."""
    texts = (
        "Lena has 15 marbles. She finds 9 more and gives 4 to her brother. How many has she now?",
        "A cinema has 9 rows of 6 seats. 20 seats are taken. How many are free?",
        "Tom reads 12 pages a day for 5 days. How many pages does he read?",
        "A baker makes 48 rolls and packs 6 in each bag. How many bags does he fill?",
        "A train has 4 wagons with 30 seats each. 17 seats are empty. How many are taken?",
        "What is 3 * 7 + 5?",
    )
    return [Problem(f"recorded/{i}", text) for i, text in enumerate(texts)]


def search(
    name: str, policy: RecordedPolicy, reward: RecordedReward, **more: int
) -> list[SearchResult]:
    """Run one of the methods."""
    method, options = METHODS[name]
    searcher = Searcher(
        policy,
        reward,
        method=method,
        budget=Budget(tokens=900),
        options=SearchOptions(max_step_tokens=48, max_solution_tokens=128, **options),
        **more,
    )
    return asyncio.run(searcher.solve_async(problems()))


def replay(name: str, recording: Recording, **more: int) -> list[SearchResult]:
    """Run one of the methods on recorded answers."""
    return search(name, RecordedPolicy(recording), RecordedReward(recording), **more)


def record(base_url: str) -> None:
    """Run all methods on a server, and keep what it answers."""
    from rtsearch_fast.engine.completions import CompletionsEngine
    from rtsearch_fast.policy.prompt import PromptTemplate
    from rtsearch_fast.policy.prompted import PromptedPolicy
    from rtsearch_fast.reward.generative import GenerativeReward
    from rtsearch_fast.reward.question import JudgeTemplate

    engine = CompletionsEngine(base_url)
    prompt = PromptTemplate.load("chatml")
    signatures = {}
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, "answers.jsonl")
        with Recording(plain) as recording:
            policy = RecordedPolicy(recording, PromptedPolicy(engine, prompt))
            judge = GenerativeReward(engine, JudgeTemplate.following(prompt.template))
            reward = RecordedReward(recording, judge)
            for name in METHODS:
                results = search(name, policy, reward)
                signatures[name] = [result.signature for result in results]
                tokens = sum(result.usage.tokens for result in results)
                print(f"{name}: {tokens} tokens, answers {[r.answer for r in results]}")
        with open(plain, "rb") as source, gzip.GzipFile(RECORDING, "wb", mtime=0) as target:
            shutil.copyfileobj(source, target)
    SIGNATURES.write_text(json.dumps(signatures, indent=1) + "\n")


if __name__ == "__main__":
    record(sys.argv[1])
