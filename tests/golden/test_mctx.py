"""MuZero and Gumbel MuZero against DeepMind's mctx, on random problems.

A problem is a random decision process, searched from one state. Where mctx (``pip install mctx``)
is missing, its recorded results stand in; ``python tests/golden/test_mctx.py`` records them anew
and prints the largest differences.

mctx adds noise of 1e-7 to MuZero's scores against ties, and computes in float32. Two children whose
scores differ by less than that are a toss-up; so problems in which any selection was closer than
MARGIN are passed over, by the scores of the reference.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from rtsearch_fast.adapters.mctx import RecurrentFnOutput, RootFnOutput, Tree
from rtsearch_fast.adapters.mctx.search import search
from rtsearch_fast.forest import Forest, SearchParams
from rtsearch_fast.reference import ReferenceForest

RECORDED = Path(__file__).with_name("mctx.json")
STATES = 200
RULES = ("muzero", "gumbel")
CANDIDATES, WANTED = 55, 50  # problems of each of the four settings
MARGIN = 1e-5
TOLERANCE = 1e-5  # of values


class Setting(NamedTuple):
    actions: int
    simulations: int
    discount: float
    ends: float  # share of the edges that end the episode
    max_considered: int


SETTINGS = (
    Setting(actions=2, simulations=24, discount=1.0, ends=0.0, max_considered=16),
    Setting(actions=4, simulations=64, discount=0.9, ends=0.0, max_considered=4),
    Setting(actions=9, simulations=50, discount=0.997, ends=0.0, max_considered=5),
    Setting(actions=20, simulations=100, discount=0.95, ends=0.15, max_considered=16),
)


class Problems(NamedTuple):
    """Decision processes side by side: state s of problem b is b * STATES + s."""

    reward: Any  # float32 [B * STATES, A], like the others but for the states
    discount: Any
    reached: Any
    logits: Any
    value: Any  # float32 [B * STATES]
    gumbel: Any  # float32 [B, A]

    def roots(self) -> Any:
        return np.arange(len(self.gumbel)) * STATES


def problems(setting: Setting, count: int, seed: int) -> Problems:
    rng = np.random.default_rng(seed)
    shape = (count * STATES, setting.actions)
    offset = np.arange(count).repeat(STATES)[:, None] * STATES
    logits = (1.5 * rng.standard_normal(shape)).astype(np.float32)
    return Problems(
        reward=(0.5 * rng.standard_normal(shape)).astype(np.float32),
        discount=np.where(rng.random(shape) < setting.ends, 0, setting.discount).astype(np.float32),
        reached=offset + rng.integers(STATES, size=shape),
        logits=logits,
        value=rng.standard_normal(shape[0]).astype(np.float32),
        gumbel=rng.gumbel(size=(count, setting.actions)).astype(np.float32),
    )


def params(rule: Any, setting: Setting) -> SearchParams:
    return SearchParams(rule=rule, exploration=1.25, discount=float(np.float32(setting.discount)))


def found(
    rule: str, setting: Setting, tables: Problems, new_forest: Callable[[Any], Any] = Forest
) -> Tree:
    def model(action: Any, state: Any) -> tuple[RecurrentFnOutput, Any]:
        reached = tables.reached[state, action]
        step = RecurrentFnOutput(
            reward=tables.reward[state, action],
            discount=tables.discount[state, action],
            prior_logits=tables.logits[reached],
            value=tables.value[reached],
        )
        return step, reached

    roots = tables.roots()
    return search(
        params(rule, setting),
        model,
        RootFnOutput(tables.logits[roots], tables.value[roots], roots),
        setting.simulations,
        gumbel=tables.gumbel if rule == "gumbel" else None,
        max_considered=setting.max_considered,
        new_forest=new_forest,
    )


class Watched(ReferenceForest):
    """Keeps the narrowest margin by which a selection in each tree was made."""

    def __init__(self, settings: SearchParams) -> None:
        super().__init__(settings)
        self.margins: dict[Any, float] = {}  # by root

    def _rank_below(self, parent: Any) -> Any:
        rank = super()._rank_below(parent)
        second, best = sorted(rank(child)[:-3] for child in parent.children)[-2:]
        root = parent.path()[-1]
        if second[:-1] == best[:-1]:
            self.margins[root] = min(self.margins.get(root, np.inf), best[-1] - second[-1])
        return rank

    def all_margins(self) -> Any:
        return np.array([self.margins[self._tree(tree)[0]] for tree in range(self.num_trees)])


@cache
def chosen(rule: str, setting: Setting) -> tuple[Problems, Any]:
    """Problems, and the numbers of the first WANTED without a toss-up."""
    tables = problems(setting, CANDIDATES, seed=SETTINGS.index(setting))
    made: list[Watched] = []
    found(rule, setting, tables, lambda settings: made.append(Watched(settings)) or made[-1])
    clear = np.flatnonzero(made[-1].all_margins() > MARGIN)[:WANTED]
    assert len(clear) == WANTED
    return tables, clear


class Theirs(NamedTuple):
    """What mctx found; node 1 + i is the leaf of simulation i."""

    visit_counts: Any  # [B, A], of the root's actions
    qvalues: Any
    node_visits: Any  # [B, 1 + simulations]
    node_values: Any


def theirs(rule: str, setting: Setting, tables: Problems) -> Theirs:
    import jax
    import mctx
    from jax import numpy as jnp

    def model(tables: Any, key: Any, action: Any, state: Any) -> Any:
        reached = tables.reached[state, action]
        step = mctx.RecurrentFnOutput(
            reward=tables.reward[state, action],
            discount=tables.discount[state, action],
            prior_logits=tables.logits[reached],
            value=tables.value[reached],
        )
        return step, reached

    def run(tables: Any) -> Any:
        roots = jnp.asarray(tables.roots())
        root = mctx.RootFnOutput(
            prior_logits=tables.logits[roots], value=tables.value[roots], embedding=roots
        )
        shared = {
            "params": tables,
            "rng_key": jax.random.PRNGKey(0),
            "root": root,
            "recurrent_fn": model,
            "num_simulations": setting.simulations,
        }
        if rule == "muzero":
            return mctx.muzero_policy(**shared, dirichlet_fraction=0.0).search_tree
        # gumbel_muzero_policy, but for the noise, which that draws itself
        return mctx.search(
            **shared,
            extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=tables.gumbel),
            root_action_selection_fn=partial(
                mctx.gumbel_muzero_root_action_selection,
                num_simulations=setting.simulations,
                max_num_considered_actions=setting.max_considered,
            ),
            interior_action_selection_fn=mctx.gumbel_muzero_interior_action_selection,
        )

    tree = jax.jit(run)(Problems(*map(jnp.asarray, tables)))
    summary = tree.summary()
    return Theirs(
        *map(
            np.asarray, (summary.visit_counts, summary.qvalues, tree.node_visits, tree.node_values)
        )
    )


def recorded() -> dict[str, Any]:
    return dict(json.loads(RECORDED.read_text("utf-8")))


@pytest.mark.parametrize("number", range(len(SETTINGS)))
@pytest.mark.parametrize("rule", RULES)
def test_search_when_mctx_has_recorded_it_has_the_same_counts_and_values(
    rule: str, number: int
) -> None:
    setting = SETTINGS[number]
    tables, clear = chosen(rule, setting)
    ours = found(rule, setting, tables).summary()
    entries = recorded()[f"{rule} {number}"]
    assert ours.visit_counts[clear].tolist() == [entry["visit_counts"] for entry in entries]
    difference = np.abs(ours.value[clear] - [entry["value"] for entry in entries])
    assert difference.max() <= TOLERANCE


@pytest.fixture(scope="module")
def measured() -> dict[str, list[float]]:
    """All differences, found in a process of its own: JAX minds forks of those that it is in.

    RTS_REQUIRE_MCTX=1 makes it a failure that mctx is missing: where the tests should run, they
    must not be passed over in silence.
    """
    if importlib.util.find_spec("mctx") is None:
        if os.environ.get("RTS_REQUIRE_MCTX"):
            pytest.fail("mctx is missing: pip install mctx")
        pytest.skip("mctx is missing; its recorded results stand in")
    done = subprocess.run(
        [sys.executable, __file__, "--differences"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("number", range(len(SETTINGS)))
@pytest.mark.parametrize("rule", RULES)
def test_search_when_mctx_runs_beside_it_grows_the_same_trees(
    rule: str, number: int, measured: dict[str, list[float]]
) -> None:
    assert max(measured[f"{rule} {number}"]) <= TOLERANCE


def differences(rule: str, setting: Setting) -> tuple[float, float]:
    """Compare all counts; returns the largest differences of Q at the roots and of node values."""
    tables, clear = chosen(rule, setting)
    ours, mctx = found(rule, setting, tables), theirs(rule, setting, tables)
    summary = ours.summary()
    counts = summary.visit_counts[clear]
    np.testing.assert_array_equal(counts, mctx.visit_counts[clear])
    of_q = np.abs(summary.qvalues - mctx.qvalues)[clear][counts > 0].max()
    visits, values = ours.node_visits, ours.node_values
    if setting.ends > 0:  # mctx goes on below the end of an episode: only the roots are alike
        visits, values = visits[:, :1], values[:, :1]
    nodes = slice(visits.shape[1])
    np.testing.assert_array_equal(visits[clear], mctx.node_visits[clear, nodes])
    of_values = np.abs(values - mctx.node_values[:, nodes])[clear].max()
    return float(of_q), float(of_values)


def record() -> str:
    """What the file holds, a line a problem."""
    cells = []
    for rule in RULES:
        for number, setting in enumerate(SETTINGS):
            tables, clear = chosen(rule, setting)
            mctx = theirs(rule, setting, tables)
            lines = [
                json.dumps(
                    {
                        "visit_counts": mctx.visit_counts[i].astype(int).tolist(),
                        "value": round(float(mctx.node_values[i, 0]), 7),
                    }
                )
                for i in clear
            ]
            cells.append(f'"{rule} {number}": [\n' + ",\n".join(lines) + "\n]")
    return "{\n" + ",\n".join(cells) + "\n}\n"


def all_differences() -> dict[str, tuple[float, float]]:
    return {
        f"{rule} {number}": differences(rule, setting)
        for rule in RULES
        for number, setting in enumerate(SETTINGS)
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["--differences"]:
        print(json.dumps(all_differences()))
    else:
        RECORDED.write_text(record(), "utf-8")
        for name, (of_q, of_values) in all_differences().items():
            print(f"{name}: {WANTED} problems, same counts", end=", ")
            print(f"values differ by {of_values:.1e} at most, Q of the root by {of_q:.1e}")
