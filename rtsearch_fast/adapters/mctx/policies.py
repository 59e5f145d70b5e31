"""`muzero_policy` and `gumbel_muzero_policy`, with mctx's arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import InvalidArgumentError
from ...forest import SearchParams
from .qtransforms import (
    qtransform_by_parent_and_siblings,
    qtransform_completed_by_mix_value,
    settings_of,
)
from .search import as_array, check, parts, search
from .tree import PolicyOutput, RecurrentFnOutput, RootFnOutput, Tree

__all__ = ["gumbel_muzero_policy", "muzero_policy"]

#: (params, rng_key, action [B], embedding [B, ...]) -> (RecurrentFnOutput, next embedding)
RecurrentFn = Callable[[Any, Any, Any, Any], tuple[RecurrentFnOutput, Any]]


def muzero_policy(
    params: Any,
    rng_key: Any,
    root: RootFnOutput,
    recurrent_fn: RecurrentFn,
    num_simulations: int,
    invalid_actions: Any = None,
    max_depth: int | None = None,
    loop_fn: Any = None,
    *,
    qtransform: Any = qtransform_by_parent_and_siblings,
    dirichlet_fraction: float = 0.25,
    dirichlet_alpha: float = 0.3,
    pb_c_init: float = 1.25,
    pb_c_base: float = 19652,
    temperature: float = 1.0,
) -> PolicyOutput:
    """Search by MuZero (Schrittwieser et al. 2020, arXiv 1911.08265).

    Parameters
    ----------
    params : any
        Handed to `recurrent_fn`.
    rng_key : numpy.random.Generator, int or None
        Source of the Dirichlet noise and of the action; handed to `recurrent_fn`, too. None for
        other luck each time.
    root : RootFnOutput
        NumPy arrays or tensors, as everything that `recurrent_fn` returns.
    recurrent_fn : callable
        (params, rng_key, action int32 [B], embedding [B, ...]) -> (RecurrentFnOutput, next
        embedding). It gets the embeddings that it gave, as arrays or tensors.
    num_simulations : int
        >= 0.
    invalid_actions : [B, A], optional
        True or 1 for actions that are not to be taken at the root.
    max_depth : int, optional
        Most edges between a root and a leaf, >= 1.
    loop_fn : any
        Not used.
    qtransform : callable
        `qtransform_by_parent_and_siblings`, the only one that the core has here.
    dirichlet_fraction : float
        Share of noise in the priors of the root, in [0, 1].
    dirichlet_alpha : float
        > 0.
    pb_c_init, pb_c_base : float
        Constants of the rule.
    temperature : float
        The action is drawn in proportion to visits**(1 / temperature), >= 0.

    Returns
    -------
    PolicyOutput

    Raises
    ------
    InvalidArgumentError
        NaN or values out of range, wrong shapes, several discounts, an unknown qtransform.

    Examples
    --------
    >>> import numpy as np
    >>> def recurrent_fn(params, rng, action, embedding):
    ...     one = np.ones(len(action), np.float32)
    ...     logits = np.zeros((len(action), 3), np.float32)
    ...     return RecurrentFnOutput(0 * one, one, logits, (action == 2) * one), embedding
    >>> root = RootFnOutput(np.zeros((1, 3), np.float32), np.zeros(1, np.float32), np.zeros(1))
    >>> output = muzero_policy((), 0, root, recurrent_fn, 16, dirichlet_fraction=0.0)
    >>> output.search_tree.summary().visit_counts.tolist()
    [[1.0, 1.0, 14.0]]
    """
    del loop_fn
    settings_of(qtransform, qtransform_by_parent_and_siblings, {"epsilon": None})
    rng = np.random.default_rng(rng_key)
    if not 0 <= dirichlet_fraction <= 1 or not dirichlet_alpha > 0 or not temperature >= 0:
        raise InvalidArgumentError(
            f"{dirichlet_fraction=} must be in [0, 1], {dirichlet_alpha=} above 0, {temperature=} "
            "not negative"
        )
    start, invalid = _root(root, invalid_actions, num_simulations, max_depth)
    noise = rng.dirichlet(np.full(start.prior_logits.shape[1], dirichlet_alpha), len(start.value))
    noisy = (1 - dirichlet_fraction) * _softmax(start.prior_logits) + dirichlet_fraction * noise
    start = start._replace(prior_logits=_log(noisy).astype(start.prior_logits.dtype))
    start = start._replace(prior_logits=_masked(start.prior_logits, invalid))
    tree = search(
        SearchParams(rule="muzero", exploration=pb_c_init, exploration_base=pb_c_base),
        lambda action, embedding: recurrent_fn(params, rng, action, embedding),
        start,
        num_simulations,
        max_depth=max_depth,
        invalid_actions=invalid,
    )
    weights = tree.summary().visit_probs
    logits = _log(weights)
    logits -= logits.max(-1, keepdims=True)
    logits /= max(float(np.finfo(np.float32).tiny), temperature)
    action = np.argmax(logits + rng.gumbel(size=logits.shape), -1)
    return PolicyOutput(action.astype(np.int32), weights, tree)


def gumbel_muzero_policy(
    params: Any,
    rng_key: Any,
    root: RootFnOutput,
    recurrent_fn: RecurrentFn,
    num_simulations: int,
    invalid_actions: Any = None,
    max_depth: int | None = None,
    loop_fn: Any = None,
    *,
    qtransform: Any = qtransform_completed_by_mix_value,
    max_num_considered_actions: int = 16,
    gumbel_scale: float = 1.0,
) -> PolicyOutput:
    """Search by full Gumbel MuZero (Danihelka et al., ICLR 2022).

    Parameters
    ----------
    params, rng_key, root, recurrent_fn, num_simulations, invalid_actions, max_depth, loop_fn
        As in `muzero_policy`; `rng_key` is the source of the Gumbel noise.
    qtransform : callable
        `qtransform_completed_by_mix_value`, with another value_scale or maxvisit_init by
        `functools.partial`.
    max_num_considered_actions : int
        Actions with which the halving begins, at most, >= 1.
    gumbel_scale : float
        Of the noise; 0 for none.

    Returns
    -------
    PolicyOutput

    Raises
    ------
    InvalidArgumentError
        As `muzero_policy` raises it.
    """
    del loop_fn
    settings = settings_of(
        qtransform,
        qtransform_completed_by_mix_value,
        {
            "value_scale": 0.1,
            "maxvisit_init": 50.0,
            "rescale_values": None,
            "use_mixed_value": None,
            "epsilon": None,
        },
    )
    scale = {name: value for name, value in settings.items() if value is not None}
    rng = np.random.default_rng(rng_key)
    start, invalid = _root(root, invalid_actions, num_simulations, max_depth)
    start = start._replace(prior_logits=_masked(start.prior_logits, invalid))
    gumbel = (gumbel_scale * rng.gumbel(size=start.prior_logits.shape)).astype(np.float32)
    tree = search(
        SearchParams(rule="gumbel", **scale),
        lambda action, embedding: recurrent_fn(params, rng, action, embedding),
        start,
        num_simulations,
        max_depth=max_depth,
        invalid_actions=invalid,
        gumbel=gumbel,
        max_considered=max_num_considered_actions,
    )
    visits = tree.children_visits[:, Tree.ROOT_INDEX]
    logits = start.prior_logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    completed = qtransform_completed_by_mix_value(tree, Tree.ROOT_INDEX, **scale)
    scores = np.maximum(-1e9, gumbel + logits + completed)
    scores[(visits != visits.max(-1, keepdims=True)) | tree.root_invalid_actions] = -np.inf
    weights = _softmax(_masked(start.prior_logits + completed, invalid))
    return PolicyOutput(
        np.argmax(scores, -1).astype(np.int32), weights.astype(start.value.dtype), tree
    )


def _root(
    root: RootFnOutput, invalid_actions: Any, num_simulations: int, max_depth: int | None
) -> tuple[RootFnOutput, Any]:
    """A checked root of arrays, and which of its actions are invalid."""
    counts = {"num_simulations": (num_simulations, 0), "max_depth": (max_depth, 1)}
    for name, (count, least) in counts.items():
        if count is None and name == "max_depth":
            continue
        if not isinstance(count, (int, np.integer)) or count < least:
            raise InvalidArgumentError(
                f"{name}={count!r}: must be a whole number of at least {least}"
            )
    prior_logits, root_value, embedding = parts(root, RootFnOutput, "root")
    logits, value = as_array(prior_logits), as_array(root_value)
    if logits.ndim != 2:
        raise InvalidArgumentError(f"root.prior_logits has shape {logits.shape}: must be (B, A)")
    check("root.prior_logits", logits, logits.shape)
    check("root.value", value, logits.shape[:1])
    checked = RootFnOutput(_floating(logits), _floating(value), embedding)
    if invalid_actions is None:
        return checked, None
    invalid = as_array(invalid_actions).astype(np.bool_)
    if invalid.shape != logits.shape:
        raise InvalidArgumentError(
            f"invalid_actions has shape {invalid.shape}: must be {logits.shape}"
        )
    return checked, invalid


def _floating(x: Any) -> Any:
    return x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float32)


def _masked(logits: Any, invalid: Any) -> Any:
    if invalid is None:
        return logits
    logits = logits - logits.max(-1, keepdims=True)
    return np.where(invalid, np.finfo(np.float32).min, logits).astype(logits.dtype)


def _softmax(logits: Any) -> Any:
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def _log(probs: Any) -> Any:
    return np.log(np.maximum(probs.astype(np.float64), np.finfo(np.float32).tiny))
