"""The search behind both policies: one tree of the core for each element of a batch.

The model is called once a simulation for the whole batch. Discounts are known when it first tells
one, so a forest of another discount may have to take the trees over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import InvalidArgumentError
from ...forest import Forest, SearchParams
from .tree import RecurrentFnOutput, RootFnOutput, Tree

__all__ = ["as_array", "mapped", "parts", "probabilities", "search"]

#: Values beyond this are refused.
LARGEST_VALUE = 1e30


def as_array(x: Any) -> Any:
    """As a NumPy array; tensors are taken out of their graph and off their device."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        if str(x.dtype) == "torch.bfloat16":  # which NumPy has not
            x = x.float()
    return np.asarray(x)


def parts(told: Any, kind: type[RootFnOutput | RecurrentFnOutput], what: str) -> list[Any]:
    """The fields of a NamedTuple, or of what takes its place."""
    missing = [name for name in kind._fields if not hasattr(told, name)]
    if missing:
        raise InvalidArgumentError(
            f"{what} is a {type(told).__name__} without {missing[0]}: pass a {kind.__name__}"
        )
    return [getattr(told, name) for name in kind._fields]


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to all arrays of embeddings."""
    if isinstance(tree, dict):
        return {
            key: mapped(function, value, *(other[key] for other in others))
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        parts = [mapped(function, *entries) for entries in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return None if tree is None else function(tree, *others)


def probabilities(logits: Any) -> Any:
    """Softmax as the core wants it, float32 [B, A]; NaN where there is none."""
    logits = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def search(
    params: SearchParams,
    model: Callable[[Any, Any], tuple[RecurrentFnOutput, Any]],
    root: RootFnOutput,
    num_simulations: int,
    *,
    max_depth: int | None = None,
    invalid_actions: Any = None,
    gumbel: Any = None,
    max_considered: int = 16,
    new_forest: Callable[[SearchParams], Any] = Forest,
) -> Tree:
    """Grow a tree from each root.

    Parameters
    ----------
    params : SearchParams
        Rule and its settings; range of values and size are set here. The discount is what to begin
        with.
    model : callable
        (action [B], embedding [B, ...]) -> (RecurrentFnOutput, next embedding).
    root : RootFnOutput
        Arrays; `prior_logits` hold noise and mask already.
    num_simulations, max_depth : int
    invalid_actions : bool [B, A], optional
    gumbel : float32 [B, A], optional
        Noise for the rule gumbel.
    max_considered : int
    new_forest : callable
        What to search with: another forest for tests.

    Returns
    -------
    Tree
    """
    grower = _Grower(params, root, num_simulations, max_depth, invalid_actions, new_forest)
    grower.plan(gumbel, max_considered)
    for simulation in range(num_simulations):
        grower.simulate(simulation, model)
    return grower.tree(gumbel)


class _Grower:
    """Trees of the core, and what mctx keeps of each node besides."""

    def __init__(
        self,
        params: SearchParams,
        root: RootFnOutput,
        num_simulations: int,
        max_depth: int | None,
        invalid: Any,
        new_forest: Callable[[SearchParams], Any],
    ) -> None:
        batch, actions = root.prior_logits.shape
        nodes = 1 + num_simulations
        self._new_forest = new_forest
        self._forest = new_forest(
            replace(
                params,
                value_min=-LARGEST_VALUE,
                value_max=LARGEST_VALUE,
                max_nodes=1 + actions * nodes,
            )
        )
        self._discount: float | None = None  # until the model tells one
        self._row = np.arange(batch)
        self._actions = actions
        self._max_depth = max_depth
        # until an episode ends or a depth is reached, simulation i makes node 1 + i and expands it
        self._is_plain = max_depth is None
        self._invalid = np.zeros((batch, actions), np.bool_) if invalid is None else invalid
        dtype = root.value.dtype
        # by mctx's index of a node
        self._raw_values = np.zeros((batch, nodes), dtype)
        self._logits = np.zeros((batch, nodes, actions), root.prior_logits.dtype)
        self._depth = np.zeros((batch, nodes), np.int64)
        self._embeddings = mapped(lambda x: _room_for(x, batch, nodes), root.embedding)
        # by the core's: children of expansion g are 1 + g * actions and so on
        self._index = np.full((batch, 1 + nodes * actions), Tree.UNVISITED, np.int32)
        self._discounts = np.zeros((batch, 1 + nodes * actions), dtype)
        self._has_ended = np.zeros((batch, 1 + nodes * actions), np.bool_)
        # by number of the expansion; where all is plain, both are the same
        self._expanded = np.tile(np.arange(nodes), (batch, 1))  # mctx's index of the node
        self._expansions = np.ones(batch, np.int64)
        self._begin(root)

    def _begin(self, root: RootFnOutput) -> None:
        forest, row = self._forest, self._row
        self._trees = trees = forest.create_trees(len(row))
        self._counts = np.full(len(row), self._actions, np.int32)
        self._index[:, 0] = Tree.ROOT_INDEX
        closed = self._invalid.copy()
        closed[closed.all(-1), 0] = False  # as mctx, which takes the first then
        # those with a prior count as valid
        priors = np.maximum(probabilities(root.prior_logits), np.finfo(np.float32).tiny)
        priors[closed] = 0
        forest.expand(
            trees,
            forest.select(trees),
            self._counts,
            priors=priors.ravel(),
            terminal=closed.ravel(),
        )
        forest.backup(
            trees, np.zeros(len(row), np.uint32), root.value.astype(np.float64), release=True
        )
        self._keep(0, root.prior_logits, root.value, root.embedding)

    def _keep(self, index: Any, logits: Any, value: Any, embedding: Any) -> None:
        rows = slice(None) if isinstance(index, int) else self._row
        self._logits[rows, index] = logits
        self._raw_values[rows, index] = value

        def put(kept: Any, fresh: Any) -> None:
            wanted = (kept.shape[0], *kept.shape[2:])
            if tuple(fresh.shape) != wanted:
                raise InvalidArgumentError(
                    f"recurrent_fn's embedding has shape {tuple(fresh.shape)}: must be {wanted}, "
                    "as at the root"
                )
            kept[rows, index] = fresh.detach() if hasattr(fresh, "detach") else fresh

        try:
            mapped(put, self._embeddings, embedding)
        except InvalidArgumentError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"recurrent_fn's embedding is not made of arrays as the root's is: {error!r}"
            ) from None

    def plan(self, gumbel: Any, max_considered: int) -> None:
        """Set the noise of the rule gumbel, which has one."""
        self._plan = gumbel, max_considered
        if gumbel is None:
            return
        for tree, noise in zip(self._trees.tolist(), gumbel, strict=True):
            self._forest.set_gumbel(
                tree,
                np.ascontiguousarray(noise, np.float32),
                num_simulations=max(1, self._raw_values.shape[1] - 1),
                max_considered=max_considered,
            )

    def simulate(
        self, simulation: int, model: Callable[[Any, Any], tuple[RecurrentFnOutput, Any]]
    ) -> None:
        row = self._row
        leaves = self._forest.select(self._trees)
        expansion, action = np.divmod(leaves.astype(np.int64) - 1, self._actions)
        parent = self._expanded[row, expansion]
        embedding = mapped(lambda kept: kept[row, parent], self._embeddings)
        told = model(action.astype(np.int32), embedding)
        if not isinstance(told, (tuple, list)) or len(told) != 2:
            raise InvalidArgumentError(
                f"recurrent_fn returned a {type(told).__name__}: must be (RecurrentFnOutput, "
                "embedding)"
            )
        step, reached = told
        reward, discount, logits, value = arrays = self._arrays(step)
        self._learn(discount)
        self._is_plain = self._is_plain and bool(discount.all())
        try:
            if self._is_plain:
                self._index[row, leaves] = simulation + 1
                self._discounts[row, leaves] = discount
                self._keep(simulation + 1, logits, value, reached)
                self._expansions += 1
                self._move(leaves, slice(None), slice(None), reward, logits, value)
            else:
                self._go_on(simulation, leaves, parent, reached, arrays)
        except InvalidArgumentError:
            for name, array in zip(RecurrentFnOutput._fields, arrays, strict=True):
                check(f"recurrent_fn's {name}", array, array.shape)
            raise

    def _go_on(
        self, simulation: int, leaves: Any, parent: Any, reached: Any, arrays: tuple[Any, ...]
    ) -> None:
        """Where some leaves may be known, and some are not to grow."""
        row = self._row
        reward, discount, logits, value = arrays
        index = self._index[row, leaves]
        is_new = index == Tree.UNVISITED
        index = np.where(is_new, simulation + 1, index)
        self._index[row, leaves] = index
        has_ended = self._has_ended[row, leaves]
        self._discounts[row, leaves] = np.where(has_ended, self._discounts[row, leaves], discount)
        self._keep(index, logits, value, reached)
        # an episode that ended goes on with nothing, and its last node stays a leaf
        has_ended |= is_new & (discount == 0)
        self._has_ended[row, leaves] = has_ended
        grows = is_new & ~has_ended
        if self._max_depth is not None:
            self._depth[row, index] = depth = self._depth[row, parent] + 1
            grows &= depth < self._max_depth
        self._expanded[row[grows], self._expansions[grows]] = index[grows]
        self._expansions += grows
        self._move(leaves, is_new, grows, reward, logits, np.where(has_ended, 0.0, value))

    def _move(
        self, leaves: Any, is_new: Any, grows: Any, reward: Any, logits: Any, value: Any
    ) -> None:
        """What the core is told of a simulation."""
        forest, trees = self._forest, self._trees
        forest.set_rewards(trees[is_new], leaves[is_new], reward[is_new].astype(np.float32))
        priors = probabilities(logits[grows]).ravel()
        forest.expand(trees[grows], leaves[grows], self._counts[grows], priors=priors)
        forest.backup(trees, leaves, value.astype(np.float64), release=True)

    def _arrays(self, step: RecurrentFnOutput) -> tuple[Any, Any, Any, Any]:
        batch = len(self._row)
        arrays = [as_array(x) for x in parts(step, RecurrentFnOutput, "recurrent_fn's output")]
        shapes = ((batch,), (batch,), (batch, self._actions), (batch,))
        for name, array, shape in zip(RecurrentFnOutput._fields, arrays, shapes, strict=True):
            if array.shape != shape:
                check(f"recurrent_fn's {name}", array, shape)
        reward, discount, logits, value = arrays
        return reward, discount, logits, value

    def _learn(self, discount: Any) -> None:
        """Which discount this search has; its trees go to a forest of that."""
        known = self._discount
        if known is not None and bool((discount == discount.dtype.type(known)).all()):
            return
        told = np.unique(discount[discount != 0])
        if known is not None:
            told = told[told != told.dtype.type(known)]
        if len(told) == 0:
            return
        if known is not None or len(told) > 1:
            first = told[0] if known is None else known
            raise InvalidArgumentError(
                f"recurrent_fn's discounts {first} and {told[-1]}: a search has one, besides 0 "
                "where an episode ends"
            )
        self._discount = float(told[0])
        params = self._forest.params
        if self._discount == params.discount:
            return
        # nothing that was backed up so far has been discounted by other than 0
        forest = self._new_forest(replace(params, discount=self._discount))
        trees = [forest.from_bytes(self._forest.to_bytes(tree)) for tree in self._trees.tolist()]
        self._forest, self._trees = forest, np.array(trees, np.int32)
        self.plan(*self._plan)
        forest.select(self._trees)  # the same leaves as there

    def tree(self, gumbel: Any) -> Tree:
        """Everything in mctx's form."""
        batch, nodes = self._raw_values.shape
        actions, dtype = self._actions, self._raw_values.dtype
        shape = (batch, nodes, actions)
        visits = np.zeros((batch, nodes), np.int32)
        values = np.zeros((batch, nodes), dtype)
        parents = np.full((batch, nodes), Tree.NO_PARENT, np.int32)
        actions_taken = np.full((batch, nodes), Tree.NO_PARENT, np.int32)
        index = np.full(shape, Tree.UNVISITED, np.int32)
        of_children = {
            "visits": np.zeros(shape, np.int32),
            "rewards": np.zeros(shape, dtype),
            "discounts": np.zeros(shape, dtype),
            "values": np.zeros(shape, dtype),
        }
        for b, tree in enumerate(self._trees.tolist()):
            columns = self._forest.columns(tree)
            mean = columns.value_sum / np.maximum(columns.visit_count, 1)
            count = len(mean)
            place = self._index[b, :count]
            ids = np.flatnonzero(place >= 0)
            visits[b, place[ids]] = columns.visit_count[ids]
            values[b, place[ids]] = mean[ids]
            below = ids[1:]
            parents[b, place[below]] = place[columns.parent[below]]
            actions_taken[b, place[below]] = (below - 1) % actions
            families = self._expanded[b, : self._expansions[b]]
            index[b, families] = place[1:].reshape(-1, actions)
            for name, column in (
                ("visits", columns.visit_count),
                ("rewards", columns.edge_reward),
                ("discounts", self._discounts[b, :count]),
                ("values", mean),
            ):
                of_children[name][b, families] = column[1:].reshape(-1, actions)
        return Tree(
            node_visits=visits,
            raw_values=self._raw_values,
            node_values=values,
            parents=parents,
            action_from_parent=actions_taken,
            children_index=index,
            children_prior_logits=self._logits,
            children_visits=of_children["visits"],
            children_rewards=of_children["rewards"],
            children_discounts=of_children["discounts"],
            children_values=of_children["values"],
            embeddings=self._embeddings,
            root_invalid_actions=self._invalid,
            extra_data=gumbel,
        )


def _room_for(x: Any, batch: int, nodes: int) -> Any:
    if getattr(x, "shape", ())[:1] != (batch,):
        told = f"has shape {tuple(x.shape)}" if hasattr(x, "shape") else f"holds {x!r}"
        raise InvalidArgumentError(
            f"root.embedding {told}: must be arrays of shape ({batch}, ...), None, or lists, "
            "tuples and dicts of these"
        )
    shape = (len(x), nodes, *x.shape[1:])
    return x.new_zeros(shape) if hasattr(x, "new_zeros") else np.zeros(shape, x.dtype)


def check(name: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise InvalidArgumentError unless an array has this shape and finite numbers in range."""
    if array.shape != shape:
        raise InvalidArgumentError(f"{name} has shape {array.shape}: must be {shape}")
    is_logits = name.endswith("prior_logits")  # of which any may be as low as they like
    is_bad = ~((array if is_logits else np.abs(array)) <= LARGEST_VALUE)
    if is_bad.any():
        place = tuple(int(i[0]) for i in np.nonzero(is_bad))
        raise InvalidArgumentError(
            f"{name} is {array[place]} at {place}: must be a number of at most 1e30"
            + ("" if is_logits else ", either sign")
        )
    if is_logits and (array == -np.inf).all(-1).any():
        raise InvalidArgumentError(f"{name}: all actions of one element are -inf")
