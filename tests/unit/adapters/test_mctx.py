"""mctx's policies over the core: against the original, field by field, and on their own."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import mctx_searches
import numpy as np
import pytest
from mctx_searches import Problem, problems, results_of, run, tables_of

from rtsearch_fast.adapters import mctx
from rtsearch_fast.errors import InvalidArgumentError

TOLERANCE = 1e-5
ALL = list(problems())


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what mctx found; JAX minds forks of the process that it is in."""
    try:
        metadata.version("mctx")
    except metadata.PackageNotFoundError:
        if os.environ.get("RTS_REQUIRE_PEERS"):
            raise
        pytest.skip("mctx is not installed")
    folder = tmp_path_factory.mktemp("mctx")
    done = subprocess.run(
        [sys.executable, mctx_searches.__file__, str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def ours(problem: Problem) -> dict[str, Any]:
    return results_of(run(mctx, problem, tables_of(problem), 0))


@pytest.mark.parametrize("problem", ALL, ids=[problem.name for problem in ALL])
def test_policy_when_mctx_searches_the_same_gives_the_same(problem: Problem, theirs: Path) -> None:
    our = ours(problem)
    with np.load(theirs / f"{problem.name}.npz") as archive:
        their = dict(archive)
    assert our.keys() == their.keys()
    weights = np.sort(their["action_weights"], -1)
    is_clear = weights[:, -1] > weights[:, -2]  # else MuZero's action is drawn
    for name, array in their.items():
        is_of_root = name.startswith("summary") or name in ("action", "action_weights")
        if problem.ends and not is_of_root:
            continue  # mctx goes on below the end of an episode
        assert our[name].shape == array.shape, name
        if name == "action":
            np.testing.assert_array_equal(our[name][is_clear], array[is_clear])
        elif np.issubdtype(array.dtype, np.floating):
            assert our[name].dtype == array.dtype, name
            np.testing.assert_allclose(our[name], array, rtol=TOLERANCE, atol=TOLERANCE)
        else:
            np.testing.assert_array_equal(our[name], array, name)


# --- on its own ----------------------------------------------------------------------------


def search(policy: str = "muzero", actions: int = 3, **changes: Any) -> Any:
    """A short search of two elements, in which action 2 is the good one."""

    def recurrent_fn(params: Any, rng: Any, action: Any, embedding: Any) -> Any:
        batch = len(action)
        step = {
            "reward": (np.asarray(action) == 2).astype(np.float32),
            "discount": np.full(batch, 0.9, np.float32),
            "prior_logits": np.zeros((batch, actions), np.float32),
            "value": np.zeros(batch, np.float32),
        } | changes.get("step", {})
        return mctx.RecurrentFnOutput(**step), changes.get("reached", embedding)

    settings: dict[str, Any] = {
        "params": (),
        "rng_key": 7,
        "root": mctx.RootFnOutput(
            np.zeros((2, actions), np.float32), np.zeros(2, np.float32), np.zeros((2, 5))
        ),
        "recurrent_fn": recurrent_fn,
        "num_simulations": 12,
    } | {name: value for name, value in changes.items() if name not in ("step", "reached")}
    return getattr(mctx, f"{'gumbel_' if policy == 'gumbel' else ''}muzero_policy")(**settings)


@pytest.mark.parametrize("policy", ["muzero", "gumbel"])
def test_policy_when_seeded_repeats_itself(policy: str) -> None:
    first, second, other = (search(policy, rng_key=seed) for seed in (7, 7, 8))
    generated = search(policy, rng_key=np.random.default_rng(7))
    for again in (second, generated):
        np.testing.assert_array_equal(first.action_weights, again.action_weights)
        np.testing.assert_array_equal(first.action, again.action)
    order, otherwise = (o.search_tree.action_from_parent for o in (first, other))
    assert not np.array_equal(order, otherwise)


def test_muzero_policy_when_temperature_is_high_draws_other_actions_than_the_best() -> None:
    drawn = [search(rng_key=seed, temperature=9.0).action[0] for seed in range(30)]
    assert set(drawn) == {0, 1, 2}
    greedy = [search(rng_key=seed, temperature=0.0) for seed in range(5)]
    for output in greedy:
        best = output.action_weights.max(-1)
        assert np.array_equal(output.action_weights[[0, 1], output.action], best)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_policy_when_given_tensors_hands_tensors_back_to_the_model(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    seen = []

    def recurrent_fn(params: Any, rng: Any, action: Any, embedding: Any) -> Any:
        seen.append(embedding)
        hidden = torch.tanh(embedding["hidden"] + torch.as_tensor(action)[:, None])
        step = mctx.RecurrentFnOutput(
            reward=hidden[:, 0].to(getattr(torch, dtype)),
            discount=torch.full((2,), 0.9),
            prior_logits=hidden.to(getattr(torch, dtype)),
            value=hidden[:, 1],
        )
        return step, {"hidden": hidden.requires_grad_()}

    root = mctx.RootFnOutput(
        torch.zeros(2, 3, requires_grad=True), torch.zeros(2), {"hidden": torch.zeros(2, 3)}
    )
    output = search(root=root, recurrent_fn=recurrent_fn)
    assert all(isinstance(embedding["hidden"], torch.Tensor) for embedding in seen)
    assert output.search_tree.embeddings["hidden"].shape == (2, 13, 3)
    assert isinstance(output.action, np.ndarray)


def test_policy_when_states_are_texts_keeps_them() -> None:
    def recurrent_fn(params: Any, rng: Any, action: Any, embedding: Any) -> Any:
        longer = np.array([f"{t}{a}" for t, a in zip(embedding, action, strict=True)], object)
        value = np.array([len(set(text)) / 9 for text in longer])
        step = mctx.RecurrentFnOutput(0 * value, 0 * value + 1, np.zeros((2, 3)), value)
        return step, longer

    root = mctx.RootFnOutput(np.zeros((2, 3)), np.zeros(2), np.array(["a", "b"], object))
    tree = search(root=root, recurrent_fn=recurrent_fn).search_tree
    for b, text in enumerate("ab"):
        for node in range(1, 13):
            above = tree.embeddings[b, tree.parents[b, node]]
            assert tree.embeddings[b, node] == f"{above}{tree.action_from_parent[b, node]}"
        assert tree.embeddings[b, 0] == text


def test_policy_when_the_first_answers_end_the_episode_learns_the_discount_later() -> None:
    def recurrent_fn(params: Any, rng: Any, action: Any, embedding: Any) -> Any:
        goes_on = action == 2
        step = mctx.RecurrentFnOutput(
            reward=np.full(2, 0.25),
            discount=np.where(goes_on, 0.5, 0.0),
            prior_logits=np.zeros((2, 3)),
            value=np.ones(2),
        )
        return step, embedding

    root = mctx.RootFnOutput(np.zeros((2, 3)), np.zeros(2), np.zeros(2))
    tree = search(
        "gumbel", root=root, recurrent_fn=recurrent_fn, num_simulations=3, gumbel_scale=0.0
    ).search_tree
    assert tree.summary().visit_counts.tolist() == [[1, 1, 1]] * 2
    np.testing.assert_allclose(tree.summary().qvalues, [[0.25, 0.25, 0.75]] * 2)


NAN = float("nan")


@pytest.mark.parametrize(
    ("policy", "changes", "message"),
    [
        (
            "muzero",
            {"step": {"value": np.array([0.0, NAN])}},
            r"recurrent_fn's value is nan at \(1,\)",
        ),
        ("muzero", {"step": {"reward": np.zeros(3)}}, r"reward has shape \(3,\): must be \(2,\)"),
        ("gumbel", {"step": {"prior_logits": np.full((2, 3), -np.inf)}}, "element are -inf"),
        ("gumbel", {"step": {"discount": np.array([0.9, 0.8])}}, "discounts 0.8 and 0.9"),
        ("muzero", {"step": {"discount": np.array([0.0, 1.5])}}, r"discount=1.5.*\[-1, 1\]"),
        ("muzero", {"invalid_actions": np.zeros((2, 4))}, r"invalid_actions has shape \(2, 4\)"),
        ("muzero", {"max_depth": 0}, "max_depth=0: must be a whole number of at least 1"),
        ("muzero", {"num_simulations": -1}, "num_simulations=-1: must be a whole number"),
        ("gumbel", {"num_simulations": 2.5}, "num_simulations=2.5: must be a whole number"),
        ("muzero", {"temperature": -1.0}, "temperature=-1.0"),
        ("muzero", {"dirichlet_fraction": 1.5}, "dirichlet_fraction=1.5"),
        (
            "muzero",
            {"qtransform": mctx.qtransform_completed_by_mix_value},
            "qtransform=qtransform_completed_by_mix_value: the core has qtransform_by_parent",
        ),
        (
            "gumbel",
            {
                "qtransform": functools.partial(
                    mctx.qtransform_completed_by_mix_value, rescale_values=False
                )
            },
            "rescale_values=False: the core does not have that",
        ),
        ("gumbel", {"max_num_considered_actions": 0}, "max_considered=0"),
        (
            "muzero",
            {"root": mctx.RootFnOutput(np.zeros((2, 3)), np.zeros(3), np.zeros(2))},
            r"root.value has shape \(3,\): must be \(2,\)",
        ),
        ("muzero", {"root": (0, 1, 2)}, "root is a tuple without prior_logits"),
        (
            "gumbel",
            {"root": mctx.RootFnOutput(np.zeros((2, 3)), np.zeros(2), [np.zeros(2), 7])},
            "root.embedding holds 7: must be arrays",
        ),
        (
            "muzero",
            {"root": mctx.RootFnOutput(np.zeros((2, 3)), np.zeros(2), np.zeros(3))},
            r"root.embedding has shape \(3,\): must be arrays of shape \(2, ...\)",
        ),
        ("muzero", {"recurrent_fn": lambda *_: 5}, "recurrent_fn returned a int: must be"),
        (
            "muzero",
            {"recurrent_fn": lambda *_: ((1, 2), 3)},
            "recurrent_fn's output is a tuple without reward",
        ),
        (
            "gumbel",
            {"reached": np.zeros((2, 7))},
            r"embedding has shape \(2, 7\): must be \(2, 5\)",
        ),
        ("gumbel", {"reached": {"a": np.zeros(2)}}, "embedding is not made of arrays as the root"),
    ],
)
def test_policy_when_told_nonsense_names_it(
    policy: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        search(policy, **changes)


def test_qtransforms_when_asked_of_a_node_give_what_the_search_used() -> None:
    tree = search("muzero", num_simulations=30).search_tree
    scaled = mctx.qtransform_by_parent_and_siblings(tree, 0)
    assert scaled.shape == (2, 3)
    assert scaled.min() >= 0 and scaled.max() <= 1
    tree = search("gumbel", num_simulations=30).search_tree
    completed = mctx.qtransform_completed_by_mix_value(tree, np.array([0, 1]))
    assert completed.shape == (2, 3)
    np.testing.assert_allclose(completed[0], mctx.qtransform_completed_by_mix_value(tree, 0)[0])
