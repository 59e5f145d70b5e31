"""The two transformations of Q that the core searches with; and which of them a caller means."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ...errors import InvalidArgumentError
from .tree import Tree

__all__ = [
    "qtransform_by_parent_and_siblings",
    "qtransform_completed_by_mix_value",
    "settings_of",
]


def qtransform_by_parent_and_siblings(tree: Tree, node_index: Any) -> Any:
    """Q on the scale of a node's value and its children's Q; unvisited children have 0.

    Parameters
    ----------
    tree : Tree
    node_index : int or int [B]

    Returns
    -------
    float [B, A]
    """
    row = np.arange(len(tree.node_visits))
    visited = tree.children_visits[row, node_index] > 0
    value = tree.node_values[row, node_index][:, None]
    q = tree.qvalues(node_index)
    known = np.where(visited, q, value)
    low = np.minimum(value, known.min(-1, keepdims=True))
    high = np.maximum(value, known.max(-1, keepdims=True))
    return (np.where(visited, q, low) - low) / np.maximum(high - low, 1e-8)


def qtransform_completed_by_mix_value(
    tree: Tree, node_index: Any, *, value_scale: float = 0.1, maxvisit_init: float = 50.0
) -> Any:
    """Q with v_mix for unvisited actions, rescaled and weighted (Danihelka et al., appendix D).

    Parameters
    ----------
    tree : Tree
    node_index : int or int [B]
    value_scale, maxvisit_init : float
        Values count as (maxvisit_init + most visits) * value_scale.

    Returns
    -------
    float [B, A]
    """
    row = np.arange(len(tree.node_visits))
    visits = tree.children_visits[row, node_index]
    q = tree.qvalues(node_index).astype(np.float64)
    logits = tree.children_prior_logits[row, node_index].astype(np.float64)
    priors = np.exp(logits - logits.max(-1, keepdims=True))
    priors /= priors.sum(-1, keepdims=True)
    weights = np.where(visits > 0, np.maximum(priors, np.finfo(np.float32).tiny), 0)
    weights /= np.maximum(weights.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
    total = visits.sum(-1, keepdims=True)
    raw = tree.raw_values[row, node_index][:, None]
    mixed = (raw + total * (weights * q).sum(-1, keepdims=True)) / (total + 1)
    completed = np.where(visits > 0, q, mixed)
    low, high = completed.min(-1, keepdims=True), completed.max(-1, keepdims=True)
    scaled = (completed - low) / np.maximum(high - low, 1e-8)
    return (maxvisit_init + visits.max(-1, keepdims=True)) * value_scale * scaled


def settings_of(qtransform: Any, wanted: Any, known: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments that a qtransform was bound to, completed by the `known` ones.

    Its own or mctx's function of the same name are as good. Entries of `known` that the core cannot
    change are None.
    """
    bound: dict[str, Any] = {}
    while isinstance(qtransform, functools.partial):
        bound = qtransform.keywords | bound
        qtransform = qtransform.func
    name = getattr(qtransform, "__name__", repr(qtransform))
    if name != wanted.__name__:
        raise InvalidArgumentError(
            f"qtransform={name}: the core has {wanted.__name__} here, leave qtransform out"
        )
    settings = dict(known)
    for key, value in bound.items():
        if settings.get(key) is None:
            raise InvalidArgumentError(
                f"qtransform with {key}={value!r}: the core does not have that, leave {key} out"
            )
        settings[key] = float(value)
    return settings
