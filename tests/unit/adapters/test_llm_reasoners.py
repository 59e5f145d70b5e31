"""Against the real llm-reasoners, call by call and field by field."""

from __future__ import annotations

import math
import os
import pickle
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from peers import peer

from rtsearch_fast.errors import InvalidArgumentError, SearchError

peer("reasoners")

from random_worlds import REWARDS, Config, World, draw, picture, result_of  # noqa: E402
from reasoners import Reasoner, SearchConfig, WorldModel  # noqa: E402
from reasoners import algorithm as original  # noqa: E402
from reasoners.visualization import TreeLog  # noqa: E402

from rtsearch_fast.adapters.llm_reasoners import MCTS, MCTS_G, BeamSearch  # noqa: E402

# numpy of half floats and of nothing, in the original
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

WORLDS = int(os.environ.get("RTS_WORLDS", "60"))


def last(rewards: list[float]) -> Any:
    return rewards[-1]


def last_child(fast_rewards: list[float]) -> int:
    return len(fast_rewards) - 1


def run(
    algorithm: Any, seed: int, rewards: str, kind: str = "tuple", probabilities: bool = False
) -> dict[str, Any]:
    """All that can be seen of a search, the order of its calls and its draws included."""
    calls: list[Any] = []
    np.random.seed(seed)
    random.seed(seed)
    result = algorithm(World(seed, kind, calls), Config(seed, rewards, calls, probabilities))
    drawn = (np.random.random(), random.random())
    return {"calls": calls, "drawn": drawn, **result_of(result)}


def random_settings(rng: random.Random) -> dict[str, Any]:
    return {
        "w_exp": rng.choice([0.0, 0.5, 1, 2.5]),
        "depth_limit": rng.choice([1, 2, 3, 5, 5, 8]),
        "n_iters": rng.choice([1, 5, 20, 60]),
        "output_strategy": rng.choice(
            ["max_reward", "follow_max", "max_visit", "max_iter", "last_iter", "last_terminal_iter"]
        ),
        "uct_with_fast_reward": rng.random() < 0.7,
        "output_trace_in_each_iter": rng.random() < 0.3,
    }


def compare(settings: dict[str, Any], *world: Any) -> None:
    theirs = run(original.MCTS(**settings), *world)
    mine = run(MCTS(**settings, as_original=True), *world)
    for what, expected in theirs.items():
        assert mine[what] == expected, (what, world, settings)


# --- the same decisions ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tuple", "list", "touched", "shared"])
@pytest.mark.parametrize("strategy", ["max", "sample", "random", last_child])
def test_mcts_when_worlds_are_random_does_what_the_original_does(strategy: Any, kind: str) -> None:
    for seed in range(WORLDS):
        rng = draw(seed, kind, str(strategy))
        settings = {
            **random_settings(rng),
            "simulate_strategy": strategy,
            "cum_reward": rng.choice([sum, sum, np.mean, min, last]),
            "calc_q": rng.choice([np.mean, np.mean, max, np.max, min, last]),
        }
        rewards = rng.choice([name for name in REWARDS if name != "fraction"])
        compare(settings, seed, rewards, kind, strategy == "sample")


@pytest.mark.parametrize("with_fast_reward", [True, False])
@pytest.mark.parametrize("w_exp", [0.0, 1.0])
@pytest.mark.parametrize("rewards", REWARDS)
def test_mcts_when_iterations_are_many_never_leaves_the_originals_way(
    rewards: str, w_exp: float, with_fast_reward: bool
) -> None:
    settings = {
        "w_exp": w_exp,
        "n_iters": 250,
        "depth_limit": 4,
        "uct_with_fast_reward": with_fast_reward,
    }
    for seed in range(max(1, WORLDS // 50)):
        compare(settings, seed, rewards)


def test_mcts_when_it_has_the_aggregator_and_the_reasoner_answers_alike() -> None:
    def solve(algorithm: type) -> Any:
        calls: list[Any] = []
        search = algorithm(
            n_iters=30,
            output_trace_in_each_iter=True,
            aggregator=original.MCTSAggregation(lambda state: state[-1], "edge_inverse_depth"),
        )
        return Reasoner(World(3, "tuple", calls), Config(3, "real", calls, False), search)(
            "example"
        )

    theirs, mine = solve(original.MCTS), solve(MCTS)
    assert mine.aggregated_result == theirs.aggregated_result is not None
    logs = [
        [str(snapshot.__dict__()) for snapshot in TreeLog.from_mcts_results(result, data_of)]
        for result in (theirs, mine)
    ]
    assert len(logs[0]) == 30
    assert logs[0] == logs[1]


def data_of(node: Any) -> dict[str, Any]:
    return {"state": node.state}


def test_node_when_compared_has_the_fields_of_the_original() -> None:
    roots = [
        algorithm(n_iters=5)(World(3, "tuple", calls), Config(3, "real", calls, False)).tree_state
        for algorithm in (original.MCTS, MCTS)
        for calls in [[]]  # type: ignore[var-annotated]
    ]
    for theirs, mine in (roots, [root.children[0] for root in roots]):
        assert set(mine.__dict__) == set(theirs.__dict__)
        assert isinstance(mine, original.MCTSNode)


# --- what the original does wrong --------------------------------------------------------


def test_max_visit_when_terminals_differ_takes_the_one_with_most_visits() -> None:
    for seed in range(30):
        calls: list[Any] = []
        search = MCTS(n_iters=60, output_strategy="max_visit", depth_limit=4)
        result = search(World(seed, "tuple", calls), Config(seed, "dyadic", calls, False))
        terminals = [node for node in nodes_of(result.tree_state) if node.is_terminal]
        if not terminals:
            assert result.trace_of_nodes is None
            continue
        most = max(len(node.cum_rewards) for node in terminals)
        first = next(node for node in terminals if len(node.cum_rewards) == most)
        assert result.trace_of_nodes[-1] is first
        assert result.cum_reward == sum(node.reward for node in result.trace_of_nodes[1:])


def test_follow_max_when_paths_are_long_counts_all_of_their_rewards() -> None:
    calls: list[Any] = []
    search = MCTS(n_iters=20, output_strategy="follow_max")
    result = search(World(4, "tuple", calls), Config(4, "dyadic", calls, False))
    assert len(result.trace_of_nodes) > 2
    assert result.cum_reward == sum(node.reward for node in result.trace_of_nodes)


@pytest.mark.parametrize("settings", [{"n_iters": 0}, {"depth_limit": 0}])
def test_follow_max_when_the_root_was_never_expanded_gives_the_root(
    settings: dict[str, int],
) -> None:
    calls: list[Any] = []
    search = MCTS(**settings, output_strategy="follow_max")
    result = search(World(0, "tuple", calls), Config(0, "real", calls, False))
    assert result.trace_of_nodes == [result.tree_state]


def nodes_of(root: Any) -> list[Any]:
    """Depth first."""
    return [root, *(node for child in root.children or () for node in nodes_of(child))]


# --- traces ------------------------------------------------------------------------------


def traced(algorithm: Any = MCTS, kind: str = "touched") -> Any:
    calls: list[Any] = []
    search = algorithm(n_iters=12, output_trace_in_each_iter=True)
    return search(World(5, kind, calls), Config(5, "real", calls, False))


def test_traces_when_used_as_lists_are_ones() -> None:
    traces, trees = traced().trace_in_each_iter, traced().tree_state_after_each_iter
    assert len(traces) == len(trees) == len(list(traces)) == 12
    assert traces[-1] is traces[11]
    assert traces[2:4] == [traces[2], traces[3]]
    assert [tree.id for tree in trees[:2]] == [0, 0]
    for index in (12, -13):
        with pytest.raises(IndexError):
            traces[index]


def test_traces_when_one_is_changed_leave_the_others() -> None:
    result = traced()
    before = picture(result.trace_in_each_iter[5][0])
    result.trace_in_each_iter[6][0].state.append("mine")
    result.trace_in_each_iter[6][1].fast_reward_details["mine"] = 1
    result.trace_in_each_iter[6][1].cum_rewards.append(1)
    assert picture(result.trace_in_each_iter[5][0]) == before
    assert picture(result.trace_in_each_iter[6][0]) != picture(traced().trace_in_each_iter[6][0])
    assert picture(result.tree_state) == picture(traced().tree_state)


@pytest.mark.parametrize("algorithm", [MCTS, MCTS_G])
def test_result_when_pickled_comes_back_with_its_traces(algorithm: Any) -> None:
    result = traced(algorithm)
    copy = pickle.loads(pickle.dumps(result))
    assert result_of(copy) == result_of(result)


# --- MCTS_G ------------------------------------------------------------------------------


@pytest.mark.parametrize("cum_reward", [sum, np.mean, min])
def test_mcts_g_when_leaves_are_open_takes_the_best_of_all(
    cum_reward: Callable[[list[float]], float],
) -> None:
    for seed in range(20):
        calls: list[Any] = []
        w_exp = draw(seed, "w").choice([0.0, 0.3, 2.0])
        search = MCTS_G(
            n_iters=25, w_exp=w_exp, cum_reward=cum_reward, output_trace_in_each_iter=True
        )
        result = search(World(seed, "tuple", calls), Config(seed, "real", calls, False))
        trees = result.tree_state_after_each_iter
        for tree, trace in zip(trees, result.trace_in_each_iter[1:], strict=False):
            scores = {
                node.id: score_of(node, cum_reward, w_exp)
                for node in nodes_of(tree)
                if node.state is None
            }
            taken = next(node.id for node in trace if node.id in scores)
            assert scores[taken] >= max(scores.values()) - 1e-5
        stepped = [call for call in calls if call[0] == "step"]
        assert len(stepped) == len(set(stepped))  # nothing is visited twice
        if len(trees) < 25:
            assert all(node.state is not None for node in nodes_of(result.tree_state))


def score_of(leaf: Any, cum_reward: Callable[[list[float]], float], w_exp: float) -> float:
    rewards = [node.reward for node in leaf.path()[1:]]
    return cum_reward(rewards) + w_exp * math.sqrt(math.log(len(leaf.parent.cum_rewards)))


def test_mcts_g_when_a_leaf_is_at_the_limit_steps_to_it() -> None:
    search, deep = MCTS_G(n_iters=500, depth_limit=2), 0
    for seed in range(10):
        calls: list[Any] = []
        result = search(World(seed, "tuple", calls), Config(seed, "real", calls, False))
        nodes = nodes_of(result.tree_state)
        deep += sum(node.depth == 2 for node in nodes)
        assert all(node.state is not None for node in nodes)
        assert not any(node.children for node in nodes if node.depth == 2)
    assert deep > 20


# --- bad use -----------------------------------------------------------------------------


class Line(WorldModel):  # type: ignore[misc]  # without its types the base is Any
    """A state is a number; step and reward answer what they are told to at state 2."""

    def __init__(self, answer: Any = ...) -> None:
        super().__init__()
        self.answer = answer

    def init_state(self) -> int:
        return 0

    def step(self, state: int, action: str) -> Any:
        return self.answer if state == 2 and self.answer is not ... else (state + 1, {})

    def is_terminal(self, state: int) -> bool:
        return False


class LineConfig(SearchConfig):  # type: ignore[misc]
    def __init__(self, reward: Any = ..., fast_reward: Any = ...) -> None:
        super().__init__()
        self.bad_reward, self.bad_fast_reward = reward, fast_reward

    def get_actions(self, state: int) -> list[str]:
        return ["go", "stay"]

    def fast_reward(self, state: int, action: str) -> Any:
        bad = state == 2 and self.bad_fast_reward is not ...
        return self.bad_fast_reward if bad else (0.5, {})

    def reward(self, state: int, action: str, **_: Any) -> Any:
        return self.bad_reward if state == 2 and self.bad_reward is not ... else (0.5, {})


NAN = float("nan")

BAD_ANSWERS: list[tuple[Any, Any, str]] = [
    (Line(), LineConfig(reward=(NAN, {})), r"reward of action 'go': nan: must be finite"),
    (Line(), LineConfig(reward=("high", {})), r"reward of action 'go': 'high': must be a number"),
    (Line(), LineConfig(reward=0.5), r"SearchConfig.reward returned 0.5: must be \(number"),
    (Line(), LineConfig(fast_reward=(math.inf, {})), r"fast_reward of action 'go': inf: must be"),
    (
        Line(),
        LineConfig(fast_reward=(np.array([1, 2]), {})),
        r"array\(\[1, 2\]\): must be a number",
    ),
    (Line(), LineConfig(fast_reward=0.5), r"SearchConfig.fast_reward returned 0.5"),
    (Line(3), LineConfig(), r"WorldModel.step returned 3: must be \(state, dictionary\)"),
    (Line((None, {})), LineConfig(), r"the state None for action 'go'.*return another value"),
]


@pytest.mark.parametrize("algorithm", [MCTS, MCTS_G])
@pytest.mark.parametrize(("world", "config", "message"), BAD_ANSWERS)
def test_answer_when_it_breaks_the_contract_is_named_and_counts_nothing(
    algorithm: Any, world: Any, config: Any, message: str
) -> None:
    search = algorithm(n_iters=10)
    with pytest.raises(InvalidArgumentError, match=message) as error:
        search(world, config)
    assert "\n" not in str(error.value)
    assert [node.cum_rewards for node in nodes_of(search.root)].count([]) == len(
        nodes_of(search.root)
    )  # the first iteration did not end


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"output_strategy": "best"}, "output_strategy='best': choose one of max_reward, "),
        (
            {"simulate_strategy": "min"},
            "simulate_strategy='min': choose one of max, sample, random",
        ),
        ({"w_exp": -1.0}, r"w_exp=-1.0: must be in \[0, 1e100\]"),
        ({"w_exp": NAN}, "w_exp=nan"),
        ({"w_exp": "1"}, "w_exp='1'"),
        ({"depth_limit": -1}, "depth_limit=-1: must be at least 0"),
        ({"depth_limit": NAN}, "depth_limit=nan"),
        ({"n_iters": -1}, "n_iters=-1: must be at least 0"),
        ({"n_iters": 2.5}, "n_iters=2.5: must be a whole number"),
        ({"cum_reward": 3}, "cum_reward=3: must be a function"),
        ({"calc_q": "mean"}, "calc_q='mean': must be a function"),
        ({"simulate_strategy": len}, "simulate_strategy chose 2 of 2 children"),
        ({"simulate_strategy": lambda _: "first"}, "chose 'first' of 2 children"),
        ({"cum_reward": lambda _: NAN}, "cum_reward nan: must be finite"),
        ({"cum_reward": lambda _: "much"}, "cum_reward 'much': must be a number"),
        ({"calc_q": lambda _: NAN}, "calc_q nan: must be finite"),
    ],
)
def test_setting_when_wrong_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        MCTS(**settings)(Line(), LineConfig())


def test_sample_when_fast_rewards_are_no_probabilities_says_so() -> None:
    config = LineConfig(fast_reward=(0.7, {}))
    with pytest.raises(InvalidArgumentError, match=r"\[0.7, 0.7\] are none .*another strategy"):
        MCTS(simulate_strategy="sample")(Line(), config)


def test_mcts_g_when_told_to_leave_fast_rewards_out_refuses() -> None:
    with pytest.raises(InvalidArgumentError, match=r"uct_with_fast_reward=False.*leave it out"):
        MCTS_G(uct_with_fast_reward=False)


def test_search_when_threads_share_an_algorithm_numbers_each_tree_by_itself() -> None:
    search = MCTS(n_iters=60)
    expected = run(MCTS(n_iters=60), 7, "real")["tree"]
    found: list[Any] = []

    def solve() -> None:
        calls: list[Any] = []
        result = search(World(7, "tuple", calls), Config(7, "real", calls, False))
        found.append(picture(result.tree_state))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=solve) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert found == [expected] * 4


# --- beams -------------------------------------------------------------------------------


class SureConfig(Config):
    """With the probabilities that unbiased sampling asks for."""

    def reward(self, state: Any, action: str, **aux: Any) -> tuple[Any, dict[str, Any]]:
        reward, details = super().reward(state, action, **aux)
        rng = draw(self.seed, repr(state), action, "probability")
        return reward, {**details, "acc_action_prob": rng.random(), "cur_action_prob": rng.random()}


def beam_of(algorithm: Any, seed: int, rewards: str = "real") -> Any:
    calls: list[Any] = []
    np.random.seed(seed)
    random.seed(seed)
    result = algorithm(World(seed, "tuple", calls), SureConfig(seed, rewards, calls, False))
    results = result if isinstance(result, list) else [result]
    seen = [
        (repr(one.terminal_state), one.cum_reward, one.trace, beam_picture(one.tree))
        for one in results
    ]
    return calls, seen, random.random(), np.random.random()


def beam_picture(node: Any) -> Any:
    parent = None if node.parent is None else node.parent.id
    children = [beam_picture(child) for child in node.children]
    return node.id, repr(node.state), node.action, node.reward, parent, children


@pytest.mark.filterwarnings("ignore:early_terminate:UserWarning")
def test_beam_when_worlds_are_random_does_what_the_original_does() -> None:
    for seed in range(WORLDS * 2):
        rng = draw(seed, "beam")
        settings: dict[str, Any] = {
            "beam_size": rng.choice([1, 2, 4]),
            "max_depth": rng.choice([0, 1, 3, 4]),
            "reward_aggregator": rng.choice(
                ["last", "last_one", "cumulative", "mean", "average", max]
            ),
            "early_terminate": rng.random() < 0.7,
            "return_beam": rng.random() < 0.5,
            "sampling_strategy": rng.choice(["argmax", "greedy", "topk"]),
        }
        if rng.random() < 0.4:
            settings |= {"reject_sample": True, "reject_min_reward": rng.choice([-0.5, 0.0])}
        rewards = rng.choice(["real", "dyadic", "whole", "float32"])
        expected = beam_of(original.BeamSearch(**settings), seed, rewards)
        assert beam_of(BeamSearch(**settings), seed, rewards) == expected, (seed, settings)


def test_beam_when_draws_are_rejected_draws_as_the_original_does() -> None:
    for seed in range(WORLDS):
        rng = draw(seed, "stochastic beam")
        settings: dict[str, Any] = {
            "beam_size": rng.choice([1, 2, 4]),
            "max_depth": 3,
            "sampling_strategy": "stochastic",
            "temperature": rng.choice([0.2, 1.0]),
            "temperature_decay": rng.choice([None, 0.5]),
            "reject_sample": True,
            "reject_min_reward": rng.choice([-1.0, 0.0, 2.0]),
            "unbiased": True,
        }
        expected = beam_of(original.BeamSearch(**settings), seed)
        assert beam_of(BeamSearch(**settings), seed) == expected, (seed, settings)


def test_beam_when_actions_are_to_be_distinct_tries_each_once_a_step() -> None:
    search = BeamSearch(beam_size=4, max_depth=3, action_dedup=True, return_beam=True)
    calls, _, _, _ = beam_of(search, 2)
    stepped = [(state.count("'"), action) for name, state, action in calls if name == "step"]
    assert len(stepped) == len(set(stepped)) > 3


@pytest.mark.parametrize(("rewards", "temperature"), [("real", 0.5), ("penalty", 1e-3)])
@pytest.mark.parametrize("replace", [None, True])
@pytest.mark.parametrize("unbiased", [None, True])
def test_beam_when_it_is_stochastic_alone_gives_paths(
    rewards: str, temperature: float, replace: bool | None, unbiased: bool | None
) -> None:
    search = BeamSearch(
        beam_size=3,
        max_depth=3,
        sampling_strategy="stochastic",
        temperature=temperature,
        replace=replace,
        unbiased=unbiased,
        return_beam=True,
    )
    _, seen, _, _ = beam_of(search, 2, rewards)
    assert seen
    assert all(len(trace) > 1 for _, _, trace, _ in seen)


def test_beam_when_the_temperature_decays_begins_each_search_anew() -> None:
    search = BeamSearch(
        beam_size=2,
        max_depth=4,
        sampling_strategy="stochastic",
        temperature=2.0,
        temperature_decay=0.1,
    )
    assert beam_of(search, 2) == beam_of(search, 2)
    assert search.temperature == 2.0


@pytest.mark.filterwarnings("ignore:temperature=0:UserWarning")
def test_beam_when_the_temperature_is_zero_takes_the_best() -> None:
    cold = BeamSearch(2, 3, sampling_strategy="stochastic", temperature=0.0)
    assert beam_of(cold, 2) == beam_of(BeamSearch(2, 3), 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_strategy": "best"}, "sampling_strategy='best': choose one of argmax, "),
        ({"reward_aggregator": "median"}, "reward_aggregator='median': choose one of cumulative"),
        ({"sampling_strategy": "stochastic"}, "temperature=None: stochastic sampling needs one"),
        ({"sampling_strategy": "stochastic", "temperature": -1}, "temperature=-1"),
        ({"reject_sample": True}, "reject_min_reward=None: reject_sample needs a number"),
        ({"reward_aggregator": 2}, "reward_aggregator=2: must be a function"),
        ({"beam_size": 0}, "beam_size=0: must be at least 1"),
        ({"max_depth": -1}, "max_depth=-1: must be at least 0"),
    ],
)
def test_beam_when_a_setting_is_wrong_names_it(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        BeamSearch(**{"beam_size": 2, "max_depth": 3, **settings})


@pytest.mark.parametrize(("world", "config", "message"), [BAD_ANSWERS[i] for i in (0, 1, 5, 6)])
def test_beam_when_an_answer_breaks_the_contract_names_it(
    world: Any, config: Any, message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        BeamSearch(2, 5)(world, config)


def test_beam_when_probabilities_are_missing_says_so() -> None:
    search = BeamSearch(2, 3, sampling_strategy="stochastic", temperature=1.0, unbiased=True)
    with pytest.raises(InvalidArgumentError, match=r"details \{\}: .* cur_action_prob"):
        search(Line(), LineConfig())
