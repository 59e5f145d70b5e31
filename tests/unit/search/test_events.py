"""A search that is given its first events goes on to the same tree, without asking for them."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from toy_models import ToyPolicy, ToyReward, toy_problem

from rtsearch_fast import METHODS, Budget, Problem, Searcher, SearchOptions, SearchResult
from rtsearch_fast.search.events import EventLog

PROBLEMS = [Problem(f"p{i}", toy_problem(random.Random(i), 4)) for i in range(3)]
TREES = ("mcts", "mcts_g", "beam")


class Log:
    """Events in memory, as a file would give them back."""

    def __init__(self, events: Mapping[str, Sequence[Any]] | None = None) -> None:
        self.events: defaultdict[str, list[Any]] = defaultdict(list)
        for name, known in (events or {}).items():
            self.events[name] = json.loads(json.dumps(known))
        self.numbers: list[tuple[str, int]] = []

    def known(self, problem: Problem) -> Sequence[Mapping[str, Any]]:
        return list(self.events[problem.unique_id])

    def committed(self, problem: Problem, number: int, event: Mapping[str, Any]) -> None:
        known = self.events[problem.unique_id]
        assert number <= len(known)
        known[number:] = [json.loads(json.dumps(event))]
        self.numbers.append((problem.unique_id, number))


def search(
    log: EventLog | None,
    method: str,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    **options: Any,
) -> tuple[list[SearchResult], int]:
    """Results by problem, and how many requests the policy got."""
    policy = ToyPolicy(delay_seed=seed)
    searcher = Searcher(
        policy,
        ToyReward(delay_seed=seed),
        method=method,
        budget=budget or Budget(tokens=700),
        options=SearchOptions(width=3, max_step_tokens=10, max_solution_tokens=80, **options),
    )

    async def work() -> list[SearchResult]:
        results = [result async for result in searcher.stream(PROBLEMS, events=log)]
        return sorted(results, key=lambda result: result.problem.unique_id)

    return asyncio.run(work()), len(policy.requests)


def same(one: Sequence[SearchResult], other: Sequence[SearchResult]) -> bool:
    return [r.to_record(with_tree=True) for r in one] == [
        r.to_record(with_tree=True) for r in other
    ]


@pytest.mark.parametrize("method", METHODS)
def test_search_when_all_is_known_asks_no_model_and_ends_the_same(method):
    whole = Log()
    undisturbed, requests = search(whole, method)
    assert requests
    log = Log(whole.events)
    results, asked = search(log, method)
    assert same(results, undisturbed)
    assert asked == 0 and not log.numbers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"in_flight": 3},
        {"value": "prefix", "self_consistency": 0.3},
        {"value": "mix", "request": "solution", "in_flight": 4},
        {"narrow": True, "value": "rollout", "pre_expand": 5},
        {"confidence": 0.9},
    ],
    ids=str,
)
def test_search_when_resumed_anywhere_ends_with_the_same_tree(method, options):
    whole = Log()
    undisturbed, requests = search(whole, method, **options)
    rng = random.Random(0)
    for attempt in range(6):
        cut = {
            name: events[: rng.randrange(len(events) + 1)] for name, events in whole.events.items()
        }
        log = Log(cut)
        results, asked = search(log, method, seed=attempt, **options)
        assert same(results, undisturbed)
        assert log.events.keys() == whole.events.keys()
        for name, events in log.events.items():
            assert [e["job"] for e in events] == [e["job"] for e in whole.events[name]]
        left = sum(len(events) - len(cut[name]) for name, events in whole.events.items())
        assert len(log.numbers) == left
        if not options.get("confidence"):  # what was in flight is not asked again by a later stop
            assert asked <= requests and (asked < requests or not any(cut.values()))


@pytest.mark.parametrize("method", TREES)
def test_search_when_events_are_of_another_search_starts_from_what_fits(method):
    whole, strange = Log(), Log()
    undisturbed, _ = search(whole, method)
    search(strange, method, pre_expand=7)
    log = Log(strange.events)
    results, asked = search(log, method)
    assert same(results, undisturbed)
    assert (asked and ("p0", 0) in log.numbers) or method == "beam"
    assert {n: len(e) for n, e in log.events.items()} == {
        n: len(e) for n, e in whole.events.items()
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda event: event.pop("usage"),
        lambda event: event["usage"].pop(),
        lambda event: event.update(usage=[10**6, 0, 0, 0, 0]),
        lambda event: event.update(children=7),
        lambda event: event.update(children=[[1]]),
        lambda event: event["job"].append(1),
    ],
)
def test_search_when_an_event_is_damaged_goes_on_from_the_one_before(damage):
    whole = Log()
    undisturbed, _ = search(whole, "mcts_g", in_flight=2)
    log = Log(whole.events)
    damage(log.events["p1"][2])
    results, asked = search(log, "mcts_g", in_flight=2)
    assert same(results, undisturbed)
    assert asked and log.numbers[0] == ("p1", 2)
    assert log.events == whole.events or all(
        e["job"] == w["job"] for e, w in zip(log.events["p1"], whole.events["p1"], strict=True)
    )


def test_search_when_its_time_ran_out_in_an_earlier_session_gets_no_more():
    budget = Budget(seconds=30.0, simulations=20)
    whole = Log()
    search(whole, "mcts", budget=budget)
    late = Log({name: events[:4] for name, events in whole.events.items()})
    for events in late.events.values():
        events[-1]["seconds"] = 31.0
    results, asked = search(late, "mcts", budget=budget)
    assert {result.stop_reason for result in results} == {"seconds"}
    assert [result.usage.simulations for result in results] == [4, 4, 4]
    assert asked == 0
