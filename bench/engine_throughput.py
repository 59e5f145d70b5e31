"""How busy do searches keep a vLLM server? Tokens per second against plain sampling.

    python bench/engine_throughput.py                      # starts SmolLM2 on a server of its own
    python bench/engine_throughput.py --base-url URL --template llama3
    python bench/engine_throughput.py --uneven             # step lengths 8 - 200
    python bench/engine_throughput.py --simulate cpu.json  # of engine_model.py calibrate

Each mode runs on the same server for `--seconds`, in turn, `--rounds` times, on problems that no
other run has seen; the first `--warm-up` seconds of each run are not counted. What is counted comes
from the server's own metrics: generated tokens, running sequences, prefix-cache hits.

best_of_n       whole solutions, as many in flight as the engine runs: plain sampling
barrier         beam search: the next round begins when the last step of all problems is there
mcts_g, steps   our search; each step is a request (--request step)
mcts_g          our search; a child and its first rollout are one request
mcts_g, reward  with a judgement of each finished solution by the same model; only the question is
                computed, the solution is in the prefix cache (--reward-template followup)

With --uneven steps have random lengths and nothing is judged: the modes then differ in scheduling
alone. --simulate runs the same on a simulated engine in virtual time, e.g. to see how far the
simulation is off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from engine_model import BUILT_IN, NoJudge, plain_client

from rtsearch_fast import Budget, Problem, Sample, SampleRequest, Searcher, SearchOptions
from rtsearch_fast.engine.completions import CompletionsEngine
from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.engine.server.process import VllmServer
from rtsearch_fast.engine.server.settings import ServerOptions
from rtsearch_fast.engine.simulator.engine import SimulatedEngine
from rtsearch_fast.engine.simulator.model import EngineModel
from rtsearch_fast.engine.simulator.virtual_time import run as run_virtually
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.reward.question import JudgeTemplate

WIDTH = 4


@dataclass(frozen=True)
class Figures:
    """What the engine's counters say of one run."""

    tokens_per_second: float
    computed_prompt_per_second: float
    running: float
    waiting: float
    hit_rate: float


@dataclass(frozen=True)
class Counters:
    """What an engine has done so far; `running` sequences at present."""

    running: float
    waiting: float
    generated: float
    prompt: float
    cached: float


class Server:
    """A vLLM server, which tells of itself in its metrics."""

    def __init__(self, base_url: str) -> None:
        self.engine = CompletionsEngine(base_url)
        self._http = plain_client(base_url)

    async def generate(self, prompt: str, seed: int, tokens: int) -> str:
        """Text of exactly so many tokens."""
        body = {"model": self.engine.name, "prompt": prompt, "seed": seed, "max_tokens": tokens}
        url = f"{self._http.base_url}/completions"
        answer = await self._http.json("POST", url, {**body, "ignore_eos": True})
        return str(answer["choices"][0]["text"])

    async def counters(self) -> Counters:
        reply = await self._http.send("GET", f"{self._http.root_url}/metrics")
        sums: dict[str, float] = {}
        metrics = re.findall(r"^vllm:(\w+)\{.*\} (\S+)$", reply.body.decode(), re.MULTILINE)
        for name, value in metrics:
            sums[name] = sums.get(name, 0.0) + float(value)
        return Counters(
            sums["num_requests_running"],
            sums["num_requests_waiting"],
            sums["generation_tokens_total"],
            sums["prefix_cache_queries_total"],
            sums["prefix_cache_hits_total"],
        )

    async def aclose(self) -> None:
        await self._http.aclose()
        await self.engine.aclose()


class Endless:
    """Writes for ever; one token is four characters."""

    chars_per_token = 4

    def write(self, prompt: str, seed: int) -> str:
        return "abc " * 2000

    def judge(self, prompt: str, labels: tuple[str, ...]) -> tuple[float, ...]:
        return tuple(-1.0 for _ in labels)


class Simulated:
    """A simulated engine, in virtual time."""

    def __init__(self, model: EngineModel) -> None:
        self.engine = SimulatedEngine(model, Endless())
        self._at = self._running = self._waiting = 0.0

    async def generate(self, prompt: str, seed: int, tokens: int) -> str:
        request = CompletionRequest(prompt, (seed,), tokens)
        return (await self.engine.complete(request))[0].text

    async def counters(self) -> Counters:
        stats, now = self.engine.stats, asyncio.get_running_loop().time()
        seconds = max(now - self._at, 1e-9)
        running = (stats.running_seconds - self._running) / seconds
        waiting = (stats.waiting_seconds - self._waiting) / seconds
        self._at, self._running, self._waiting = now, stats.running_seconds, stats.waiting_seconds
        return Counters(
            running, waiting, stats.generated_tokens, stats.prompt_tokens, stats.cached_tokens
        )

    async def aclose(self) -> None:
        await self.engine.aclose()


class UnevenPolicy:
    """Steps of 8 to 200 tokens, as each seed has it, in solutions of 2 to 8 steps."""

    name = "uneven"

    def __init__(self, target: Server | Simulated) -> None:
        self._target = target

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        return await asyncio.gather(*(self._one(request, seed) for seed in request.seeds))

    async def _one(self, request: SampleRequest, seed: int) -> Sample:
        done = sum(step.strip("# \n") != "" for step in request.steps)
        left = max(1, random.Random(request.problem).randint(2, 8) - done)
        rng = random.Random(seed)
        # without stop strings the rest of the solution, else one step
        lengths = [rng.randint(8, 200) for _ in range(left if not request.stop else 1)]
        prompt = f"{request.problem}\n{''.join(request.steps)}"
        text = await self._target.generate(prompt, seed, sum(lengths))
        text = text.replace("#", " ").replace("\\", " ")  # no step ends before its time
        if len(lengths) > 1:  # share the text out among the steps
            ends = [len(text) * sum(lengths[:i]) // sum(lengths) for i in range(len(lengths) + 1)]
            text = "\n\n##".join(text[a:b].strip() for a, b in pairwise(ends))
        return Sample(text, sum(lengths), "eos" if len(lengths) == left else "stop")

    async def aclose(self) -> None:
        pass


def problems(run: str) -> Iterator[Problem]:
    """Word problems without end, others for each run."""
    rng = random.Random(run)
    number = 0
    while True:
        number += 1
        a, b, c, d = (rng.randint(3, 40) for _ in range(4))
        text = (
            f"A shop has {a} boxes with {b} apples each. It sells {c} apples in the morning and "
            f"{d} in the evening, order {rng.randint(100, 9999)}. How many apples are left?"
        )
        yield Problem(f"{run}/{number}", text)


async def search(
    run: str, policy: Any, reward: Any, sequences: int, method: str, **options: Any
) -> None:
    """Search problems until cancelled."""
    searcher = Searcher(
        policy,
        reward,
        method=method,
        budget=Budget(simulations=16 if method == "best_of_n" else 8),
        options=SearchOptions(width=WIDTH, **options),
        sequences=sequences,
    )
    async with aclosing(searcher.stream(problems(run))) as results:
        async for _ in results:
            pass


async def barrier(run: str, policy: Any, sequences: int, limit: int) -> None:
    """Beam search of many problems at once, all in step: how peers do it."""
    source = problems(run)
    rng = random.Random(run)
    while True:
        batch = [next(source) for _ in range(sequences // WIDTH)]
        prefixes: dict[str, tuple[str, ...]] = {problem.unique_id: () for problem in batch}
        for _ in range(12):
            live = [problem for problem in batch if problem.unique_id in prefixes]
            if not live:
                break
            requests = []
            for problem in live:
                seed = rng.getrandbits(60)
                steps = (*prefixes[problem.unique_id], "##")
                seeds = tuple(range(seed, seed + WIDTH))
                requests.append(
                    SampleRequest(
                        problem.problem, steps, seeds, limit, temperature=0.8, stop=("\n##",)
                    )
                )
            answers = await asyncio.gather(*map(policy.sample, requests))
            for problem, samples in zip(live, answers, strict=True):
                chosen = rng.choice(samples)
                step = f"##{chosen.text.rstrip()}\n\n"
                prefixes[problem.unique_id] = (*prefixes[problem.unique_id], step)
                if chosen.finish_reason == "eos" or "\\boxed" in step:
                    del prefixes[problem.unique_id]


async def measure(
    work: Callable[[], Awaitable[None]],
    target: Server | Simulated,
    seconds: float,
    warm_up: float,
) -> Figures:
    """Run `work` for so long and read the engine's counters."""
    clock = asyncio.get_running_loop().time  # virtual where the engine is simulated
    task = asyncio.ensure_future(work())
    try:
        await asyncio.wait([task], timeout=warm_up)
        begin, before = clock(), await target.counters()
        running, waiting = [], []
        while (left := seconds - warm_up - (clock() - begin)) > 0.01:
            await asyncio.wait([task], timeout=min(1.0, left))
            if task.done():
                task.result()  # its error, if it has one
                sys.exit("a run ended before its time")
            now = await target.counters()
            running.append(now.running)
            waiting.append(now.waiting)
        after, wall = await target.counters(), clock() - begin
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    prompt, cached = after.prompt - before.prompt, after.cached - before.cached
    return Figures(
        tokens_per_second=(after.generated - before.generated) / wall,
        computed_prompt_per_second=(prompt - cached) / wall,
        running=statistics.fmean(running),
        waiting=statistics.fmean(waiting),
        hit_rate=cached / max(prompt, 1),
    )


async def compare(args: argparse.Namespace, target: Server | Simulated) -> dict[str, list[Figures]]:
    """Run all modes in turn."""
    template = PromptTemplate.load(args.template)
    policy: Any = PromptedPolicy(target.engine, template)
    judge = GenerativeReward(target.engine, JudgeTemplate.following(template.template))
    if args.uneven:
        policy = UnevenPolicy(target)
    size, free = args.sequences, NoJudge()
    steps, whole = (200, 1600) if args.uneven else (48, args.solution_tokens)
    options: dict[str, Any] = {
        "max_step_tokens": steps,
        "max_solution_tokens": whole,
        "calculator": False,
    }
    modes: dict[str, Callable[[str], Awaitable[None]]] = {
        "best_of_n": lambda run: search(run, policy, free, size, "best_of_n", **options),
        "barrier": lambda run: barrier(run, policy, size, steps),
        "mcts_g, steps": lambda run: search(
            run, policy, free, size, "mcts_g", request="step", **options
        ),
        "mcts_g": lambda run: search(run, policy, free, size, "mcts_g", **options),
    }
    if not args.uneven:
        modes["mcts_g, reward"] = lambda run: search(run, policy, judge, size, "mcts_g", **options)
        modes["mcts_g, calculator"] = lambda run: search(
            run, policy, free, size, "mcts_g", **{**options, "calculator": True}
        )
    if args.modes:
        modes = {name: modes[name] for name in args.modes.split(";")}
    found: dict[str, list[Figures]] = {name: [] for name in modes}
    # a server may have seen the problems of earlier runs
    started = 0 if args.simulate else time.time_ns()
    try:
        for turn in range(args.rounds):
            for name, mode in modes.items():
                run = f"{started}/{turn}/{name}"
                figures = await measure(partial(mode, run), target, args.seconds, args.warm_up)
                found[name].append(figures)
                print(f"# {turn} {name:18} {figures}", file=sys.stderr, flush=True)
                await asyncio.sleep(2)  # what was aborted leaves the server
    finally:
        await target.aclose()
    return found


def report(found: dict[str, list[Figures]]) -> None:
    """One row a mode: medians over the rounds, and the ratio to the first mode, round by round."""
    first = next(iter(found.values()))
    print(
        f"{'mode':18} tokens/s  ratio (min-max)     running  waiting  cache hits  "
        "prompt tokens computed/s"
    )
    for name, rounds in found.items():
        ratios = [
            own.tokens_per_second / other.tokens_per_second
            for own, other in zip(rounds, first, strict=True)
        ]

        def median(field: str, rounds: list[Figures] = rounds) -> float:
            return statistics.median(getattr(figures, field) for figures in rounds)

        print(
            f"{name:18} {median('tokens_per_second'):8.0f}  {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f}-{max(ratios):.2f})  {median('running'):10.0f}  "
            f"{median('waiting'):7.0f}  {100 * median('hit_rate'):8.0f} %  "
            f"{median('computed_prompt_per_second'):9.0f}"
        )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base-url", help="a running vLLM server; default: start one")
    parser.add_argument("--simulate", help="gpu, or a file of engine_model.py calibrate")
    parser.add_argument("--template", default="chatml", help="prompt of the policy")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--solution-tokens", type=int, default=96, help="most of a solution")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--warm-up", type=float, default=20.0, help="seconds not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--uneven", action="store_true", help="steps of 8 to 200 tokens")
    parser.add_argument("--modes", help="names, separated by semicolons")
    parser.add_argument("--output", help="write all figures to this JSON file")
    args = parser.parse_args(arguments)
    args.uneven |= bool(args.simulate)
    return args


def main() -> None:
    args = parse()
    if args.simulate:
        model = BUILT_IN.get(args.simulate) or EngineModel.load(args.simulate)
        found = run_virtually(compare(args, Simulated(model)))
    elif args.base_url:
        found = asyncio.run(compare(args, Server(args.base_url)))
    else:
        options = ServerOptions(max_num_seqs=args.sequences)
        with VllmServer("smollm2-135m", port=0, options=options) as server:
            found = asyncio.run(compare(args, Server(server.base_url)))
    report(found)
    if args.output:
        with open(args.output, "w") as file:
            rows = {name: [asdict(f) for f in rounds] for name, rounds in found.items()}
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
