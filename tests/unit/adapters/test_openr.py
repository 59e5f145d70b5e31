"""OpenR's methods over our core decide as OpenR's do, and ours run under its signature.

Against the interface as `openr_restated` restates it, and against OpenR's own source where the
environment variable RTS_OPENR_SOURCE names its folder.
"""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openr_restated import MATH, HashedModels, openr

from rtsearch_fast.adapters.openr import METHODS, solve_all
from rtsearch_fast.adapters.openr import best_of_n as our_best_of_n
from rtsearch_fast.adapters.openr import vanila_mcts as our_vanila_mcts
from rtsearch_fast.errors import AnswerFormatError, InvalidArgumentError, MissingExtraError

SOURCE = os.environ.get("RTS_OPENR_SOURCE")
SCRIPT = Path(__file__).parents[2] / "support" / "openr_twins.py"
QUESTIONS = [f"What is {i} + {i}?" for i in range(60)]


@pytest.fixture(autouse=True)
def _envs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "envs", ModuleType("envs"))
    monkeypatch.setitem(sys.modules, "envs.MATH", MATH)
    yield


def problems(count: int) -> list[dict[str, str]]:
    return [{"question": question, "answer": "0"} for question in QUESTIONS[:count]]


def gen_config(**changes: Any) -> Any:
    return openr().LMCallingConfig(**{"temperature": 0.7, "max_new_tokens": 300, **changes})


def solve(method: str, config: Any, models: HashedModels, count: int = 1, **more: Any) -> Any:
    return solve_all(
        method, config, gen_config(), problems(count), models.lm_call(), models.rm_call, **more
    )


# --- the same decisions --------------------------------------------------------------------


@pytest.mark.parametrize(("width", "depth", "paths"), [(1, 3, 3), (3, 6, 12), (5, 4, 30)])
@pytest.mark.parametrize("c", [0.0, 0.3, 1.25, 5.0])
def test_vanila_mcts_when_models_are_the_same_walks_the_paths_of_the_original(
    width: int, depth: int, paths: int, c: float
) -> None:
    peer = openr()
    config = peer.VanilaMCTSConfig(
        "MATH", tree_max_width=width, tree_max_depth=depth, num_path=paths, pb_c_init=c
    )
    models = HashedModels(peer)
    ours = solve("vanila_mcts", config, models, len(QUESTIONS))
    for problem, found in zip(problems(len(QUESTIONS)), ours, strict=True):
        theirs = peer.vanila_mcts(config, gen_config(), problem, models.lm_call(), models.rm_call)
        assert found.solutions == theirs.solutions
        assert found.tree_completion_tokens == theirs.tree_completion_tokens


def test_vanila_mcts_when_the_exploration_grows_fast_walks_the_paths_of_the_original() -> None:
    peer = openr()
    config = peer.VanilaMCTSConfig(
        "MATH", tree_max_width=4, tree_max_depth=4, num_path=40, pb_c_base=3, pb_c_init=0.1
    )
    models = HashedModels(peer, cut=0.0)
    ours = solve("vanila_mcts", config, models, 20)
    for problem, found in zip(problems(20), ours, strict=True):
        theirs = peer.vanila_mcts(config, gen_config(), problem, models.lm_call(), models.rm_call)
        assert found.solutions == theirs.solutions
        assert found.completion_tokens == theirs.completion_tokens


@pytest.mark.parametrize(("width", "size"), [(1, 1), (4, 1), (4, 3), (3, 8)])
@pytest.mark.parametrize("grain", [1 << 20, 4])
def test_beam_search_when_models_are_the_same_finds_the_solutions_of_the_original(
    width: int, size: int, grain: int
) -> None:
    peer = openr()
    config = peer.BeamSearchConfig("MATH", tree_max_width=width, tree_max_depth=6, beam_size=size)
    models = HashedModels(peer, grain=grain, cut=0.05)
    for problem in problems(len(QUESTIONS)):
        arguments = (config, gen_config(), problem, models.lm_call(), models.rm_call)
        (ours,) = solve_all("beam_search", *arguments[:2], [problem], *arguments[3:])
        if ours.solutions == [""]:
            continue  # no first step: the original ends with an error
        theirs = peer.beam_search(*arguments)
        assert ours.solutions == theirs.solutions
        assert ours.completion_tokens == theirs.completion_tokens
        assert ours.tree_completion_tokens == theirs.tree_completion_tokens


def test_best_of_n_when_called_writes_all_in_one_call() -> None:
    peer = openr()
    models = HashedModels(peer)
    config = gen_config()
    before = copy.copy(config)
    found = our_best_of_n(
        peer.BestOfNConfig("MATH", 6), config, problems(1)[0], models.lm_call(), models.rm_call
    )
    assert models.calls == 1
    assert len(found.solutions) == 6
    assert found.completion_tokens == [len(text) for text in found.solutions]
    assert config == before  # OpenR's sets n in it


@pytest.mark.skipif(SOURCE is None, reason="RTS_OPENR_SOURCE names no folder with OpenR's source")
def test_twins_when_openr_is_there_decide_as_its_own_source() -> None:
    # its modules have names such as `envs`, and print: they get a process of their own
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]


# --- our searches --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["mcts", "mcts_g"])
def test_tree_searches_when_models_repeat_themselves_repeat_themselves(method: str) -> None:
    peer = openr()
    config = peer.VanilaMCTSConfig("MATH", tree_max_width=4, tree_max_depth=8, num_path=8)
    first = solve(method, config, HashedModels(peer, cut=0.0), 6)
    again = solve(method, config, HashedModels(peer, cut=0.0), 6, threads=1)
    assert first == again
    for found in first:
        assert 1 <= len(found.solutions) <= 8
        lengths = {len(found.completion_tokens), len(found.tree_completion_tokens)}
        assert lengths == {len(found.solutions)}
        assert sum(found.completion_tokens) > 0


@pytest.mark.parametrize("method", sorted(METHODS))
def test_solve_all_when_there_is_no_right_answer_needs_none(method: str) -> None:
    peer = openr()
    models = HashedModels(peer)
    config = {
        "best_of_n": peer.BestOfNConfig("MATH", 4),
        "beam_search": peer.BeamSearchConfig("MATH", 3, 5, beam_size=2),
    }.get(method, peer.VanilaMCTSConfig("MATH", 3, 5, num_path=4))
    (found,) = solve_all(
        method,
        config,
        gen_config(),
        [{"question": QUESTIONS[0]}],
        models.lm_call(),
        models.rm_call,
    )
    assert found.solutions


def test_solve_all_when_models_are_slow_asks_for_many_problems_at_once() -> None:
    peer = openr()
    models = HashedModels(peer)
    inside, most, lock = 0, 0, threading.Lock()

    def slow(pairs: Any, lm_step_tag: str) -> Any:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1
        return models.rm_call(pairs, lm_step_tag)

    config = peer.VanilaMCTSConfig("MATH", 3, 5, num_path=2)
    arguments = (config, gen_config(), problems(12), models.lm_call())
    assert solve_all("vanila_mcts", *arguments, slow, threads=6) == solve(
        "vanila_mcts", config, models, 12
    )
    assert 3 <= most <= 6


def test_output_when_openrs_evaluator_is_loaded_is_of_its_class(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Output(tuple[Any, ...]):
        def __new__(cls, *fields: Any) -> Output:
            return super().__new__(cls, fields)

    evaluator = ModuleType("reason.evaluation.evaluator")
    evaluator.TreeSearchSolutionOutput = Output  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "reason.evaluation.evaluator", evaluator)
    peer = openr()
    models = HashedModels(peer)
    found = our_vanila_mcts(
        peer.VanilaMCTSConfig("MATH", 3, 5, num_path=2),
        gen_config(),
        problems(1)[0],
        models.lm_call(),
        models.rm_call,
    )
    assert isinstance(found, Output)
    assert [len(column) for column in found] == [2, 2, 2]


# --- what goes wrong -----------------------------------------------------------------------


def test_vanila_mcts_when_no_step_is_whole_gives_one_empty_solution_and_its_tokens() -> None:
    peer = openr()
    models = HashedModels(peer, cut=1.0)
    config = peer.VanilaMCTSConfig("MATH", 3, 5, num_path=1)
    (found,) = solve("vanila_mcts", config, models)
    assert found.solutions == [""]
    assert found.completion_tokens[0] > 0
    assert models.calls == 3


def test_rewards_when_one_answer_comes_as_a_bare_list_are_its_steps() -> None:
    peer = openr()
    models = HashedModels(peer, cut=0.0)

    def bare(pairs: Any, lm_step_tag: str) -> Any:
        rows = models.rm_call(pairs, lm_step_tag)
        return rows[0] if len(rows) == 1 else rows

    config = peer.VanilaMCTSConfig("MATH", 1, 5, num_path=3)
    arguments = (config, gen_config(), problems(5), models.lm_call())
    assert solve_all("vanila_mcts", *arguments, bare) == solve("vanila_mcts", config, models, 5)


def test_rewards_when_they_are_not_of_the_steps_count_as_0_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = openr()
    models = HashedModels(peer, cut=0.0)
    config = peer.BeamSearchConfig("MATH", 3, 4, beam_size=1)

    def too_many(pairs: Any, lm_step_tag: str) -> Any:
        return [[*row, 0.5] for row in models.rm_call(pairs, lm_step_tag)]

    with caplog.at_level(logging.WARNING):
        arguments = (config, gen_config(), problems(1), models.lm_call())
        (found,) = solve_all("beam_search", *arguments, too_many)
    assert len(found.solutions) == 1
    assert "lm_step_tag" in caplog.text


@pytest.mark.parametrize(
    ("method", "changes", "error", "words"),
    [
        ("dvts", {}, InvalidArgumentError, "method='dvts'.*mcts_g"),
        ("vanila_mcts", {"select_by_prior": True}, InvalidArgumentError, "select_by_prior=True"),
        ("vanila_mcts", {"init_critic_value": False}, InvalidArgumentError, "init_critic_value"),
        ("vanila_mcts", {"tree_max_depth": None}, InvalidArgumentError, "no tree_max_depth"),
        ("beam_search", {}, InvalidArgumentError, "no beam_size"),
        ("mcts", {"task_name": "GSM9K"}, MissingExtraError, "envs.GSM9K.*PYTHONPATH"),
    ],
)
def test_solve_all_when_a_setting_cannot_be_honoured_says_which(
    method: str, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    peer = openr()
    config = peer.VanilaMCTSConfig(**{"task_name": "MATH", **changes})
    with pytest.raises(error, match=words):
        solve(method, config, HashedModels(peer))


@pytest.mark.parametrize(
    ("answer", "times", "words"),
    [
        ([0.5], 1, "for 9 answers: return a list"),
        (0.5, 9, "return a list of the scores"),
        ([float("nan")], 9, "the score nan"),
    ],
)
def test_rewards_when_of_another_shape_are_refused_by_name(
    answer: Any, times: int, words: str
) -> None:
    peer = openr()
    models = HashedModels(peer, cut=0.0, end=0.0)

    def wrong(pairs: Any, lm_step_tag: str) -> Any:
        return [answer] * times

    config = peer.VanilaMCTSConfig("MATH", 12, 5, num_path=1)  # 12 texts, 9 of them different
    with pytest.raises(AnswerFormatError, match=words):
        solve_all("vanila_mcts", config, gen_config(), problems(1), models.lm_call(), wrong)


def test_texts_when_fewer_come_than_were_asked_are_refused_by_name() -> None:
    peer = openr()
    models = HashedModels(peer)
    lm_call = models.lm_call()

    def short(input_str: str, config: Any) -> Any:
        found = lm_call(input_str, config)
        found.text.pop()
        return found

    with pytest.raises(AnswerFormatError, match="lm_call returned 2, 3, 3, 3 texts"):
        solve_all(
            "vanila_mcts",
            peer.VanilaMCTSConfig("MATH", 3, 5),
            gen_config(),
            problems(1),
            short,
            models.rm_call,
        )
