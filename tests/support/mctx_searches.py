"""Random problems for mctx's policies and their twins: masks, depths, ends, two players.

``python tests/support/mctx_searches.py FOLDER`` runs the original (JAX, hence a process of its own)
and leaves what it found there, an .npz a problem.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH, STATES = 12, 150
FIELDS = (
    "node_visits",
    "raw_values",
    "node_values",
    "parents",
    "action_from_parent",
    "children_index",
    "children_prior_logits",
    "children_visits",
    "children_rewards",
    "children_discounts",
    "children_values",
)


class Problem(NamedTuple):
    policy: str  # "muzero" or "gumbel"
    actions: int
    simulations: int
    discount: float
    ends: float = 0.0  # share of the edges that end the episode
    max_depth: int | None = None
    invalid: float = 0.0  # share of the actions at the roots
    settings: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        return "-".join(str(part) for part in self).replace("/", "_")


def problems() -> Iterator[Problem]:
    for policy in ("muzero", "gumbel"):
        yield Problem(policy, 6, 40, -1.0)
        yield Problem(policy, 4, 50, 0.9, max_depth=2)
        yield Problem(policy, 8, 40, 0.99, ends=0.1, max_depth=4, invalid=0.6)
    yield Problem("gumbel", 7, 40, 0.9, settings=(("value_scale", 0.3), ("maxvisit_init", 20.0)))


class Tables(NamedTuple):
    """A random decision process for each element: state s of element b is b * STATES + s."""

    reward: Any  # [BATCH * STATES, actions], as discount, reached, logits
    discount: Any
    reached: Any
    logits: Any
    value: Any
    invalid: Any  # [BATCH, actions]


def tables_of(problem: Problem) -> Tables:
    rng = np.random.default_rng(len(problem.name))
    shape = (BATCH * STATES, problem.actions)
    offset = np.arange(BATCH).repeat(STATES)[:, None] * STATES
    invalid = rng.random((BATCH, problem.actions)) < problem.invalid
    if problem.invalid:
        invalid[0] = True  # an episode that is over
    ends = rng.random(shape) < problem.ends
    return Tables(
        reward=rng.standard_normal(shape).astype(np.float32) / 2,
        discount=np.where(ends, 0, problem.discount).astype(np.float32),
        reached=offset + rng.integers(STATES, size=shape),
        logits=rng.standard_normal(shape).astype(np.float32),
        value=rng.standard_normal(shape[0]).astype(np.float32),
        invalid=invalid,
    )


def run(mctx: Any, problem: Problem, tables: Any, rng_key: Any) -> Any:
    """What the policy of `mctx`, or of a twin, gives without noise; temperature 0."""

    def recurrent_fn(tables: Any, key: Any, action: Any, embedding: Any) -> Any:
        state = embedding["state"]
        reached = tables.reached[state, action]
        step = mctx.RecurrentFnOutput(
            reward=tables.reward[state, action],
            discount=tables.discount[state, action],
            prior_logits=tables.logits[reached],
            value=tables.value[reached],
        )
        return step, {"state": reached, "length": embedding["length"] + 1}

    state = tables.reached[:, 0].reshape(BATCH, STATES)[:, 0]
    root = mctx.RootFnOutput(
        prior_logits=tables.logits[state],
        value=tables.value[state],
        embedding={"state": state, "length": 0 * state},
    )
    shared = {
        "params": tables,
        "rng_key": rng_key,
        "root": root,
        "recurrent_fn": recurrent_fn,
        "num_simulations": problem.simulations,
        "invalid_actions": tables.invalid if problem.invalid else None,
        "max_depth": problem.max_depth,
    }
    if problem.policy == "muzero":
        return mctx.muzero_policy(**shared, dirichlet_fraction=0.0, temperature=0.0)
    extra: dict[str, Any] = {}
    if problem.settings:
        extra["qtransform"] = functools.partial(
            mctx.qtransform_completed_by_mix_value, **dict(problem.settings)
        )
    return mctx.gumbel_muzero_policy(
        **shared, gumbel_scale=0.0, max_num_considered_actions=4, **extra
    )


def results_of(output: Any) -> dict[str, Any]:
    tree = output.search_tree
    summary = tree.summary()
    found = {name: np.asarray(getattr(tree, name)) for name in FIELDS}
    found |= {f"embeddings_{name}": np.asarray(x) for name, x in tree.embeddings.items()}
    found |= {
        f"summary_{name}": np.asarray(getattr(summary, name))
        for name in ("visit_counts", "visit_probs", "value", "qvalues")
    }
    return found | {
        "action": np.asarray(output.action),
        "action_weights": np.asarray(output.action_weights),
    }


if __name__ == "__main__":
    import jax
    import mctx

    for problem in problems():
        tables = Tables(*map(jax.numpy.asarray, tables_of(problem)))
        policy = jax.jit(functools.partial(run, mctx, problem))
        output = policy(tables, jax.random.PRNGKey(0))
        np.savez(Path(sys.argv[1]) / f"{problem.name}.npz", **results_of(output))
