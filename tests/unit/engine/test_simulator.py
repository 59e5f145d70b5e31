"""The simulated engine: schedules worked out by hand, a slow twin, and real searches on it."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsearch_fast import Budget, Searcher, SearchOptions, SearchResult
from rtsearch_fast.engine.protocol import CompletionRequest, Sample
from rtsearch_fast.engine.simulator.engine import (
    EngineModel,
    Measurement,
    SimulatedEngine,
    SyntheticWriter,
    fit_engine_model,
    predicted_seconds,
)
from rtsearch_fast.engine.simulator.scheduler import Generation, Scheduler
from rtsearch_fast.engine.simulator.virtual_time import run
from rtsearch_fast.errors import DataError, EngineError, InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.reward.generative import GenerativeReward
from rtsearch_fast.splitters import LabelledSplitter

UNIT = EngineModel(base=1.0, block_tokens=4, cache_blocks=1000)


class CountingWriter:
    """Writes as many tokens as the seed says, the end of the text included."""

    chars_per_token = 4

    def write(self, prompt: str, seed: int) -> str:
        return f"{seed:04}" + "abcd" * (seed - 2) if seed > 1 else ""

    def judge(self, prompt: str, labels: tuple[str, ...]) -> tuple[float, ...]:
        return tuple(-1.0 for _ in labels)


def prompt_of(tokens: int, name: str = "a") -> str:
    return (name * 4 * tokens)[: 4 * tokens]


class Client:
    """Sends requests to an engine at given times and notes when they are answered."""

    def __init__(self, model: EngineModel) -> None:
        self.engine = SimulatedEngine(model, CountingWriter())
        self.answered: dict[str, float] = {}

    async def ask(self, name: str, at: float, prompt: str, *seeds: int) -> None:
        await asyncio.sleep(at)
        await self.engine.complete(CompletionRequest(prompt, seeds, 10_000))
        self.answered[name] = asyncio.get_running_loop().time()

    async def judge(self, name: str, at: float, *prompts: str) -> None:
        await asyncio.sleep(at)
        await self.engine.label_logprobs(prompts, ("Yes", "No"))
        self.answered[name] = asyncio.get_running_loop().time()

    def run(self, *coroutines: Any) -> dict[str, float]:
        async def all_of_them() -> None:
            await asyncio.gather(*coroutines)

        run(all_of_them())
        return self.answered


# --- schedules ---------------------------------------------------------------------------


def test_complete_when_two_requests_run_together_ends_them_at_their_hand_computed_times() -> None:
    model = replace(UNIT, per_decode_sequence=0.125, per_prefill_token=0.0625)
    client = Client(model)
    times = client.run(
        client.ask("long", 0, prompt_of(10, "a"), 4), client.ask("short", 0, prompt_of(6, "b"), 2)
    )
    # 16 prompt tokens: 1 + 16 / 16 = 2, then both decode: 1.25, then "long" alone: 1.125 twice
    assert times == {"short": 3.25, "long": 5.5}
    stats = client.engine.stats
    assert (stats.steps, stats.generated_tokens, stats.decode_tokens) == (4, 6, 4)
    assert (stats.prompt_tokens, stats.prefill_tokens, stats.cached_tokens) == (16, 16, 0)
    assert stats.busy_seconds == stats.seconds == 5.5
    assert stats.mean_running == (2 * 3.25 + 2.25) / 5.5


def test_complete_when_it_looks_back_takes_longer_with_each_token() -> None:
    client = Client(replace(UNIT, per_context_token=0.5))
    times = client.run(client.ask("a", 0, prompt_of(3), 4))
    # prefill 1, then with 3, 4 and 5 tokens computed: 2.5 + 3 + 3.5
    assert times == {"a": 10.0}
    assert client.engine.stats.context_tokens == 12


def test_complete_when_sent_during_a_step_joins_the_next_one() -> None:
    client = Client(replace(UNIT, per_request=0.25))
    times = client.run(
        client.ask("a", 0, prompt_of(3, "a"), 5), client.ask("b", 1.5, prompt_of(3, "b"), 2)
    )
    # "a" is seen at 0.25 and its steps begin at 0.25, 1.25, 2.25; "b" is seen at 1.75
    assert times == {"a": 5.25, "b": 4.25}


def test_complete_when_sent_at_the_end_of_a_step_joins_the_next_one() -> None:
    client = Client(UNIT)
    times = client.run(
        client.ask("a", 0, prompt_of(3, "a"), 5), client.ask("b", 2, prompt_of(3, "b"), 1)
    )
    assert times["b"] in (3.0, 4.0)  # which of two things at one time is first is not told
    assert times["a"] == 5.0


def test_label_logprobs_when_asked_takes_one_token_a_prompt() -> None:
    client = Client(replace(UNIT, per_prefill_token=0.5))
    assert client.run(client.judge("j", 0, prompt_of(3, "a"), prompt_of(5, "b"))) == {"j": 5.0}
    assert client.engine.stats.generated_tokens == 2


def test_complete_when_all_seats_are_taken_waits_in_the_order_of_arrival() -> None:
    client = Client(replace(UNIT, max_num_seqs=2))
    times = client.run(
        *(client.ask(name, 0, prompt_of(2, name), 3) for name in "abc"),
        client.ask("d", 0.5, prompt_of(2, "d"), 1),
    )
    assert times == {"a": 3.0, "b": 3.0, "c": 6.0, "d": 4.0}
    stats = client.engine.stats
    assert stats.waiting_seconds == 3.0 + 2.5
    assert stats.mean_running == (2 * 3 + 2 + 2) / 6


def test_complete_when_a_prompt_exceeds_the_budget_of_a_step_computes_it_in_pieces() -> None:
    model = replace(UNIT, max_num_batched_tokens=8, max_num_seqs=4, per_prefill_token=0.125)
    client = Client(model)
    times = client.run(
        client.ask("a", 0, prompt_of(4, "a"), 5), client.ask("b", 0, prompt_of(20, "b"), 1)
    )
    # 4 of "a" and 4 of "b": 2; then one token of "a" comes first and 7 of "b" fit: 1.875 twice;
    # then the last 2 of "b": 1.25; then "a" alone
    assert times == {"b": 7.0, "a": 8.0}


# --- prefix cache ------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "cached"), [(10, 8), (9, 8), (8, 4), (4, 0), (3, 0)])
def test_complete_when_a_prompt_is_known_takes_whole_blocks_and_computes_its_last_token(
    tokens: int, cached: int
) -> None:
    client = Client(UNIT)
    client.run(client.ask("a", 0, prompt_of(tokens), 1), client.ask("b", 5, prompt_of(tokens), 1))
    assert client.engine.stats.cached_tokens == cached
    assert client.engine.stats.prefill_tokens == 2 * tokens - cached


def test_complete_when_it_goes_on_from_generated_text_finds_the_blocks_of_it() -> None:
    client = Client(UNIT)
    prompt = prompt_of(10)
    longer = prompt + CountingWriter().write(prompt, 7)
    # of 10 + 7 tokens all but the last have been computed: 4 full blocks
    client.run(client.ask("a", 0, prompt, 7), client.ask("b", 50, longer + "next more", 1))
    assert client.engine.stats.cached_tokens == 16


def test_complete_when_text_is_still_generated_finds_the_blocks_that_are_full() -> None:
    client = Client(UNIT)
    prompt = prompt_of(4)
    longer = prompt + CountingWriter().write(prompt, 100)[:80]
    # 4.5: the step from 5 on is the first after it, and 4 + 4 tokens are computed by then
    client.run(client.ask("a", 0, prompt, 100), client.ask("b", 4.5, longer, 1))
    assert client.engine.stats.cached_tokens == 8


def test_complete_when_siblings_begin_in_one_step_computes_the_shared_blocks_once() -> None:
    client = Client(replace(UNIT, per_prefill_token=0.125))
    times = client.run(client.ask("a", 0, prompt_of(10), 1, 2, 3))
    # 10 tokens for the first, and of each other the 2 of the incomplete block
    assert client.engine.stats.prefill_tokens == 14
    assert client.engine.stats.cached_tokens == 16
    assert times == {"a": 2.75 + 1 + 1}


def test_complete_when_memory_is_full_forgets_what_was_used_longest_ago() -> None:
    model = replace(UNIT, cache_blocks=6)
    client = Client(model)
    a, b, c = (prompt_of(9, name) for name in "abc")
    client.run(
        client.ask("a1", 0, a, 1),
        client.ask("b1", 2, b, 1),
        client.ask("a2", 4, a, 1),  # finds 2 blocks
        client.ask("c1", 6, c, 1),  # needs 3: 2 are free, so one of "b", its last, must go
        client.ask("a3", 8, a, 1),  # finds 2
        client.ask("b2", 10, b, 1),  # finds 1
    )
    assert client.engine.stats.cached_tokens == 8 + 8 + 4


def test_complete_when_memory_runs_out_lets_the_last_to_begin_start_over() -> None:
    client = Client(replace(UNIT, cache_blocks=6))
    times = client.run(
        client.ask("a", 0, prompt_of(8, "a"), 9), client.ask("b", 0, prompt_of(8, "b"), 9)
    )
    # Each needs 5 blocks for its tokens 17 and on. At 1, "a" takes its third block and "b" its
    # third; at 5 "a" needs a fourth, and "b" gives way with 5 tokens. "a" ends at 9; then "b"
    # computes what it lost in one step, which gives its 6th token, and 3 more.
    assert client.engine.stats.preemptions == 1
    assert times == {"a": 9.0, "b": 13.0}
    assert client.engine.stats.generated_tokens == 18
    assert client.engine.stats.requests == 2


def test_complete_when_it_can_never_fit_raises() -> None:
    client = Client(replace(UNIT, cache_blocks=6))
    with pytest.raises(EngineError, match=r"20 tokens, 5 new ones.*need 7 blocks.*has 6.*shorten"):
        client.run(client.ask("a", 0, prompt_of(20), 5))


# --- cancelling --------------------------------------------------------------------------


def cancelled_at(client: Client, seconds: float, coroutine: Any) -> Any:
    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(coroutine, seconds)

    return wait()


def test_complete_when_cancelled_leaves_with_the_step_and_frees_its_seat() -> None:
    client = Client(replace(UNIT, max_num_seqs=1))
    times = client.run(
        cancelled_at(client, 2.5, client.ask("a", 0, prompt_of(2, "a"), 100)),
        client.ask("b", 0.5, prompt_of(2, "b"), 2),
    )
    assert times == {"b": 5.0}
    stats = client.engine.stats
    assert (stats.aborted_requests, stats.aborted_tokens, stats.generated_tokens) == (1, 3, 5)


def test_complete_when_cancelled_in_line_never_runs() -> None:
    client = Client(replace(UNIT, max_num_seqs=1))
    times = client.run(
        client.ask("a", 0, prompt_of(2, "a"), 3),
        cancelled_at(client, 1.5, client.ask("b", 0, prompt_of(2, "b"), 3)),
        client.ask("c", 0, prompt_of(2, "c"), 3),
    )
    assert times == {"a": 3.0, "c": 6.0}
    stats = client.engine.stats
    assert (stats.requests, stats.aborted_requests, stats.aborted_tokens) == (2, 1, 0)


def test_complete_when_cancelled_before_it_is_seen_leaves_nothing_behind() -> None:
    client = Client(replace(UNIT, per_request=2.0))
    client.run(cancelled_at(client, 1.0, client.ask("a", 0, prompt_of(2), 3)))
    assert client.engine.stats.steps == 0


# --- the slow twin -----------------------------------------------------------------------


def slow_schedule(model: EngineModel, arrivals: Sequence[tuple[float, str, int, int]]) -> list[Any]:
    """Finish times, one step after the other, of (arrival, text, prompt tokens, new tokens)."""
    known: set[str] = set()
    size = model.block_tokens
    line = list(range(len(arrivals)))
    computed, generated, running = dict[int, int](), Counter[int](), list[int]()
    ends = [math.nan] * len(arrivals)
    now = 0.0

    def fill(i: int) -> None:
        for block in range(1, computed[i] // size + 1):
            known.add(arrivals[i][1][: block * size])

    while line or running:
        if not running:
            now = max(now, arrivals[line[0]][0])
        decoding = [i for i in running if generated[i]]
        context = sum(computed[i] for i in decoding)
        for i in decoding:
            computed[i] += 1
            fill(i)
        budget = model.max_num_batched_tokens - len(decoding)
        prefill = 0
        for i in [*running, *line]:
            arrival, text, prompt, _ = arrivals[i]
            if generated[i] or prefill == budget:
                continue
            if i in line:
                if arrival > now or len(running) == model.max_num_seqs:
                    break
                running.append(i)
                computed[i] = 0
                while computed[i] + size < prompt and text[: computed[i] + size] in known:
                    computed[i] += size
            chunk = min(prompt - computed[i], budget - prefill)
            computed[i] += chunk
            prefill += chunk
            fill(i)
        line = [i for i in line if i not in running]
        now += model.step_seconds(len(decoding), prefill, context)
        for i in list(running):
            _, _, prompt, new = arrivals[i]
            if computed[i] >= prompt:
                generated[i] += 1
            if generated[i] == new:
                running.remove(i)
                ends[i] = now
    return ends


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from("abc"), st.integers(1, 12), st.integers(1, 30)
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([1, 3, 100]),
    st.sampled_from([4, 7, 1000]),
    st.sampled_from([1, 2, 4]),
)
def test_schedule_when_compared_with_a_slow_twin_is_the_same(
    drawn: list[tuple[int, str, int, int]], seats: int, budget: int, block: int
) -> None:
    model = EngineModel(
        max_num_seqs=min(seats, budget),
        max_num_batched_tokens=budget,
        block_tokens=block,
        cache_blocks=10_000,
        base=1.0,
        per_decode_sequence=0.25,
        per_prefill_token=0.125,
        per_context_token=0.0625,
    )
    # arrivals off the ends of steps, whose durations are multiples of 1/16
    arrivals = sorted(
        (number + 1 / 32, name * prompt + name.upper() * new, prompt, new)
        for number, name, prompt, new in drawn
    )
    scheduler = Scheduler(model)
    generations = []
    ends: dict[Generation, float] = {}
    left = list(arrivals)
    while left or scheduler.num_unfinished:
        time = scheduler.next_time()
        if left and (time is None or left[0][0] <= time):
            at, text, prompt, new = left.pop(0)
            generations.append(Generation(text, prompt, new, block))
            scheduler.add(generations[-1], at)
        else:
            assert time is not None
            ends |= dict.fromkeys(scheduler.advance(time), time)
    assert [ends[generation] for generation in generations] == slow_schedule(model, arrivals)
    assert scheduler.stats.generated_tokens == sum(new for *_, new in arrivals)


# --- what it writes ----------------------------------------------------------------------


def complete(engine: SimulatedEngine, prompt: str, seed: int, **kwargs: Any) -> Sample:
    kwargs = {"max_tokens": 10_000, **kwargs}
    (sample,) = run(engine.complete(CompletionRequest(prompt, (seed,), **kwargs)))
    return sample


def synthetic_engine(steps: Sequence[int] = range(8, 30), count: Sequence[int] = range(5)) -> Any:
    return SimulatedEngine(UNIT, SyntheticWriter(steps, count))


def test_complete_when_it_ends_by_itself_counts_the_token_that_ends_the_text() -> None:
    sample = complete(synthetic_engine([8], [1]), "##", 1)
    answer = sample.text.removeprefix(sample.text[:32])
    assert answer == f" Answer\n\\boxed{{{answer[-2]}}}"
    assert (sample.num_tokens, sample.finish_reason) == (8 + 5 + 1, "eos")
    assert len(sample.ends) == 14
    assert len(sample.text) == 32 + 17
    assert sample.ends == (*range(4, 49, 4), 49, 49)


def test_complete_when_a_stop_string_is_met_cuts_it_off_and_counts_it() -> None:
    sample = complete(synthetic_engine([9], [3]), "##", 1, stop=("\n##",))
    assert (sample.num_tokens, sample.finish_reason) == (9, "stop")
    assert len(sample.text) == 4 * 9 - len("\n##")
    assert sample.text.startswith(" Step 1: ")
    assert sample.ends == (4, 8, 12, 16, 20, 24, 28, 32, 33)


def test_complete_when_max_tokens_is_reached_cuts_there() -> None:
    whole = complete(synthetic_engine([9], [3]), "##", 1)
    sample = complete(synthetic_engine([9], [3]), "##", 1, max_tokens=4, stop=("\n##",))
    found = (sample.text, sample.num_tokens, sample.finish_reason, sample.ends)
    assert found == (whole.text[:16], 4, "length", (4, 8, 12, 16))


def test_complete_when_greedy_ignores_the_seed() -> None:
    texts = {complete(synthetic_engine(), "##", seed, temperature=0.0).text for seed in range(5)}
    assert len(texts) == 1
    assert complete(synthetic_engine(), "##", 1).text not in texts


def test_complete_when_the_prompt_is_token_ids_says_so() -> None:
    engine = synthetic_engine()
    with pytest.raises(EngineError, match=r"3 token ids.*send it text"):
        run(engine.complete(CompletionRequest((1, 2, 3), (1,), 10)))


def written_step_by_step(engine: Any, seed: int) -> list[str]:
    splitter, steps, finished = LabelledSplitter(), list[str](), False
    while not finished:
        prompt = "Problem\n\n" + "".join(steps) + "##"
        text = engine.writer.write(prompt, seed * 100 + len(steps))
        cut = text.find("\n##")
        steps.append(splitter.close("##" + (text[:cut] if cut >= 0 else text), "stop"))
        finished = splitter.is_final(steps, "stop")
    return steps


def test_writer_when_asked_step_by_step_has_the_distribution_of_one_piece() -> None:
    engine = synthetic_engine(range(8, 12), [0, 1, 1, 3])
    splitter, number = LabelledSplitter(), 4000
    pieces = [
        splitter.split("##" + engine.writer.write("Problem\n\n##", -1 - i)) for i in range(number)
    ]
    stepwise = [written_step_by_step(engine, i) for i in range(number)]
    for solutions in (pieces, stepwise):
        counts = Counter(len(steps) - 1 for steps in solutions)
        assert counts[0] / number == pytest.approx(0.25, abs=0.03)
        assert counts[1] / number == pytest.approx(0.5, abs=0.03)
        assert counts[3] / number == pytest.approx(0.25, abs=0.03)
        lengths = Counter(len(step) for steps in solutions for step in steps[:-1])
        # a step's share of 4 * tokens characters: its own "##", and not that of the next
        assert sorted(lengths) == [32, 36, 40, 44]
        total = sum(lengths.values())
        assert all(count / total == pytest.approx(0.25, abs=0.03) for count in lengths.values())


def test_writer_when_it_goes_on_in_mid_step_completes_it() -> None:
    writer = SyntheticWriter([10], [2])
    whole = writer.write("##", 1)
    rest = writer.write("##" + whole[:21], 2)
    assert rest.index("\n\n## Step 2: ") == 40 - 4 - 21
    assert writer.write("Problem", 1).startswith("\n\n## Step 1: ")
    assert writer.write("## Step 2: over\n\n", 1).startswith("## Answer")
    assert writer.write("## Step 7: over\n\n##", 1).startswith(" Answer")


def test_writer_when_a_step_is_closed_by_the_splitter_leaves_the_text_as_it_was() -> None:
    whole = "##" + SyntheticWriter([10], [2]).write("##", 1)
    step = LabelledSplitter().close(whole[: whole.index("\n##", 5)], "stop")
    assert whole.startswith(step + "##")


def test_label_logprobs_when_asked_twice_says_the_same_and_spreads_its_verdicts() -> None:
    reward = GenerativeReward(synthetic_engine())
    solutions = [(f"## Answer\n\\boxed{{{i}}}",) for i in range(400)]
    scores = [judgement.score for judgement in run(reward.score("P", solutions))]
    again = GenerativeReward(synthetic_engine())
    assert [judgement.score for judgement in run(again.score("P", solutions))] == scores
    assert sum(scores) / 400 == pytest.approx(0.5, abs=0.05)
    assert min(scores) < 0.05 < 0.95 < max(scores)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (([], [1]), "step_tokens=0"),
        (([2, 9], [1]), "step_tokens=2: must be at least 5"),
        (([9], []), "num_steps=-1"),
    ],
)
def test_writer_when_lengths_are_unusable_refuses(arguments: Any, match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        SyntheticWriter(*arguments)


# --- searches ----------------------------------------------------------------------------


def search(model: EngineModel, method: str = "mcts_g", **kwargs: Any) -> tuple[Any, Any]:
    engine = SimulatedEngine(model, SyntheticWriter(range(8, 60), range(1, 5)))
    searcher = Searcher(
        PromptedPolicy(engine, PromptTemplate.load("plain")),
        GenerativeReward(engine),
        method=method,
        budget=Budget(tokens=2500),
        options=SearchOptions(max_step_tokens=60, max_solution_tokens=250, **kwargs),
    )
    problems = [f"How many are {i} and {i}?" for i in range(20)]

    async def main() -> tuple[list[SearchResult], float]:
        results = await searcher.solve_async(problems)
        return results, asyncio.get_running_loop().time()

    results, seconds = run(main())
    assert engine._scheduler.num_unfinished == 0
    assert not engine._calls
    return [result.signature for result in results], (seconds, engine.stats)


SERVER = EngineModel(
    max_num_seqs=64,
    base=0.01,
    per_decode_sequence=0.0003,
    per_prefill_token=0.0001,
    per_request=0.004,
)


@pytest.mark.parametrize("method", ["best_of_n", "beam", "mcts_g"])
def test_search_when_repeated_in_virtual_time_is_the_same_to_the_last_bit(method: str) -> None:
    signatures, (seconds, stats) = search(SERVER, method)
    assert len(set(signatures)) == 20
    assert 20 * 1000 < stats.generated_tokens <= 20 * 2500
    assert search(SERVER, method) == (signatures, (seconds, stats))


def test_search_when_answers_arrive_in_another_order_finds_the_same() -> None:
    signatures, (seconds, _) = search(SERVER)
    narrow = replace(SERVER, max_num_seqs=7, per_request=0.05, per_context_token=1e-5)
    others, (other_seconds, _) = search(narrow)
    assert others == signatures
    assert other_seconds > seconds


# --- the model of an engine --------------------------------------------------------------


@pytest.mark.parametrize("context", [0.0, 3e-7])
def test_fit_when_timings_come_from_a_model_finds_its_durations(context: float) -> None:
    limits = EngineModel(max_num_batched_tokens=512)
    real = replace(
        limits,
        base=0.011,
        per_decode_sequence=0.00004,
        per_prefill_token=0.0002,
        per_context_token=context,
        per_request=0.006,
    )
    sizes = [(batch, 20, new) for batch in (1, 8, 32, 128) for new in (16, 64)]
    sizes += [(1, length, 1) for length in (20, 100, 400, 1000)] + [(4, 600, 32)]
    points = [Measurement(*size, predicted_seconds(real, size)) for size in sizes]
    fitted = fit_engine_model(points, limits, context=True)
    for name, value in real.to_record().items():
        if isinstance(value, float):
            assert getattr(fitted, name) == pytest.approx(value, rel=1e-6, abs=1e-12), name


def test_fit_when_timings_are_noisy_gives_no_negative_duration() -> None:
    sizes = [(1, 20, 1), (1, 20, 64), (64, 20, 64), (1, 1000, 1), (8, 20, 64)]
    seconds = [0.013, 0.8, 0.7, 0.09, 0.75]  # the larger batch was faster
    fitted = fit_engine_model([Measurement(*s, t) for s, t in zip(sizes, seconds, strict=True)])
    assert min(v for v in fitted.to_record().values() if isinstance(v, float)) >= 0
    assert fitted.base == pytest.approx(0.0117, rel=0.1)


def test_fit_when_measurements_are_too_much_alike_says_so() -> None:
    points = [Measurement(1, 20, new, new * 0.01) for new in (1, 2, 3, 4, 5)]
    with pytest.raises(InvalidArgumentError, match=r"5 measurements tell \d of 4 durations apart"):
        fit_engine_model(points)


def test_predicted_seconds_when_simulated_with_the_engine_is_what_passes() -> None:
    model = replace(UNIT, per_request=0.5, per_decode_sequence=0.25, per_prefill_token=0.125)
    client = Client(model)
    times = client.run(*(client.ask(name, 0, prompt_of(9, name), 7) for name in "abc"))
    assert set(times.values()) == {predicted_seconds(model, (3, 9, 7))}


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_num_seqs", 0), ("cache_blocks", 1.5), ("base", -1.0), ("per_request", math.nan)],
)
def test_engine_model_when_a_field_is_out_of_range_names_it(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{field}="):
        replace(UNIT, **{field: value})


def test_engine_model_when_budget_is_below_the_seats_refuses() -> None:
    with pytest.raises(InvalidArgumentError, match="max_num_batched_tokens=8: must be at least"):
        EngineModel(max_num_seqs=9, max_num_batched_tokens=8)


def test_engine_model_when_loaded_is_what_was_written(tmp_path: Any) -> None:
    path = tmp_path / "model.json"
    for data in (SERVER.to_record(), {"engine_model": SERVER.to_record(), "points": []}):
        path.write_text(json.dumps(data))
        assert EngineModel.load(path) == SERVER
    for text, match in (("[1]", "not a JSON object"), ("{", "model.json"), ('{"b": 1}', "'b'")):
        path.write_text(text)
        with pytest.raises(DataError, match=match):
            EngineModel.load(path)
