"""The driver: what a search does depends on seeds and answers alone, and it keeps its budget."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_models import Delay, ToyPolicy, ToyReward, toy_problem
from toy_text import POLICY_TEMPLATE, ToyEngine

from rtsearch_fast import (
    METHODS,
    Budget,
    Candidate,
    Judgement,
    Problem,
    Sample,
    Searcher,
    SearchOptions,
    SearchResult,
)
from rtsearch_fast.engine.template import Template
from rtsearch_fast.errors import AnswerFormatError, EngineError, InvalidArgumentError
from rtsearch_fast.policy.prompt import PromptTemplate
from rtsearch_fast.policy.prompted import PromptedPolicy
from rtsearch_fast.splitters import StringSplitter

SAMPLED = ("best_of_n", "majority", "weighted_majority")
PROBLEMS = [toy_problem(random.Random(i), 3) for i in range(4)]


class Watched:
    """A policy or reward model that answers in shuffled order and notes what passes through."""

    def __init__(self, inner: Any, delay_seed: int = 0) -> None:
        self.inner = inner
        self.name = inner.name
        self.max_tokens = getattr(inner, "max_tokens", 0)
        self.delay = Delay(delay_seed)
        self.tokens: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.active = 0
        self.cancelled = 0

    async def sample(self, request):
        self.requests.append(request)
        samples = await self._answer(self.inner.sample(request))
        self.tokens[request.problem] += sum(sample.num_tokens for sample in samples)
        return samples

    async def score(self, problem, solutions):
        self.requests.append((problem, solutions))
        judgements = await self._answer(self.inner.score(problem, solutions))
        self.tokens[problem] += sum(judgement.num_tokens for judgement in judgements)
        return judgements

    async def _answer(self, answer):
        self.active += 1
        try:
            answer = await answer
            await self.delay()
            return answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1


class Scripted:
    """A policy, or reward model, that is one function."""

    name = "scripted"
    max_tokens = 1

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer

    async def sample(self, request):
        samples = []
        for seed in request.seeds:
            sample = self.answer(request, seed)
            samples.append(await sample if asyncio.iscoroutine(sample) else sample)
        return samples

    async def score(self, problem, solutions):
        return [Judgement(self.answer(problem, steps), 1) for steps in solutions]


def text_policy() -> PromptedPolicy:
    """Unlike ToyPolicy it writes on to the end where no stop string ends a step."""
    return PromptedPolicy(ToyEngine(), PromptTemplate(Template("toy", POLICY_TEMPLATE)))


def run_quietly(work: Callable[[], Any], *, collect: bool = True) -> Any:
    """Run a coroutine function; whatever asyncio would complain about, or leave behind, fails."""
    complaints: list[dict[str, Any]] = []

    async def main() -> Any:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context)
        )
        try:
            return await work()
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    try:
        return asyncio.run(main())
    finally:
        if collect:  # asyncio complains of forgotten errors when their tasks are freed
            gc.collect()
        assert complaints == []


def solve(
    policy: Any,
    reward: Any,
    problems: Sequence[str] = PROBLEMS,
    *,
    method: str = "mcts_g",
    budget: Budget | None = None,
    concurrency: int = 16,
    splitter: str = "labelled",
    **options: Any,
) -> list[SearchResult]:
    searcher = Searcher(
        policy,
        reward,
        method=method,
        budget=budget or Budget(tokens=400),
        options=SearchOptions(**options),
        concurrency=concurrency,
        splitter=splitter,
    )
    return run_quietly(lambda: searcher.solve_async(problems), collect=False)


def seen(results: Sequence[SearchResult]) -> list[Any]:
    """Everything of results but the time; NaN as text, so that it equals itself."""
    return [
        (result.to_record(), repr(result.tree), [repr(c) for c in result.candidates])
        for result in results
    ]


# --- the order of answers does not matter ------------------------------------------------

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *[(method, {}) for method in METHODS],
    *[
        (method, options)
        for method in ("mcts", "mcts_g")
        for options in (
            {"value": "prefix"},
            {"value": "mix", "mix": 0.3},
            {"rollouts": 2},
            {"pre_expand": 8},
            {"self_consistency": 0.3},
            {"calculator": False},
            {"request": "step"},
            {"request": "solution", "rollouts": 3},
            {"in_flight": 1},
            {"in_flight": 4},
            {"deduplicate": False},
            {"confidence": 0.7},
        )
    ],
    ("best_of_n", {"calculator": False, "in_flight": 4}),
    ("beam", {"deduplicate": False, "in_flight": 1}),
]


def name_of(variant: tuple[str, dict[str, Any]]) -> str:
    method, options = variant
    return "-".join([method, *(f"{key}={value}" for key, value in options.items())])


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_search_when_answers_are_shuffled_gives_the_same_results(variant):
    method, options = variant
    budget = Budget(tokens=600)
    in_order = seen(solve(text_policy(), ToyReward(), method=method, budget=budget, **options))
    assert any(record["pred"] is not None for record, _, _ in in_order)
    for delay_seed, concurrency in ((1, 1), (2, 3), (3, 16), (4, 16)):
        shuffled = solve(
            Watched(text_policy(), delay_seed),
            Watched(ToyReward(), delay_seed + 100),
            method=method,
            budget=budget,
            concurrency=concurrency,
            **options,
        )
        assert seen(shuffled) == in_order, (delay_seed, concurrency)


@pytest.mark.parametrize("method", ["mcts", "mcts_g"])
def test_search_when_options_differ_gives_other_results(method):
    signatures = {
        name_of(variant): solve(
            ToyPolicy(slip=0.7),
            ToyReward(),
            [toy_problem(random.Random(1))],
            method=method,
            budget=Budget(simulations=12),
            **options,
        )[0].signature
        for variant in VARIANTS
        for name, options in [variant]
        if name == method
        # stops early or does nothing (the toy policy writes step by step, and no equations); two
        # leaves at once may be those chosen one by one
        and options.keys().isdisjoint({"confidence", "calculator"})
        and options not in ({"in_flight": 1}, {"request": "step"})
    }
    assert len(set(signatures.values())) == len(signatures), signatures


def test_search_when_the_seed_differs_samples_anew():
    first, second = (
        solve(ToyPolicy(), ToyReward(), PROBLEMS[:1], method="best_of_n", seed=seed)[0]
        for seed in (0, 1)
    )
    assert first.signature != second.signature


# --- seeds -------------------------------------------------------------------------------


def questions(policy: Watched) -> dict[str, list[tuple[Any, ...]]]:
    """What the policy was asked about each problem, sorted."""
    asked: dict[str, list[tuple[Any, ...]]] = {}
    for request in policy.requests:
        asked.setdefault(request.problem, []).append(
            (request.steps, request.seeds, request.max_tokens, request.temperature)
        )
    return {problem: sorted(requests) for problem, requests in asked.items()}


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_seeds_when_a_problem_is_searched_are_distinct_whatever_the_order(variant):
    method, options = variant
    asked = []
    for delay_seed, concurrency in ((0, 1), (5, 1), (6, 16)):
        policy = Watched(text_policy(), delay_seed)
        solve(policy, ToyReward(), method=method, concurrency=concurrency, **options)
        asked.append(questions(policy))
    assert asked[0] == asked[1] == asked[2]
    for requests in asked[0].values():
        seeds = [seed for request in requests for seed in request[1]]
        assert len(set(seeds)) == len(seeds)
        assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_when_only_the_vote_differs_are_the_same():
    asked, candidates = [], []
    for method in SAMPLED:
        policy = Watched(ToyPolicy())
        results = solve(policy, ToyReward(), method=method)
        asked.append(questions(policy))
        candidates.append([result.candidates for result in results])
    assert asked[0] == asked[1] == asked[2]
    assert candidates[0] == candidates[1] == candidates[2]


def test_seeds_when_other_problems_are_searched_too_are_the_same():
    alone = solve(ToyPolicy(), ToyReward(), [Problem("x", PROBLEMS[2])])
    among = solve(ToyPolicy(), ToyReward(), [*PROBLEMS, Problem("x", PROBLEMS[2])])
    assert seen(among)[-1] == seen(alone)[0]


# --- budgets -----------------------------------------------------------------------------


class ShortJudge(ToyReward):
    """Can read steps that were cut off in the middle."""

    def _one(self, problem, text):
        try:
            return super()._one(problem, text)
        except ValueError:
            return 0.0


class LongJudge(ShortJudge):
    """Writes before it judges, and takes all the tokens that it may."""

    max_tokens = 30

    async def score(self, problem, solutions):
        return [replace(j, num_tokens=30) for j in await super().score(problem, solutions)]


@settings(deadline=None, max_examples=200)
@given(
    method=st.sampled_from(sorted(METHODS)),
    tokens=st.one_of(st.integers(1, 50), st.integers(1, 3000)),
    options=st.fixed_dictionaries(
        {},
        optional={
            "value": st.sampled_from(["rollout", "prefix", "mix"]),
            "rollouts": st.integers(1, 10),
            "width": st.integers(1, 6),
            "pre_expand": st.sampled_from([0, 1, 8]),
            "in_flight": st.integers(1, 5),
            "calculator": st.booleans(),
            "deduplicate": st.booleans(),
            "max_step_tokens": st.sampled_from([1, 2, 9, 10, 128]),
            "max_solution_tokens": st.sampled_from([1, 2, 6, 39, 40, 384]),
            "beam_width": st.integers(1, 6),
        },
    ),
    text=st.booleans(),
    long=st.booleans(),
    delay_seed=st.integers(0, 3),
)
def test_tokens_when_budgeted_are_never_exceeded_and_all_counted(
    method, tokens, options, text, long, delay_seed
):
    policy = Watched(text_policy() if text else ToyPolicy(), delay_seed)
    reward = Watched(LongJudge() if long else ShortJudge(), delay_seed)
    problems = PROBLEMS[:2]
    results = solve(
        policy, reward, problems, method=method, budget=Budget(tokens=tokens), **options
    )
    for problem, result in zip(problems, results, strict=True):
        assert result.usage.tokens <= tokens
        assert result.usage.policy_tokens == policy.tokens[problem]
        assert result.usage.reward_tokens == reward.tokens[problem]
        requests = [request for request in policy.requests if request.problem == problem]
        assert result.usage.policy_samples == sum(len(request.seeds) for request in requests)
        judged = [len(solutions) for asked, solutions in reward.requests if asked == problem]
        assert result.usage.reward_calls == sum(judged)
        assert result.stop_reason in ("tokens", "exhausted", "complete")
    assert policy.active == reward.active == 0


@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("max_solution_tokens", range(1, 9))
def test_search_when_solutions_are_tiny_comes_to_an_end(method, max_solution_tokens):
    (result,) = solve(
        ToyPolicy(),
        ToyReward(),
        PROBLEMS[:1],
        method=method,
        budget=Budget(tokens=100),
        max_solution_tokens=max_solution_tokens,
    )
    assert result.stop_reason == "tokens"
    assert result.answer is None
    assert 90 < result.usage.tokens <= 100


@pytest.mark.parametrize("method", [m for m in METHODS if m != "cot"])
def test_search_when_the_policy_has_nothing_to_say_comes_to_an_end(method):
    silent = Scripted(lambda request, seed: Sample("", 0, "eos"))
    (result,) = solve(silent, ToyReward(), PROBLEMS[:1], method=method, budget=Budget(tokens=50))
    assert result.stop_reason in ("tokens", "exhausted", "complete")
    assert result.answer is None and result.solution == ""
    assert 0 < result.usage.tokens <= 50


@pytest.mark.parametrize("simulations", [1, 2, 7])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("method", ["best_of_n", "mcts", "mcts_g", "beam"])
def test_simulations_when_limited_are_done_and_no_more(method, in_flight, simulations):
    budget = Budget(simulations=simulations)
    results = solve(
        Watched(ToyPolicy(slip=1), 1),
        ToyReward(),
        [toy_problem(random.Random(i), 5) for i in range(3)],
        method=method,
        budget=budget,
        in_flight=in_flight,
    )
    for result in results:
        assert result.usage.simulations == simulations
        assert result.stop_reason == "simulations"


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(["mcts", "mcts_g"]),
    nodes=st.integers(1, 40),
    width=st.integers(1, 6),
    pre_expand=st.sampled_from([0, 3, 20]),
    in_flight=st.integers(1, 4),
    deduplicate=st.booleans(),
)
def test_nodes_when_limited_are_never_exceeded(method, nodes, **options):
    results = solve(ToyPolicy(), ToyReward(), method=method, budget=Budget(nodes=nodes), **options)
    for result in results:
        assert result.tree is not None
        assert len(result.tree.parent) == result.usage.nodes <= nodes
        assert result.stop_reason == ("nodes" if result.usage.nodes == nodes else "exhausted")


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("mcts", "mcts_g")])
def test_search_when_only_nodes_limit_a_method_without_a_tree_is_refused(method):
    with pytest.raises(InvalidArgumentError, match=rf"nodes=9: {method} has no tree.*simulations"):
        Searcher(ToyPolicy(), ToyReward(), method=method, budget=Budget(nodes=9))
    Searcher(ToyPolicy(), ToyReward(), method=method, budget=Budget(nodes=9, simulations=1))


def test_result_when_the_policy_hangs_comes_within_the_seconds():
    async def hang() -> Sample:
        await asyncio.Event().wait()
        raise AssertionError

    policy = Watched(Scripted(lambda request, seed: hang()))
    for method in ("mcts_g", "best_of_n", "beam"):
        policy.cancelled = 0
        results = solve(policy, ToyReward(), method=method, budget=Budget(seconds=0.1))
        assert [result.stop_reason for result in results] == ["seconds"] * len(PROBLEMS)
        assert all(0.1 <= result.seconds < 5 for result in results)
        assert policy.cancelled > 0 and policy.active == 0


def test_result_when_only_one_problem_hangs_leaves_the_others_alone():
    toy = ToyPolicy()

    async def answer(request, seed) -> Sample:
        if request.problem == PROBLEMS[1]:
            await asyncio.Event().wait()
        return toy._one(request, seed)

    results = solve(
        Scripted(answer), ToyReward(), concurrency=2, budget=Budget(seconds=0.3, simulations=3)
    )
    reasons = ["simulations"] * len(PROBLEMS)
    reasons[1] = "seconds"
    assert [result.stop_reason for result in results] == reasons
    assert results[1].candidates == () and results[1].tree is not None
    assert all(result.usage.simulations == 3 for result in results if result is not results[1])


@pytest.mark.parametrize("method", ["mcts", "mcts_g"])
def test_tree_when_it_is_exhausted_ends_the_search(method):
    results = solve(ToyPolicy(slip=0), ToyReward(), method=method, budget=Budget(tokens=10**6))
    for problem, result in zip(PROBLEMS, results, strict=True):
        assert result.stop_reason == "exhausted"
        assert result.answer == str(sum(map(int, problem.split())))
        assert all(result.tree.visit_count)


@pytest.mark.parametrize("method", ["mcts", "mcts_g", *SAMPLED])
def test_search_when_confident_stops_with_four_voters(method):
    results = solve(
        ToyPolicy(slip=0), ToyReward(), method=method, confidence=1.0, deduplicate=False
    )
    for result in results:
        assert result.stop_reason == "confident"
        assert 4 <= len(result.candidates) <= 12  # what was under way is kept
        assert len({candidate.answer for candidate in result.candidates}) == 1


# --- failures ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cot", "best_of_n", "beam", "mcts_g"])
@pytest.mark.parametrize("failing", ["policy", "reward"])
@pytest.mark.parametrize("delay_seed", [0, 1])
def test_error_when_an_engine_fails_comes_once_and_ends_everything(method, failing, delay_seed):
    def fail(problem: str) -> None:
        if problem == PROBLEMS[3]:
            raise EngineError("the engine is gone")

    class Policy(ToyPolicy):
        async def sample(self, request):
            if failing == "policy":
                fail(request.problem)
            return await super().sample(request)

    class Reward(ToyReward):
        async def score(self, problem, solutions):
            if failing == "reward":
                fail(problem)
            return await super().score(problem, solutions)

    policy = Watched(Policy(), delay_seed)
    reward = Watched(Reward(), delay_seed)
    results = []

    async def work() -> None:
        searcher = Searcher(policy, reward, method=method, budget=Budget(tokens=400), concurrency=2)
        with pytest.raises(EngineError, match="the engine is gone"):
            async for result in searcher.stream(PROBLEMS):
                results.append(result)

    run_quietly(work)
    assert policy.active == reward.active == 0
    undisturbed = solve(ToyPolicy(), ToyReward(), method=method)
    assert 1 <= len(results) < len(PROBLEMS)
    for result in results:
        assert result.signature == undisturbed[int(result.problem.unique_id)].signature


@pytest.mark.parametrize("give_up", ["close", "cancel"])
@pytest.mark.parametrize("method", ["best_of_n", "mcts_g"])
def test_consumer_when_it_stops_early_leaves_nothing_running(method, give_up):
    policy, reward = Watched(ToyPolicy(), 1), Watched(ToyReward(), 2)
    searcher = Searcher(policy, reward, method=method, budget=Budget(tokens=400))

    async def close() -> None:
        stream = searcher.stream(PROBLEMS)
        async for _ in stream:
            break
        assert policy.active > 0
        await stream.aclose()
        assert policy.active == reward.active == 0

    async def cancel() -> None:
        task = asyncio.ensure_future(searcher.solve_async(PROBLEMS))
        while not policy.active:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert policy.active == reward.active == 0

    run_quietly(close if give_up == "close" else cancel)
    assert policy.cancelled + reward.cancelled > 0


def one_short(answers: Sequence[Any]) -> Sequence[Any]:
    return answers[:-1]


def one_more(answers: Sequence[Any]) -> Sequence[Any]:
    return [*answers, answers[0]]


def with_field(**changes: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return lambda answers: [replace(answers[0], **changes), *answers[1:]]


@pytest.mark.parametrize(
    ("who", "change", "words"),
    [
        ("policy", one_short, "toy-policy returned 0 samples, 1 were asked"),
        ("policy", one_more, "toy-policy returned 2 samples, 1 were asked"),
        ("policy", with_field(num_tokens=385), "generated 385 tokens, at most 384"),
        ("policy", with_field(num_tokens=-1), "generated -1 tokens"),
        ("reward", one_short, r"toy-reward returned \d scores for \d solutions"),
        ("reward", one_more, r"toy-reward returned \d scores for \d solutions"),
        ("reward", with_field(score=1.5), r"toy-reward gave the score 1.5: .*\[0, 1\]"),
        ("reward", with_field(score=-0.25), "gave the score -0.25"),
        ("reward", with_field(score=math.inf), "gave the score inf"),
        ("reward", with_field(num_tokens=2), "generated 2 tokens for a judgement, at most 1"),
        ("reward", with_field(num_tokens=-1), "generated -1 tokens"),
    ],
)
def test_answer_when_out_of_shape_is_an_error_that_names_it(who, change, words):
    class Policy(ToyPolicy):
        async def sample(self, request):
            samples = await super().sample(request)
            return change(samples) if who == "policy" else samples

    class Reward(ToyReward):
        async def score(self, problem, solutions):
            judgements = await super().score(problem, solutions)
            return change(judgements) if who == "reward" else judgements

    with pytest.raises(AnswerFormatError, match=words) as caught:
        solve(Policy(), Reward(), budget=Budget(simulations=20))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["rollout", "prefix", "mix"])
def test_score_when_it_is_nan_is_kept_and_counts_as_nothing(value):
    (result,) = solve(
        ToyPolicy(), Scripted(lambda problem, steps: math.nan), PROBLEMS[:1], value=value
    )
    finished = [candidate for candidate in result.candidates if candidate.finished]
    assert finished and all(math.isnan(candidate.score) for candidate in finished)
    assert result.answer is not None  # no score weighs anything: the majority
    assert result.to_record()["scores"] == [None] * len(result.candidates)
    assert set(result.tree.mean_value) == {0.0}


def test_solution_when_it_is_cut_off_or_has_no_answer_is_not_judged():
    judged = []

    def judge(problem: str, steps: tuple[str, ...]) -> float:
        judged.append("".join(steps))
        return 0.5

    def write(request: Any, seed: int) -> Sample:
        if seed % 3 == 0:
            return Sample(" Step 1: " + "on and on " * 20, request.max_tokens, "length")
        if seed % 3 == 1:
            return Sample(" Answer\nunknown", 10, "eos")
        return Sample(" Answer\n\\boxed{7}", 10, "eos")

    budget = Budget(tokens=2000)
    (result,) = solve(Scripted(write), Scripted(judge), ["?"], method="best_of_n", budget=budget)
    kinds = {(c.finished, c.answer, math.isnan(c.score)) for c in result.candidates}
    assert kinds >= {(True, None, True), (True, "7", False)}
    assert all(math.isnan(c.score) for c in result.candidates if c.answer is None)
    assert judged and all("\\boxed{7}" in text for text in judged)


class Lines(StringSplitter):
    """Solutions that box nothing: their last line is the answer."""

    def answer(self, text: str) -> str | None:
        return text.splitlines()[-1]


def test_answer_when_the_splitter_reads_it_needs_no_box():
    def write(request: Any, seed: int) -> Sample:
        return Sample(f"word {seed}\n{seed % 2}", 10, "eos")

    def judge(problem: str, steps: tuple[str, ...]) -> float:
        return float("".join(steps)[-1])

    searcher = Searcher(
        Scripted(write), Scripted(judge), budget=Budget(simulations=4), splitter=Lines("\n")
    )
    result = searcher.solve("?")
    assert {c.answer for c in result.candidates} == {"0", "1"}
    assert result.answer == "1" and result.solution.endswith("\n1")


# --- what passes between search and models -----------------------------------------------


def wrong_sums(request: Any, seed: int) -> Sample:
    done = sum(step.startswith("## Step") for step in request.steps)
    if request.max_tokens < 10:  # the end of the budget
        return Sample(" Cut", request.max_tokens, "length")
    if done < 2:
        text = f" Step {done + 1}: add\n{seed % 50} + 2 = {seed % 50 + 3}"
        return Sample(text, 10, "stop")
    return Sample(" Answer\nso 2 + 2 = 5 and \\boxed{5}", 10, "eos")


@pytest.mark.parametrize("method", METHODS)
def test_calculator_when_on_corrects_steps_and_rollouts(method):
    policy = Watched(Scripted(wrong_sums))
    (result,) = solve(policy, ToyReward(), ["1 2"], method=method)
    assert result.usage.corrections > 0
    assert result.candidates
    for candidate in result.candidates:
        for left in range(50):
            assert f"\n{left} + 2 = {left + 3}" not in candidate.text
        assert "2 + 2 = 5" not in candidate.text
    for request in policy.requests:  # the model goes on from corrected steps
        assert "2 + 2 = 5" not in "".join(request.steps)


@pytest.mark.parametrize("method", METHODS)
def test_calculator_when_off_leaves_steps_alone(method):
    (result,) = solve(Scripted(wrong_sums), ToyReward(), ["1 2"], method=method, calculator=False)
    assert result.usage.corrections == 0
    assert any(" + 2 = " in candidate.text for candidate in result.candidates)
    assert "## Step 1: add\n2 + 2 = 4" not in [c.text for c in result.candidates]


@pytest.mark.parametrize("method", METHODS)
def test_models_when_asked_see_the_problem_text_and_steps_alone(method):
    policy, reward = Watched(ToyPolicy()), Watched(ToyReward())
    problem = Problem("the-id", PROBLEMS[0])
    solve(policy, reward, [problem], method=method)
    written: set[str] = set()
    for request in policy.requests:
        assert request.problem == problem.problem
        assert request.steps[-1] == "##"
        written.update(request.steps)
        assert "the-id" not in repr(request)
    assert all(step.startswith("##") for step in written)
    assert {asked for asked, _ in reward.requests} == {problem.problem}
    for _, solutions in reward.requests:
        assert all(step.startswith("## ") for steps in solutions for step in steps)
        assert "the-id" not in repr(solutions)


def test_problem_when_searched_has_no_place_for_the_right_answer():
    assert [field.name for field in fields(Problem)] == ["unique_id", "problem"]
    assert not hasattr(Problem("0", "1 2"), "__dict__")


def test_request_when_it_asks_a_step_carries_stop_and_limits():
    policy = Watched(ToyPolicy())
    options = {"request": "step", "max_step_tokens": 20, "temperature": 0.6, "top_p": 0.9}
    solve(policy, ToyReward(), PROBLEMS[:1], **options)
    for request in policy.requests:
        assert request.stop == ("\n##",)
        assert 1 <= request.max_tokens <= 20
        assert (request.temperature, request.top_p) == (0.6, 0.9)


def test_request_when_the_splitter_counts_tokens_is_that_long():
    policy = Watched(ToyPolicy())
    solve(policy, ToyReward(), PROBLEMS[:1], splitter="tokens:12", max_step_tokens=64)
    assert max(request.max_tokens for request in policy.requests) == 12


# --- the answer --------------------------------------------------------------------------


def two_ways(request: Any, seed: int) -> Sample:
    """Way A once in four samples, way B else; both lead to their answer in one step more."""
    if len(request.steps) == 1:
        return Sample(" Step 1: A" if seed % 4 == 0 else " Step 1: B", 5, "stop")
    return Sample(f" Answer\n\\boxed{{{request.steps[0][-3]}}}", 5, "eos")


def test_vote_when_by_path_takes_the_solution_of_the_best_child():
    reward = Scripted(lambda problem, steps: 0.9 if "A" in steps[0] else 0.8)
    options = {"width": 6, "deduplicate": False, "seed": 1}
    (path,) = solve(Scripted(two_ways), reward, ["?"], vote="path", **options)
    (majority,) = solve(Scripted(two_ways), reward, ["?"], vote="majority", **options)
    assert path.signature == majority.signature
    answers = Counter(candidate.answer for candidate in path.candidates)
    assert answers["B"] > answers["A"] > 0
    assert (path.answer, majority.answer) == ("A", "B")
    assert path.solution == "## Step 1: A\n\n## Answer\n\\boxed{A}"


def test_vote_when_by_path_finds_an_answer_wherever_there_is_one():
    # the better way is scored high all along but is never finished
    def write(request: Any, seed: int) -> Sample:
        if len(request.steps) == 1:
            return Sample(" Step 1: A" if seed % 2 else " Step 1: B", 5, "stop")
        if "A" in request.steps[0]:
            return Sample(f" Step: on {seed}", 5, "stop")
        return Sample(" Answer\n\\boxed{B}", 5, "eos")

    reward = Scripted(lambda problem, steps: 0.9 if "A" in steps[0] else 0.8)
    (result,) = solve(
        Scripted(write), reward, ["?"], method="mcts", vote="path", value="prefix", exploration=3
    )
    assert {candidate.answer for candidate in result.candidates} == {"B"}
    assert result.answer == "B"


def test_result_when_nothing_is_finished_has_no_answer():
    (result,) = solve(ToyPolicy(), ToyReward(), PROBLEMS[:1], budget=Budget(tokens=3))
    assert (result.answer, result.solution, result.candidates) == (None, "", ())
    assert (result.stop_reason, result.usage.tokens) == ("tokens", 0)


def test_results_when_streamed_come_as_they_are_finished_and_solved_in_order():
    problems = [Problem(str(i), text) for i, text in enumerate(PROBLEMS)]
    results = solve(Watched(ToyPolicy(), 3), ToyReward(), problems)
    assert [result.problem for result in results] == problems
    assert solve(ToyPolicy(), ToyReward(), []) == []


def test_candidates_when_found_are_in_the_record():
    (result,) = solve(ToyPolicy(), ToyReward(), PROBLEMS[:1])
    record = result.to_record()
    assert record["completions"] == [candidate.text for candidate in result.candidates]
    assert all(isinstance(candidate, Candidate) for candidate in result.candidates)
    assert result.answer in record["answers"]
    assert result.seconds > 0


@pytest.mark.parametrize("name", ["concurrency", "sequences"])
def test_driver_when_a_count_is_none_refuses_it(name):
    with pytest.raises(InvalidArgumentError, match=f"{name}=0: must be at least 1"):
        Searcher(ToyPolicy(), ToyReward(), **{name: 0})


class Counting(ToyPolicy):
    """Counts the sequences in flight, and the problems that they are of."""

    most = most_problems = 0

    def __init__(self) -> None:
        super().__init__(delay_seed=5)
        self.now: Counter[str] = Counter()

    async def sample(self, request):
        self.now[request.problem] += len(request.seeds)
        self.most = max(self.most, self.now.total())
        self.most_problems = max(self.most_problems, len(+self.now))
        try:
            return await super().sample(request)
        finally:
            self.now[request.problem] -= len(request.seeds)


@pytest.mark.parametrize("request_kind", ["step", "solution"])
@pytest.mark.parametrize("method", ["mcts_g", "best_of_n"])
def test_sequences_when_problems_are_many_are_kept_at_their_target(method, request_kind):
    policy = Counting()
    problems = [toy_problem(random.Random(i), 4) for i in range(40)]
    searcher = Searcher(
        policy,
        ToyReward(),
        method=method,
        budget=Budget(simulations=6),
        options=SearchOptions(request=request_kind),
        sequences=20,
    )
    run_quietly(lambda: searcher.solve_async(problems), collect=False)
    # a quarter more than the target waits in the engine's queue
    assert 20 <= policy.most <= 25
    # 20 sequences are five problems with four children each, or ten with two solutions in flight
    assert 3 <= policy.most_problems <= 20


def test_simulations_when_the_answer_is_settled_are_aborted():
    policy = Watched(ToyPolicy(slip=0), 3)
    options = {"confidence": 0.9, "in_flight": 8, "width": 2, "deduplicate": False}
    (result,) = solve(policy, ToyReward(), PROBLEMS[:1], budget=Budget(tokens=5000), **options)
    assert result.stop_reason == "confident"
    assert policy.cancelled > 0 and policy.active == 0
    # what was thrown away is not counted
    assert result.usage.policy_tokens < policy.tokens[PROBLEMS[0]]


def test_driver_when_problems_are_many_holds_no_more_than_its_concurrency():
    policy = Watched(ToyPolicy(), 1)
    most = 0

    async def work() -> None:
        nonlocal most
        begun: list[str] = []

        def problems():
            for problem in PROBLEMS:
                begun.append(problem)
                yield problem

        searcher = Searcher(policy, ToyReward(), concurrency=2, budget=Budget(tokens=200))
        done = 0
        async for _ in searcher.stream(problems()):
            most = max(most, len(begun) - done)
            done += 1

    run_quietly(work)
    assert most == 2
