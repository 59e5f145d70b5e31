"""LightZero's trees over the core: against its own extensions, search by search."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import lightzero_searches
import numpy as np
import pytest
from lightzero_searches import BATCH, Found, Problem, problems, search
from peers import peer

from rtsearch_fast.adapters.lightzero import gumbel, muzero
from rtsearch_fast.errors import InvalidArgumentError

TOLERANCE = 1e-5


def tree_of(problem: Problem) -> Any:
    return gumbel if problem.is_gumbel else muzero


def ours(problem: Problem, **settings: Any) -> Found:
    return search(tree_of(problem), problem, deterministic=True, **settings)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[Problem, Found]:
    """What LightZero finds where each of its ties goes to the first action.

    It draws lots by rand(), and one that always gives 0 is put before the C library's.
    """
    peer("lzero")
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a C compiler and LD_PRELOAD are needed to take LightZero's chance away")
    folder = tmp_path_factory.mktemp("rand")
    (folder / "rand.c").write_text("int rand(void) { return 0; }\n")
    library = folder / "rand.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "rand.c")], check=True
    )
    done = subprocess.run(
        [sys.executable, lightzero_searches.__file__],
        env=os.environ
        | {"LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {problem: Found(*of_it) for problem, of_it in zip(problems(), found, strict=True)}


@pytest.mark.parametrize("kind", ["one player", "two players", "gumbel"])
def test_searches_when_lightzero_runs_the_same_visit_the_same_leaves(
    kind: str, theirs: dict[Problem, Found]
) -> None:
    compared = 0
    for problem, their in theirs.items():
        if problem.kind != kind:
            continue
        our = ours(problem)
        for i in range(BATCH):
            # fewer legal actions than are to be considered: LightZero's turn is then of none
            if problem.is_gumbel and len(our.distributions[i]) < problem.considered:
                continue
            assert our.leaves[i] == their.leaves[i], (problem, i)
            assert our.distributions[i] == their.distributions[i]
            assert our.trajectories[i] == their.trajectories[i]
            assert our.values[i] == pytest.approx(their.values[i], abs=TOLERANCE)
            if problem.is_gumbel:
                compare_policies(our, their, i)
            compared += 1
    assert compared >= (700 if kind == "gumbel" else 1200)


def compare_policies(our: Found, their: Found, i: int) -> None:
    """These weigh values by (50 + most visits) / 10, and LightZero's are of single precision."""
    assert our.policies[i] == pytest.approx(their.policies[i], abs=10 * TOLERANCE)
    of_legal = np.isfinite(their.children_values[i])
    assert np.array_equal(np.isfinite(our.children_values[i]), of_legal)
    our_values = np.array(our.children_values[i])[of_legal]
    their_values = np.array(their.children_values[i])[of_legal]
    assert np.abs(our_values - their_values).max() <= 10 * TOLERANCE


@pytest.mark.parametrize("kind", ["one player", "two players", "gumbel"])
def test_searches_when_given_arrays_find_what_they_find_with_lists(kind: str) -> None:
    for seed in range(8):
        problem = Problem(kind, seed)
        assert ours(problem, given=lambda array: array) == ours(problem)
        assert ours(problem, given=lambda array: array.astype(array.dtype.str[1] + "8")) == ours(
            problem
        )


@pytest.mark.parametrize("kind", ["one player", "gumbel"])
def test_traverse_when_repeated_before_a_backup_gives_the_same_leaves(kind: str) -> None:
    problem = Problem(kind, 3)
    assert ours(problem, traversals=3) == ours(problem)


def test_traverse_when_children_are_tied_takes_each_of_them_by_chance() -> None:
    def firsts(seed: int) -> list[int]:
        muzero.seed_ties(seed)
        roots = muzero.Roots(600, [[0, 2, 3]] * 600)
        zeros = [0.0] * 600
        roots.prepare_no_noise(zeros, [[0.0] * 4] * 600, [-1] * 600)
        results = muzero.ResultsWrapper(num=600)
        statistics = muzero.MinMaxStatsList(600)
        _, _, actions, _ = muzero.batch_traverse(
            roots, 19652, 1.25, 0.99, statistics, results, [-1] * 600
        )
        return actions

    first = firsts(1)
    counts = Counter(first)
    assert set(counts) == {0, 2, 3}
    assert min(counts.values()) > 150
    assert firsts(1) == first
    assert firsts(2) != first


def test_noise_of_gumbel_when_lightzero_draws_it_is_the_same() -> None:
    """The first action that is tried is the one with the most luck."""
    peer("lzero")
    from rtsearch_fast.bench.peers.lightzero import load_tree

    for count in range(2, 40):
        luck = load_tree("gumbel_muzero", "gmz_tree").pgenerate_gumbel(10, 0, count)
        roots = gumbel.Roots(1, [list(range(count))])
        roots.prepare_no_noise([0.0], [0.0], [[0.0] * count], [-1])
        _, _, (action,), _ = gumbel.batch_traverse(
            roots, 50, 16, 0.99, gumbel.ResultsWrapper(num=1), [-1]
        )
        assert action == int(np.argmax(luck))


# --- what is refused ------------------------------------------------------------------------


class Begun:
    """A search of two roots after one simulation, with leaves that wait for a backup."""

    def __init__(self) -> None:
        self.roots = muzero.Roots(2, [[0, 1, 2], [1, 2]])
        self.roots.prepare_no_noise([0.0, 0.0], [[0.1, 0.2, 0.3]] * 2, [1, 2])
        self.statistics = muzero.MinMaxStatsList(2)
        self.results = muzero.ResultsWrapper(num=2)
        self.players = self.traverse(self.results)[3]

    def traverse(self, results: Any, **changes: Any) -> Any:
        settings: dict[str, Any] = {
            "pb_c_base": 19652,
            "pb_c_init": 1.25,
            "discount_factor": 0.9,
            "min_max_stats_lst": self.statistics,
            "virtual_to_play_batch": [1, 2],
        } | changes
        return muzero.batch_traverse(
            roots=self.roots, results=results, deterministic=True, **settings
        )

    def backup(self, **changes: Any) -> None:
        settings: dict[str, Any] = {
            "discount_factor": 0.9,
            "value_prefixs": [0.0, 0.5],
            "values": [1.0, -1.0],
            "policies": [[0.0] * 3] * 2,
            "min_max_stats_lst": self.statistics,
            "results": self.results,
            "to_play_batch": self.players,
        } | changes
        muzero.batch_backpropagate(current_latent_state_index=1, **settings)


NAN = float("nan")
BAD_BACKUPS: list[tuple[dict[str, Any], str]] = [
    ({"values": [1.0, NAN]}, r"values has nan at position 1.*\[-1e6, 1e6\]"),
    ({"values": [1.0, 2e6]}, r"values has 2000000.*position 1"),
    ({"values": [1.0]}, "values has 1 entries for 2 roots"),
    ({"values": np.zeros((2, 1))}, "values has 2 dimensions"),
    ({"value_prefixs": [float("inf"), 0.0]}, "value_prefixs has inf at position 0"),
    ({"policies": [[0.0, NAN, 0.0]] * 2}, "policy logit nan.*position 0"),
    ({"policies": [[-float("inf")] * 3] * 2}, "one at least must be finite"),
    ({"policies": [[]] * 2}, "one at least must be finite"),
    ({"policies": np.zeros(3)}, "policies has 1 dimensions: pass one row for each root"),
    ({"policies": [[0.0] * 3]}, "policies has 1 entries for 2 roots"),
    ({"to_play_batch": [1, 1]}, "to_play 1 at position 0: at that leaf it is 2"),
    ({"discount_factor": 0.8}, "discount 0.8.*began with 0.9.*new Roots"),
    ({"min_max_stats_lst": muzero.MinMaxStatsList(2)}, "MinMaxStatsList for each Roots"),
    ({"results": muzero.ResultsWrapper(num=2)}, "results are not of the last batch_traverse"),
]


@pytest.mark.parametrize(("change", "message"), BAD_BACKUPS)
def test_backpropagate_when_told_nonsense_names_it_and_changes_nothing(
    change: dict[str, Any], message: str
) -> None:
    if "min_max_stats_lst" in change:
        other = Begun()
        change = {"min_max_stats_lst": other.statistics}
    search = Begun()
    with pytest.raises(InvalidArgumentError, match=message):
        search.backup(**change)
    assert search.roots.get_distributions() == [[0, 0, 0], [0, 0]]
    search.backup()
    assert search.roots.get_distributions() == [[1, 0, 0], [1, 0]]
    with pytest.raises(InvalidArgumentError, match="no leaves wait"):
        search.backup()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"discount_factor": 1.5}, r"discount 1.5.*\[0, 1\]"),
        ({"discount_factor": 0.8}, "began with 0.9"),
        ({"pb_c_init": 2.0}, "pb_c_base, pb_c_init.*changed"),
        ({"virtual_to_play_batch": [1, -1]}, "games of one and of two players"),
        ({"virtual_to_play_batch": [1, 3]}, "to_play 3 at position 1"),
        ({"virtual_to_play_batch": [1]}, "to_play_batch has 1 entries"),
        ({"virtual_to_play_batch": [2, 2]}, "to_play 2 at position 0.*prepared with 1"),
        ({"min_max_stats_lst": muzero.MinMaxStatsList(3)}, "min_max_stats_lst is of 3 roots"),
    ],
)
def test_traverse_when_told_nonsense_names_it_and_keeps_the_leaves(
    change: dict[str, Any], message: str
) -> None:
    search = Begun()
    with pytest.raises(InvalidArgumentError, match=message):
        search.traverse(muzero.ResultsWrapper(num=2), **change)
    with pytest.raises(InvalidArgumentError, match=r"ResultsWrapper\(num=3\) for 2 roots"):
        search.traverse(muzero.ResultsWrapper(num=3))
    search.backup()
    assert search.roots.get_distributions() == [[1, 0, 0], [1, 0]]


def unprepared() -> Any:
    return muzero.Roots(1, [[0, 2]])


BAD_ROOTS: list[tuple[Callable[[], object], str]] = [
    (lambda: muzero.Roots(2, [[0]]), "root_num=2 with legal actions of 1 roots"),
    (lambda: muzero.Roots(0, []), "root_num=0"),
    (lambda: muzero.Roots(1, [[1, 1]]), "action 1 of root 0 is named twice"),
    (
        lambda: unprepared().prepare_no_noise([0.0], [[0.0, 0.0]], [-1]),
        "action 2 of root 0 has no logit: there are 2",
    ),
    (
        lambda: unprepared().prepare_no_noise([0.5], [[0.0] * 3], [-1]),
        "value_prefix_pool has 0.5.*pass 0",
    ),
    (
        lambda: unprepared().prepare(0.25, [[0.1]], [0.0], [[0.0] * 3], [-1]),
        "noises at position 0 has 1 entries for 2 legal actions",
    ),
    (
        lambda: unprepared().prepare(0.25, [[-9.0, 0.5]], [0.0], [[0.0] * 3], [-1]),
        "makes a prior of -",
    ),
    (
        lambda: gumbel.Roots(1, [[0]]).prepare_no_noise([0.0], [0.0], [[0.0]], [1]),
        "Gumbel MuZero is for one player",
    ),
    (lambda: muzero.MinMaxStatsList(1).set_delta(NAN), "value_delta_max=nan"),
]


@pytest.mark.parametrize(("make", "message"), BAD_ROOTS)
def test_roots_when_told_nonsense_name_it(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": 3}, "values is a int: pass a list or a NumPy array"),
        ({"values": ["a", "b"]}, "values is a str: pass numbers in it"),
        ({"policies": [1.0, 2.0]}, "policies is a float: pass lists or arrays"),
        ({"to_play_batch": [1.0, 2.0]}, "to_play_batch is a float: pass integers in it"),
    ],
)
def test_backpropagate_when_a_type_is_wrong_names_it(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Begun().backup(**change)


def test_roots_when_cleared_or_not_prepared_say_so() -> None:
    search = Begun()
    search.roots.clear()
    with pytest.raises(InvalidArgumentError, match="not prepared"):
        search.traverse(muzero.ResultsWrapper(num=2))
    assert search.roots.num == 2
    assert search.roots.get_values() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["get_policies", "get_children_values"])
def test_gumbel_roots_when_not_prepared_have_no_values(name: str) -> None:
    roots = gumbel.Roots(2, [[0, 1, 2], [1, 2]])
    with pytest.raises(InvalidArgumentError, match="not prepared"):
        getattr(roots, name)(0.99, 3)
    assert roots.get_values() == [0.0, 0.0]
    assert roots.get_distributions() == [[], []]
