"""Each search method on a case small enough to be done by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from toy_models import ToyPolicy, ToyReward

from rtsearch_fast import (
    METHODS,
    Budget,
    Judgement,
    Sample,
    SampleRequest,
    Searcher,
    SearchOptions,
    SearchResult,
)
from rtsearch_fast.errors import InvalidArgumentError
from rtsearch_fast.search.methods import make_method

NAN = math.nan


class Written:
    """Writes what the table says: names of steps so far -> names of the next ones, in turn."""

    name = "written"

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table
        self.requests: list[SampleRequest] = []

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        self.requests.append(request)
        names = self.table[names_of(request.steps)].split()
        return [
            Sample(f" Answer\n\\boxed{{{name}}}", 10, "eos")
            if name.isdigit()
            else Sample(f" {name}", 10, "stop")
            for _, name in zip(request.seeds, names, strict=True)
        ]

    @property
    def expanded(self) -> list[str]:
        return [names_of(request.steps) for request in self.requests]


class Scored:
    """Scores a solution by its last step."""

    name = "scored"
    max_tokens = 1

    def __init__(self, table: dict[str, float]) -> None:
        self.table = table

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        names = [names_of(steps).split()[-1] for steps in solutions]
        return [Judgement(self.table.get(name, 0.0), 1) for name in names]


def names_of(steps: Sequence[str]) -> str:
    """ "A B" for the steps A and B; an answer goes by its box."""
    names = [step.strip("# \n") for step in steps]
    return " ".join(name.rpartition("{")[2].strip("}") for name in names if name)


def solve(policy: Written, reward: Scored, method: str, budget: Budget, **options) -> SearchResult:
    options = SearchOptions(request="step", **options)
    return Searcher(policy, reward, method=method, budget=budget, options=options).solve("?")


# --- beam search -------------------------------------------------------------------------

BEAM_STEPS = {
    "": "A B C",
    "A": "A1 A2",
    "B": "B1 B2",
    "C": "C1 C2",
    "A A1": "1 A1a",
    "A A2": "2 A2a",
    "C C2": "3 4",
}


def test_beam_when_run_expands_the_best_prefixes_of_each_depth():
    # depth 1: C, A, B by their scores; depth 2: C2 (0.9), A1 (0.7) and A2 (0.3) of the six
    scores = {"A": 0.5, "B": 0.1, "C": 0.6, "A1": 0.7, "A2": 0.3, "C1": 0.2, "C2": 0.9}
    policy = Written(BEAM_STEPS)
    reward = Scored({**scores, "B1": 0.0, "B2": 0.0, "3": 0.4, "4": 0.2, "1": 0.8, "2": 0.1})
    budget = Budget(simulations=7)
    result = solve(policy, reward, "beam", budget, width=2, beam_width=3, in_flight=1)
    assert policy.expanded == ["", "C", "A", "B", "C C2", "A A1", "A A2"]
    assert [candidate.answer for candidate in result.candidates] == ["3", "4", "1", "2"]
    assert [candidate.score for candidate in result.candidates] == [0.4, 0.2, 0.8, 0.1]
    assert result.answer == "1"
    assert (result.stop_reason, result.usage.nodes, result.tree) == ("simulations", 0, None)


def test_beam_when_every_prefix_is_finished_is_complete():
    policy = Written({"": "A 7", "A": "8 9"})
    scores = Scored({"A": 0.5, "7": 0.1, "8": 0.3, "9": 0.2})
    result = solve(policy, scores, "beam", Budget(tokens=5000), width=2, beam_width=2)
    assert policy.expanded == ["", "A"]
    assert [candidate.answer for candidate in result.candidates] == ["7", "8", "9"]
    assert result.stop_reason == "complete"


def test_beam_when_scores_are_equal_keeps_the_first_and_nan_comes_last():
    table = {"": "A B C D", **{f"{n}": f"{n}1 {n}2 {n}3 {n}4" for n in "ABCD"}}
    table |= {f"{n} {n}{i}": "1 2 3 4" for n in "ABCD" for i in range(1, 5)}
    policy = Written(table)
    reward = Scored({"A": NAN, "B": 0.0, "C": 0.5, "D": 0.5, "A1": 0.1})
    budget = Budget(simulations=9)
    solve(policy, reward, "beam", budget, width=4, beam_width=4, in_flight=1)
    assert policy.expanded[:5] == ["", "C", "D", "B", "A"]
    assert policy.expanded[5:] == ["A A1", "C C1", "C C2", "C C3"]


# --- trees -------------------------------------------------------------------------------

TREE_STEPS = {"": "A B", "A": "A1 A2", "B": "B1 B2", "A A2": "1 2"}
TREE_SCORES = {"A": 0.9, "B": 0.5, "A1": 0.1, "A2": 0.6, "B1": 0.0, "B2": 0.0}


@pytest.mark.parametrize(("method", "third"), [("mcts", "B"), ("mcts_g", "A A2")])
def test_tree_search_when_a_good_leaf_is_below_a_middling_branch_differs_by_method(method, third):
    # After A is expanded it has N=3, V=(0.9+0.1+0.6)/3. From the root, with N=4 and c=0.4,
    #   UCT:    A 0.533 + 0.4 sqrt(ln 4 / 3) = 0.805   <   B 0.5 + 0.4 sqrt(ln 4) = 0.971
    #   MCTS_G: of all leaves A2 has most, 0.6 + 0.4 sqrt(ln 3) = 1.019
    policy = Written(TREE_STEPS)
    result = solve(
        policy,
        Scored(TREE_SCORES),
        method,
        Budget(simulations=3),
        width=2,
        value="prefix",
        in_flight=1,
        exploration=0.4,
    )
    assert policy.expanded == ["", "A", third]
    assert result.tree is not None
    steps = ["", "A", "B", "A1", "A2"]
    assert [names_of([step]) for step in result.tree.step[:5]] == steps
    assert result.tree.parent[:5] == (-1, 0, 0, 1, 1)
    assert result.tree.prior[1:5] == (0.5,) * 4
    if method == "mcts_g":
        assert result.tree.visit_count == (6, 5, 1, 1, 3, 1, 1)
        assert result.tree.mean_value[1] == pytest.approx((0.9 + 0.1 + 0.6 + 0 + 0) / 5)
        assert result.tree.terminal == (False,) * 5 + (True,) * 2


def test_tree_search_when_the_root_is_pre_expanded_gives_it_more_children():
    policy = Written({"": "A B C D E", "B": "1 2"})
    result = solve(
        policy,
        Scored({"B": 0.5}),
        "mcts",
        Budget(simulations=2),
        width=2,
        pre_expand=5,
        value="prefix",
    )
    assert policy.expanded == ["", "B"]
    assert result.tree is not None
    assert result.tree.parent == (-1, 0, 0, 0, 0, 0, 2, 2)


def test_tree_search_when_samples_repeat_merges_them_and_adds_up_their_share():
    policy = Written({"": "A b  a B"})
    options = {"width": 4, "value": "prefix"}
    merged = solve(policy, Scored({}), "mcts", Budget(simulations=1), **options)
    assert merged.tree is not None
    assert merged.tree.prior == (1.0, 0.5, 0.5)
    assert [names_of([step]) for step in merged.tree.step] == ["", "A", "b"]
    all_kept = solve(
        policy, Scored({}), "mcts", Budget(simulations=1), deduplicate=False, **options
    )
    assert all_kept.tree is not None
    assert all_kept.tree.prior == (1.0, 0.25, 0.25, 0.25, 0.25)


def test_tree_search_when_it_is_self_consistent_lifts_the_frequent_answer():
    policy = Written({"": "1 1 1 2"})
    result = solve(
        policy,
        Scored({"1": 0.4, "2": 0.6}),
        "mcts",
        Budget(simulations=1),
        deduplicate=False,
        self_consistency=0.5,
    )
    assert result.tree is not None
    expected = [0.5 * 0.4 + 0.5 * 0.75] * 3 + [0.5 * 0.6 + 0.5 * 0.25]
    assert result.tree.mean_value[1:] == pytest.approx(expected)


# --- sampling ----------------------------------------------------------------------------


def test_cot_when_run_takes_one_greedy_solution():
    policy = ToyPolicy(slip=0.5)
    result = Searcher(policy, ToyReward(), method="cot").solve("1 2 3")
    assert {request.temperature for request in policy.requests} == {0.0}
    assert (len(result.candidates), result.usage.simulations) == (1, 1)
    assert result.stop_reason == "complete"
    other = Searcher(policy, ToyReward(), method="cot", options=SearchOptions(seed=7))
    assert other.solve("1 2 3").signature == result.signature


@pytest.mark.parametrize(
    ("method", "answer"),
    [("best_of_n", "3"), ("majority", "1"), ("weighted_majority", "2")],
)
def test_sampling_method_when_solutions_disagree_votes_its_way(method, answer):
    scores = {"1": 0.2, "2": 0.5, "3": 0.8}

    class InTurn(Written):
        async def sample(self, request: SampleRequest) -> Sequence[Sample]:
            self.requests.append(request)
            number = "111223"[len(self.requests) - 1]
            return [Sample(f" Answer\n\\boxed{{{number}}}", 10, "eos")]

    result = solve(InTurn({}), Scored(scores), method, Budget(simulations=6))
    assert [candidate.answer for candidate in result.candidates] == list("111223")
    assert result.answer == answer


# --- the registry ------------------------------------------------------------------------


def test_methods_when_listed_are_the_seven():
    assert list(METHODS) == [
        "cot",
        "best_of_n",
        "majority",
        "weighted_majority",
        "beam",
        "mcts",
        "mcts_g",
    ]


def test_make_method_when_the_name_is_unknown_lists_the_names():
    with pytest.raises(InvalidArgumentError, match=r"method='mtcs': choose one of cot, .*, mcts_g"):
        make_method("mtcs", SearchOptions(), Budget(tokens=1))


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith("mcts")])
def test_make_method_when_a_vote_needs_a_tree_refuses_others(method):
    with pytest.raises(InvalidArgumentError, match=f"vote='path' needs a tree, and {method}"):
        make_method(method, SearchOptions(vote="path"), Budget(tokens=1))


def test_make_method_when_beam_is_made_judges_prefixes():
    _, options = make_method("beam", SearchOptions(value="rollout"), Budget(tokens=1))
    assert options.value == "prefix"
    _, options = make_method("mcts", SearchOptions(value="mix"), Budget(tokens=1))
    assert options.value == "mix"
