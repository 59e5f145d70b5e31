"""optillm's `mcts` and `bon` beside our plugin, through its own proxy over one server of sums.

Prints for each approach: right answers, requests to the model's server and tokens generated for an
answer, median milliseconds of an answer, and of them those outside the model's server; "none" is
what the proxy itself takes. The last lines give the ratio of these for as many solutions (above 1
ours takes less).

    python bench/frameworks/optillm.py [--problems 40]
"""

# ruff: noqa: E402 - the path is put right before the framework is imported
from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])  # the folder of this file would hide the framework

import openai
from frameworks.chat_server import ChatServer
from frameworks.optillm_proxy import Proxy

#: Title, approach, fields of the request. As optillm's README has it, the model's name chooses.
APPROACHES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("none", "none", {}),
    ("bon, 3", "bon", {}),
    ("mcts, 2 simulations", "mcts", {}),
    ("mcts, 8 simulations", "mcts", {"mcts_simulations": 8}),
    ("rtsearch best_of_n, 3", "rtsearch", {"rtsearch": {"budget": 3, "method": "best_of_n"}}),
    ("rtsearch mcts_g, 8", "rtsearch", {"rtsearch": {"budget": 8}}),
    ("rtsearch mcts_g, 24", "rtsearch", {"rtsearch": {"budget": 24}}),
)
#: Ours beside theirs with as many solutions or more.
PAIRS = (("rtsearch best_of_n, 3", "bon, 3"), ("rtsearch mcts_g, 8", "mcts, 2 simulations"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=int, default=40)
    count = parser.parse_args().problems
    rng = random.Random(0)
    problems = [" ".join(str(rng.randrange(1, 100)) for _ in range(8)) for _ in range(count)]
    outside: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        ChatServer() as server,
        Proxy(server.url, Path(folder), "--log", "warning") as proxy,
        openai.OpenAI(base_url=proxy.url, api_key="none", max_retries=0) as client,
    ):
        print(
            f"{'approach':24} {'right':>9} {'requests':>9} {'tokens':>7} {'ms':>7} {'outside':>8}"
        )
        right = dict.fromkeys((title for title, _, _ in APPROACHES), 0)
        rows: dict[str, list[tuple[int, int, float, float]]] = {title: [] for title in right}
        for number, problem in enumerate(problems):
            for title, approach, fields in APPROACHES:  # in turn, so that all meet the same machine
                if "rtsearch" in fields:
                    fields["rtsearch"]["seed"] = number
                before, busy = len(server.requests), server.seconds
                begin = time.perf_counter()
                answer = client.chat.completions.create(
                    model=f"{approach}-adder",
                    messages=[{"role": "user", "content": problem}],
                    extra_body=fields,
                )
                took = time.perf_counter() - begin
                total = sum(map(int, problem.split()))
                right[title] += f"\\boxed{{{total}}}" in answer.choices[0].message.content
                rows[title].append(
                    (
                        len(server.requests) - before,
                        answer.usage.completion_tokens,
                        1e3 * took,
                        1e3 * (took - server.seconds + busy),
                    )
                )
        for title, found in rows.items():
            requests, tokens, ms, apart = zip(*found, strict=True)
            outside[title] = statistics.median(apart)
            print(
                f"{title:24} {right[title]:3} of {count:2} {statistics.mean(requests):9.1f} "
                f"{statistics.mean(tokens):7.0f} {statistics.median(ms):7.1f} {outside[title]:8.1f}"
            )
    for mine, theirs in PAIRS:
        print(f"outside, {theirs} / {mine}: {outside[theirs] / outside[mine]:.2f}")


if __name__ == "__main__":
    main()
