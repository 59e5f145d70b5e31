"""Our algorithms under treequest's interface against treequest itself."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import pickle
import random
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import peer

from rtsearch_fast.errors import (
    CorruptDataError,
    InvalidArgumentError,
    ScoreRangeError,
    SearchError,
    UnknownTrialError,
)

tq = peer("treequest")

from rtsearch_fast.adapters import treequest as fast  # noqa: E402

Generate = Callable[[Any], tuple[Any, float]]


def writer(name: str, levels: int | None = None, seed: int = 0) -> Generate:
    """A model of texts, each longer than its parent, whose scores are hashes of them.

    With `levels` scores are multiples of 1 / levels, so that sums differ in their last bit alone
    and ties abound. Equal parents get different children.
    """
    calls = 0

    def generate(parent: str | None) -> tuple[str, float]:
        nonlocal calls
        calls += 1
        text = hashlib.blake2b(f"{parent}{name}{calls}{seed}".encode(), digest_size=8).hexdigest()
        score = int(text[:8], 16) / 0xFFFFFFFF
        return text, score if levels is None else round(score * levels) / levels

    return generate


def run(algorithm: Any, functions: Mapping[str, Generate], steps: int, inplace: bool = True) -> Any:
    state = algorithm.init_tree()
    for _ in range(steps):
        state = algorithm.step(state, functions, inplace=inplace)
    return state


def edges(state: Any) -> list[tuple[int, int, float, Any]]:
    return [
        (node.expand_idx, node.parent.expand_idx, node.score, node.state)
        for node in state.tree.get_nodes()
        if node.parent is not None
    ]


# --- StandardMCTS: the same choices ---------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 10, 3, 1])
@pytest.mark.parametrize("actions", ["a", "ab", "cab"])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_standard_mcts_when_stepped_grows_the_tree_of_the_original(
    levels: int | None, actions: str, samples: int
) -> None:
    for seed, weight in enumerate((math.sqrt(2), 0.1, 0.0)):
        parameters = {"samples_per_action": samples, "exploration_weight": weight}
        theirs = run(
            tq.StandardMCTS(**parameters), {a: writer(a, levels, seed) for a in actions}, 120
        )
        ours = run(
            fast.StandardMCTS(**parameters), {a: writer(a, levels, seed) for a in actions}, 120
        )
        assert edges(ours) == edges(theirs)
        for index in range(-1, 120):
            visits, value_sum, prior = ours.count(index + 1)
            assert visits == theirs.visit_counts[index]
            assert value_sum == theirs.value_sums[index]
            assert prior == theirs.priors.get(index, 1.0)


def test_standard_mcts_when_stepped_a_thousand_times_gives_the_same_best_nodes() -> None:
    theirs, ours = tq.StandardMCTS(), fast.StandardMCTS()
    a = run(theirs, {"long": writer("l"), "short": writer("s")}, 1000)
    b = run(ours, {"long": writer("l"), "short": writer("s")}, 1000)
    assert ours.get_state_score_pairs(b) == theirs.get_state_score_pairs(a)
    assert tq.top_k(b, ours, k=10) == tq.top_k(a, theirs, k=10)


@pytest.mark.parametrize("seed", range(20))
def test_standard_mcts_when_asked_and_told_at_random_does_what_the_original_does(seed: int) -> None:
    """Batches, late and repeated tells, steps in between, changing actions."""
    rng = random.Random(seed)
    theirs, ours = tq.StandardMCTS(samples_per_action=3), fast.StandardMCTS(samples_per_action=3)
    a, b = theirs.init_tree(), ours.init_tree()
    asked: list[tuple[Any, Any]] = []
    actions = ["x", "y"]
    for number in range(150):
        if rng.random() < 0.4:
            size = rng.randrange(1, 6)
            a, of_a = theirs.ask_batch(a, size, actions)
            b, of_b = ours.ask_batch(b, size, actions)
            pairs = list(zip(of_a, of_b, strict=True))
            asked += pairs
            for one, other in pairs:
                assert (one.node_to_expand, one.action) == (other.node_to_expand, other.action)
                assert (one.parent_state, other.trial_status) == (other.parent_state, "RUNNING")
        elif asked:
            one, other = rng.choice(asked)
            result = (str(number), rng.randrange(5) / 4)
            a = theirs.tell(a, one.trial_id, result)
            b = ours.tell(b, other.trial_id, result)
        if rng.random() < 0.2 and a.trial_store.is_queue_empty():
            actions = rng.sample("xyz", rng.randrange(1, 4))
        if rng.random() < 0.2:
            # the queue of the original may want an action that is not asked for any more
            functions = {name: (lambda _, n=number: (f"s{n}", 0.25)) for name in "xyz"}
            if a.trial_store.is_queue_empty():
                functions = {name: functions[name] for name in actions}
            a = theirs.step(a, functions, inplace=True)
            b = ours.step(b, functions, inplace=True)
        if rng.random() < 0.1:
            b = pickle.loads(pickle.dumps(b))
        assert edges(b) == edges(a)
    statuses = [
        Counter(
            (trial.node_to_expand, trial.action, trial.trial_status, trial.score)
            for store in (
                state.trial_store.running_trials,
                state.trial_store.finished_trials,
            )
            for trial in store.values()
        )
        for state in (a, b)
    ]
    assert statuses[0] == statuses[1]
    assert any(status == "INVALID" for _, _, status, _ in statuses[0])


def test_standard_mcts_when_more_is_told_than_wanted_passes_it_over() -> None:
    algorithm = fast.StandardMCTS(samples_per_action=2)
    state, trials = algorithm.ask_batch(algorithm.init_tree(), 4, ["a"])
    for trial in reversed(trials):
        state = algorithm.tell(state, trial.trial_id, (trial.trial_id, 0.5))
    assert [text for text, _ in algorithm.get_state_score_pairs(state)] == [
        trials[3].trial_id,
        trials[2].trial_id,
    ]
    finished = state.trial_store.finished_trials.values()
    assert Counter(trial.trial_status for trial in finished) == {"COMPLETE": 2, "INVALID": 2}


# --- virtual loss ----------------------------------------------------------------------------


def test_virtual_loss_when_batches_are_one_grows_the_tree_of_the_original() -> None:
    for samples in (1, 2, 4):
        theirs = run(tq.StandardMCTS(samples_per_action=samples), {"a": writer("a", 10)}, 200)
        ours = run(
            fast.StandardMCTS(samples_per_action=samples, virtual_loss=True),
            {"a": writer("a", 10)},
            200,
        )
        assert edges(ours) == edges(theirs)


@pytest.mark.parametrize("name", ["virtual_loss", "mcts_g"])
def test_batches_when_leaves_are_distinct_lose_no_trial(name: str) -> None:
    algorithm = fast.StandardMCTS(virtual_loss=True) if name == "virtual_loss" else fast.MCTS_G()
    state = algorithm.init_tree()
    rng = random.Random(1)
    for _ in range(30):
        state = algorithm.step(state, {"a": writer("warm")}, inplace=True)
    for round_number in range(40):
        state, trials = algorithm.ask_batch(state, 16, ["a", "b"])
        assert max(Counter((t.node_to_expand, t.action) for t in trials).values()) <= 2
        assert len({t.node_to_expand for t in trials}) >= 4
        rng.shuffle(trials)
        if round_number % 7 == 0:
            state = pickle.loads(pickle.dumps(state))
        for trial in trials:
            state = algorithm.tell(state, trial.trial_id, (trial.trial_id, rng.random()))
    store = state.trial_store
    assert not store.running_trials
    assert {trial.trial_status for trial in store.finished_trials.values()} == {"COMPLETE"}
    assert len(state.tree) == 1 + 30 + 40 * 16
    with_children = Counter(parent for _, parent, _, _ in edges(state))
    assert set(with_children.values()) <= {2, 3, 4}


def test_virtual_loss_when_every_leaf_is_being_expanded_asks_twice() -> None:
    algorithm = fast.StandardMCTS(samples_per_action=2, virtual_loss=True)
    state, trials = algorithm.ask_batch(algorithm.init_tree(), 5, ["a"])
    assert [trial.node_to_expand for trial in trials] == [-1] * 5
    for trial in trials:
        state = algorithm.tell(state, trial.trial_id, (trial.trial_id, 0.5))
    assert len(algorithm.get_state_score_pairs(state)) == 2


# --- MCTS_G ------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [0.0, 0.4, 2.0])
def test_mcts_g_when_stepped_expands_the_best_leaf_of_a_scan_over_all(weight: float) -> None:
    algorithm = fast.MCTS_G(samples_per_action=3, exploration_weight=weight)
    function = writer("a")
    state = algorithm.init_tree()
    parents: list[int] = []
    scores: list[float] = []
    for step in range(300):
        if step % 3 == 0:
            expected = _best_leaf(parents, scores, weight)
        state = algorithm.step(state, {"a": function}, inplace=True)
        parents.append(expected)
        scores.append(algorithm.get_state_score_pairs(state)[-1][1])
    assert [parent for _, parent, _, _ in edges(state)] == parents


def _best_leaf(parents: list[int], scores: list[float], weight: float) -> int:
    visits = Counter({-1: len(parents)})
    for index in range(len(parents)):
        at = index
        while at >= 0:
            visits[at] += 1
            at = parents[at]
    leaves = [index for index in range(len(parents)) if index not in set(parents)]
    if not leaves:
        return -1
    return max(
        leaves,
        key=lambda i: (scores[i] + weight * math.sqrt(math.log(visits[parents[i]])), scores[i], -i),
    )


# --- AB-MCTS-A ---------------------------------------------------------------------------------


def grown_pair(strategy: str, dist: str, priors: Any, seed: int, steps: int) -> tuple[Any, Any]:
    """The same tree in the original and in ours: what the original chose is told to both."""
    np.random.seed(seed)
    theirs = tq.ABMCTSA(
        dist_type=dist, model_selection_strategy=strategy, reward_average_priors=priors
    )
    a = theirs.init_tree()
    function = writer("x", seed=seed)
    actions = ["fast", "slow"]
    for number in range(steps):
        a, trial = theirs.ask(a, actions)
        text, score = function(number)
        a = theirs.tell(a, trial.trial_id, (text, 0.3 * score + 0.5 * (trial.action == "slow")))
    return theirs, a


def told_again(state: Any, strategy: str, dist: str, priors: Any) -> tuple[Any, Any]:
    """Ours, told the same nodes. A trial for each is found by asking until it is offered."""
    ours = fast.ABMCTSA(
        dist_type=dist,
        model_selection_strategy=strategy,
        reward_average_priors=priors,
        seed=7,
    )
    b = ours.init_tree()
    for node in state.tree.get_nodes()[1:]:
        action = state.trial_store.finished_trials[node.trial_id].action
        wanted = (node.parent.expand_idx, action)
        for _ in range(1000):
            b, trials = ours.ask_batch(b, 64, ["fast", "slow"])
            fitting = [t for t in trials if (t.node_to_expand, t.action) == wanted]
            if fitting:
                b = ours.tell(b, fitting[0].trial_id, (node.state, node.score))
                break
        else:
            raise AssertionError(f"{wanted} was never offered")
    return ours, b


SETTINGS = [
    (strategy, dist, priors)
    for strategy in ("multiarm_bandit_thompson", "multiarm_bandit_ucb", "stack")
    for dist in ("gaussian", "beta")
    for priors in (None, 0.4, {"fast": 0.3, "slow": 0.6})
]


@pytest.mark.parametrize(("strategy", "dist", "priors"), SETTINGS)
def test_ab_mcts_a_when_told_the_same_believes_the_same(
    strategy: str, dist: str, priors: Any
) -> None:
    _, a = grown_pair(strategy, dist, priors, 3, 12)
    _, b = told_again(a, strategy, dist, priors)
    assert edges(b) == edges(a)
    names = ("m", "kappa", "nu", "tau_square") if dist == "gaussian" else ("a", "b")

    def same(belief: list[float], theirs: Any) -> None:
        expected = [theirs.params[name] for name in names]
        np.testing.assert_allclose(belief[: len(names)], expected, rtol=1e-13, atol=1e-15)

    actions = b.actions()
    for node in a.tree.get_nodes():
        known = a.thompson_states.get(node)
        if known is None or not node.children:
            continue
        arms, children = b.beliefs(node.expand_idx + 1)
        shared = strategy != "stack"
        for number, (gen, cont, of_action) in enumerate(arms):
            if number == 0 or not shared:
                theirs = known.gen_vs_cont_probas["shared" if shared else actions[number]]
                same(gen, theirs["GEN"])
                same(cont, theirs["CONT"])
            same(of_action, known.action_probas[actions[number]])
        assert [child - 1 for child, _ in children] == [c.expand_idx for c in node.children]
        for place, (_, belief) in enumerate(children):
            of_child = {k: v for group in known.node_probas.values() for k, v in group.items()}
            same(belief, of_child[place])


@pytest.mark.parametrize(("strategy", "dist", "priors"), SETTINGS)
def test_ab_mcts_a_when_asked_often_chooses_as_often_as_the_original(
    strategy: str, dist: str, priors: Any
) -> None:
    theirs, a = grown_pair(strategy, dist, priors, 5, 8)
    ours, b = told_again(a, strategy, dist, priors)
    draws = 1500
    np.random.seed(11)
    counts_a = Counter(
        (t.node_to_expand, t.action) for t in theirs.ask_batch(a, draws, ["fast", "slow"])[1]
    )
    counts_b = Counter(
        (t.node_to_expand, t.action) for t in ours.ask_batch(b, 10 * draws, ["fast", "slow"])[1]
    )
    assert _chi_square_p(counts_a, draws, counts_b, 10 * draws) > 1e-4


def _chi_square_p(a: Counter[Any], of_a: int, b: Counter[Any], of_b: int) -> float:
    """Do two samples come from one distribution? Rare choices are one class."""
    from scipy.stats import chi2_contingency

    common = [key for key in {*a, *b} if a[key] / of_a + b[key] / of_b > 0.02]
    table = [[a[key] for key in common], [b[key] for key in common]]
    table[0].append(of_a - sum(table[0]))
    table[1].append(of_b - sum(table[1]))
    columns = [column for column in zip(*table, strict=True) if sum(column)]
    if len(columns) < 2:
        return 1.0
    return float(chi2_contingency(np.array(columns).T).pvalue)


def test_ab_mcts_a_when_seeded_repeats_itself_also_after_pickling() -> None:
    def grow(interrupt: bool) -> Any:
        algorithm = fast.ABMCTSA(seed=5)
        state, function = algorithm.init_tree(), writer("a")
        for _ in range(60):
            state = algorithm.step(state, {"a": function}, inplace=True)
            if interrupt:
                state = pickle.loads(pickle.dumps(state))
        return edges(state)

    assert grow(False) == grow(True)


def test_ab_mcts_a_when_an_action_is_added_later_tries_it() -> None:
    algorithm = fast.ABMCTSA(model_selection_strategy="multiarm_bandit_ucb", seed=1)
    state = run(algorithm, {"a": lambda _: ("a", 0.1)}, 5)
    for _ in range(5):
        state = algorithm.step(
            state, {"a": lambda _: ("a", 0.1), "b": lambda _: ("b", 0.9)}, inplace=True
        )
    assert "b" in {text for text, _ in algorithm.get_state_score_pairs(state)}


# --- states: copies, pickles, views -------------------------------------------------------------

ALGORITHMS = {
    "standard": lambda: fast.StandardMCTS(),
    "virtual_loss": lambda: fast.StandardMCTS(virtual_loss=True),
    "mcts_g": lambda: fast.MCTS_G(),
    "ab_mcts_a": lambda: fast.ABMCTSA(seed=3),
    "stack": lambda: fast.ABMCTSA("beta", model_selection_strategy="stack", seed=3),
}


@pytest.fixture(params=ALGORITHMS)
def algorithm(request: pytest.FixtureRequest) -> Any:
    return ALGORITHMS[request.param]()


def test_step_when_not_in_place_leaves_every_earlier_state_as_it_was(algorithm: Any) -> None:
    functions = {"a": writer("a"), "b": writer("b")}
    states = [algorithm.init_tree()]
    for _ in range(40):
        states.append(algorithm.step(states[-1], functions))
    pairs = algorithm.get_state_score_pairs(states[-1])
    for size, state in enumerate(states):
        assert algorithm.get_state_score_pairs(state) == pairs[:size]
        assert len(state.tree) == size + 1
        assert len(state.trial_store.finished_trials) == size


def test_step_when_an_earlier_state_goes_on_leaves_the_later_ones_alone(algorithm: Any) -> None:
    functions = {"a": writer("a")}
    states = [algorithm.init_tree()]
    for _ in range(20):
        states.append(algorithm.step(states[-1], functions))
    last = edges(states[-1])
    branch = algorithm.step(states[7], {"a": lambda _: ("other", 1.0)})
    assert edges(branch)[:7] == last[:7]
    assert edges(branch)[7][3] == "other"
    assert edges(states[7]) == last[:7]
    algorithm.step(states[7], {"a": lambda _: ("in place", 1.0)}, inplace=True)
    assert [edge[3] for edge in edges(states[7])[7:]] == ["in place"]
    assert edges(states[-1]) == last
    assert len(edges(algorithm.step(states[-1], functions))) == 21


def test_step_when_earlier_state_goes_on_grows_what_a_straight_search_does() -> None:
    theirs, ours = tq.StandardMCTS(samples_per_action=3), fast.StandardMCTS(samples_per_action=3)
    scores = [writer("s", 4)(None) for _ in range(60)]
    a, b = theirs.init_tree(), ours.init_tree()
    for result in scores[:31]:
        a = theirs.step(a, {"a": lambda _, r=result: r}, inplace=True)
    middle = b
    for number, result in enumerate(scores[:45]):
        b = ours.step(b, {"a": lambda _, r=result: r})
        if number == 30:
            middle = b
    for result in scores[45:]:
        a = theirs.step(a, {"a": lambda _, r=result: r}, inplace=True)
        middle = ours.step(middle, {"a": lambda _, r=result: r})
    assert edges(middle) == edges(a)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_copies_when_made_with_trials_in_flight_go_on_alike(algorithm: Any, copied: Any) -> None:
    state = run(algorithm, {"a": writer("a"), "b": writer("b")}, 33)
    state, trials = algorithm.ask_batch(state, 5, ["a", "b"])
    other = copied(state)
    assert edges(other) == edges(state)
    assert other.trial_store == state.trial_store
    for trial in trials[::-1]:
        state = algorithm.tell(state, trial.trial_id, (trial.trial_id, 0.75))
        other = algorithm.tell(other, trial.trial_id, (trial.trial_id, 0.75))
    functions = {name: lambda _: ("more", 0.5) for name in "ab"}
    for _ in range(20):
        state = algorithm.step(state, functions, inplace=True)
        other = algorithm.step(other, functions, inplace=True)
    assert edges(other) == edges(state)


def test_pickles_when_the_tree_is_a_chain_of_100_000_nodes_go_on() -> None:
    algorithm = fast.StandardMCTS(samples_per_action=1)
    state = run(algorithm, {"a": lambda _: (1, 0.5)}, 100_000)
    for other in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        other = algorithm.step(other, {"a": lambda _: (2, 0.75)})
        assert other.count(100_001) == (1, 0.75, 1.0)
        assert other.count(0)[:2] == (100_001, 50_000.75)
        nodes = other.tree.get_nodes()
        assert nodes[-1].parent is nodes[-2]
    with pytest.raises(RecursionError):
        copy.deepcopy(run(tq.StandardMCTS(samples_per_action=1), {"a": lambda _: (1, 0.5)}, 1200))


def test_pickle_when_damaged_is_refused() -> None:
    algorithm = fast.StandardMCTS()
    state = run(algorithm, {"a": writer("a")}, 10)
    _, (made_by, kind, data, states, actions) = state.__reduce__()
    for damaged in (
        data[:40],
        data[:-8],
        data[:99] + bytes([data[99] ^ 1]) + data[100:],
        b"x" * 80,
    ):
        with pytest.raises(CorruptDataError):
            made_by.resume(kind, damaged, states, actions)
    with pytest.raises(CorruptDataError, match="9 states came with it"):
        made_by.resume(kind, data, states[:-1], actions)


def test_trials_when_a_search_forks_have_ids_of_their_own() -> None:
    algorithm = fast.StandardMCTS()
    start = run(algorithm, {"a": writer("a")}, 5)
    ids = set()
    for _ in range(10):
        branch = copy.deepcopy(start)
        _, trial = algorithm.ask(branch, ["a"])
        ids.add(trial.trial_id)
    assert len(ids) == 10


@pytest.mark.parametrize("format", ["json", "yaml", "mermaid", "md"])
def test_render_when_given_our_state_writes_what_it_writes_of_the_original(
    tmp_path: Path, format: str
) -> None:
    theirs = run(tq.StandardMCTS(), {"a": writer("a"), "b": writer("b")}, 30)
    ours = run(fast.StandardMCTS(), {"a": writer("a"), "b": writer("b")}, 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an unknown state would be warned about
        tq.render(theirs, tmp_path / "theirs", format=format)
        tq.render(ours, tmp_path / "ours", format=format)
    a = (tmp_path / f"theirs.{format}").read_text("utf-8")
    b = (tmp_path / f"ours.{format}").read_text("utf-8")
    if format in ("mermaid", "md"):
        assert b == a
    elif format == "json":
        for one, other in zip(json.loads(a)["nodes"], json.loads(b)["nodes"], strict=True):
            for name in ("trial_id", "created_at", "completed_at"):
                assert (one.pop(name) is None) == (other.pop(name) is None)
            assert other == one


@pytest.mark.parametrize("name", ["mcts_g", "ab_mcts_a"])
def test_render_when_given_other_algorithms_names_them(tmp_path: Path, name: str) -> None:
    state = run(ALGORITHMS[name](), {"a": writer("a")}, 10)
    tq.render(state, tmp_path / "tree", format="json")
    snapshot = json.loads((tmp_path / "tree.json").read_text("utf-8"))
    assert snapshot["metadata"]["algorithm"] == {"mcts_g": "MCTS_G", "ab_mcts_a": "ABMCTSA"}[name]
    assert len(snapshot["nodes"]) == 11
    assert snapshot["nodes"][1]["algo_metrics"]


def test_algorithm_when_pickled_is_the_same(algorithm: Any) -> None:
    other = pickle.loads(pickle.dumps(algorithm))
    assert repr(other) == repr(algorithm)
    assert isinstance(other, tq.Algorithm)


# --- bad use ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "score", [1.0000001, -0.1, math.nan, math.inf, 2, np.float32(1.5)], ids=str
)
def test_score_when_out_of_range_is_refused_and_the_state_stays(
    algorithm: Any, score: float
) -> None:
    state = run(algorithm, {"a": writer("a")}, 9)
    before = pickle.dumps(state.to_bytes())
    with pytest.raises(RuntimeError, match=r"outside \[0, 1\]: scale") as error:
        algorithm.step(state, {"a": lambda _: ("x", score)}, inplace=True)
    assert isinstance(error.value, ScoreRangeError) and isinstance(error.value, SearchError)
    assert "\n" not in str(error.value)
    assert pickle.dumps(state.to_bytes()) == before
    with pytest.raises(ScoreRangeError):
        algorithm.step(state, {"a": lambda _: ("x", score)})
    state, trial = algorithm.ask(state, ["a"])
    with pytest.raises(ScoreRangeError):
        algorithm.tell(state, trial.trial_id, ("x", score))
    algorithm.tell(state, trial.trial_id, ("x", 0.5))  # the trial still runs
    assert algorithm.get_state_score_pairs(state)[-1] == ("x", 0.5)


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        ((None, 0.5), ScoreRangeError, "the state of a node is None"),
        (0.5, TypeError, "the result is 0.5: return"),
        (("x", 0.5, 1), TypeError, "return .state, score."),
        (("x", "high"), TypeError, "the score 'high' is a str"),
    ],
)
def test_result_when_it_is_none_is_refused(
    algorithm: Any, result: Any, error: type[Exception], text: str
) -> None:
    state = run(algorithm, {"a": writer("a")}, 3)
    with pytest.raises(error, match=text):
        algorithm.step(state, {"a": lambda _: result}, inplace=True)
    assert len(algorithm.get_state_score_pairs(state)) == 3


@pytest.mark.parametrize(
    "trial_id", ["", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "0" * 26, "!" * 26, None, 7]
)
def test_trial_when_unknown_is_named(algorithm: Any, trial_id: Any) -> None:
    state, _ = algorithm.ask(algorithm.init_tree(), ["a"])
    with pytest.raises(UnknownTrialError, match="is not of this search: tell it to the state"):
        algorithm.tell(state, trial_id, ("x", 0.5))


def test_trial_when_of_another_search_is_unknown(algorithm: Any) -> None:
    state, _ = algorithm.ask(algorithm.init_tree(), ["a"])
    _, other = algorithm.ask(algorithm.init_tree(), ["a"])
    with pytest.raises(UnknownTrialError):
        algorithm.tell(state, other.trial_id, ("x", 0.5))


def test_tell_when_repeated_changes_nothing(
    algorithm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    state, trial = algorithm.ask(algorithm.init_tree(), ["a"])
    state = algorithm.tell(state, trial.trial_id, ("x", 0.5))
    before = state.to_bytes()
    state = algorithm.tell(state, trial.trial_id, ("y", 0.9))
    assert state.to_bytes() == before
    assert "is COMPLETE already" in caplog.text


def test_function_when_it_raises_leaves_the_state_as_it_was(algorithm: Any) -> None:
    def fail(_: Any) -> tuple[str, float]:
        raise KeyError("model")

    state = run(algorithm, {"a": writer("a")}, 5)
    before = state.to_bytes()
    for inplace in (False, True):
        with pytest.raises(KeyError, match="model"):
            algorithm.step(state, {"a": fail}, inplace=inplace)
        assert state.to_bytes() == before


def test_function_when_it_asks_the_same_state_is_told_nevertheless() -> None:
    algorithm = fast.StandardMCTS()
    state = algorithm.init_tree()

    def nested(_: Any) -> tuple[str, float]:
        _, trial = algorithm.ask(state, ["a"])
        algorithm.tell(state, trial.trial_id, ("inner", 0.5))
        return "outer", 0.25

    algorithm.step(state, {"a": nested}, inplace=True)
    assert algorithm.get_state_score_pairs(state) == [("inner", 0.5), ("outer", 0.25)]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda a, s: a.step(s, {}), InvalidArgumentError, "no actions are named"),
        (lambda a, s: a.ask(s, []), InvalidArgumentError, "no actions are named"),
        (lambda a, s: a.step(s, {3: None}), TypeError, "action 3 is a int"),
        (lambda a, s: a.step(s, [None]), TypeError, "generate_fn is a list: pass a dict"),
        (lambda a, s: a.ask_batch(s, 2, "ab"), TypeError, "actions is 'ab': pass a list"),
        (lambda a, s: a.ask_batch(s, -1, ["a"]), InvalidArgumentError, "batch_size=-1"),
        (lambda a, s: a.ask_batch(s, 1 << 40, ["a"]), InvalidArgumentError, r"in \[0, 1000000\]"),
        (lambda a, s: a.tell_trial(s, 4, ("x", 0.5)), UnknownTrialError, "trial 4 is not of this"),
        (lambda a, s: a.begin(int, 1), TypeError, "kind <class 'int'> is no TrialState"),
        (lambda a, s: a.step(a, {"a": writer("a")}), TypeError, "state is a StandardMCTS|is a "),
        (lambda a, s: a.step(s), TypeError, "missing required argument 'generate_fn'"),
        (
            lambda a, s: a.step(s, {}, in_place=True),
            TypeError,
            "unexpected keyword argument 'in_place'",
        ),
        (lambda a, s: type(s)(), TypeError, "cannot create"),
    ],
)
def test_calls_when_wrong_say_what_is(
    algorithm: Any, call: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(algorithm, algorithm.init_tree())


def test_state_when_printed_tells_its_size() -> None:
    algorithm = fast.StandardMCTS()
    state, _ = algorithm.ask_batch(algorithm.init_tree(), 2, ["a"])
    algorithm.step(state, {"a": writer("a")}, inplace=True)
    assert repr(state) == f"<search by {algorithm!r}: 1 nodes, 2 trials running>"


def test_state_when_of_another_algorithm_is_refused() -> None:
    state = fast.MCTS_G().init_tree()
    with pytest.raises(TypeError, match="made by another algorithm than StandardMCTS"):
        fast.StandardMCTS().step(state, {"a": writer("a")})


def test_state_when_parameters_change_goes_on_with_the_new_ones() -> None:
    for first, second in ((0.1, 2.0), (2.0, 0.1)):
        a = run(tq.StandardMCTS(exploration_weight=first), {"a": writer("a")}, 61)
        b = run(fast.StandardMCTS(exploration_weight=first), {"a": writer("a")}, 61)
        one, other = writer("b"), writer("b")
        for _ in range(61):
            a = tq.StandardMCTS(samples_per_action=3, exploration_weight=second).step(
                a, {"a": one}, inplace=True
            )
            b = fast.StandardMCTS(samples_per_action=3, exploration_weight=second).step(
                b, {"a": other}, inplace=True
            )
        assert edges(b) == edges(a)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fast.StandardMCTS(samples_per_action=0),
        lambda: fast.StandardMCTS(samples_per_action=70_000),
        lambda: fast.StandardMCTS(exploration_weight=math.nan),
        lambda: fast.MCTS_G(exploration_weight=-1.0),
        lambda: fast.ABMCTSA(dist_type="cauchy"),
        lambda: fast.ABMCTSA(model_selection_strategy="best"),
        lambda: fast.ABMCTSA(seed=-1),
        lambda: fast.ABMCTSA("beta", reward_average_priors=1.0).step(
            fast.ABMCTSA("beta").init_tree(), {"a": writer("a")}
        ),
        lambda: fast.ABMCTSA(reward_average_priors={"b": 0.5}).step(
            fast.ABMCTSA().init_tree(), {"a": writer("a")}
        ),
    ],
)
def test_parameters_when_out_of_range_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        make()
    assert "\n" not in str(error.value)
