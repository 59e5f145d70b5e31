"""The core in plain Python: slow, obvious, and the oracle that the C++ core is tested against.

Read this file to learn what the search does. `ReferenceForest` has the methods of
`rtsearch_fast.Forest` and gives the same answers to the last bit, one node at a time and with
every selection computed from scratch.

Value of a child as its parent sees it, with f simulations in flight through it::

    V = (value_sum + w f lost_value) / (N + w f)         w = virtual_loss
    Q = edge_reward + discount * V                       first-play value where N + w f = 0
                                                         (first_play "prior": the child's prior)

lost_value is value_min, with a negative discount value_max.

Score of a child or leaf, with N' = N + f::

    uct, mcts_g    Q + c * sqrt(ln N'(parent)) / sqrt(max(1, N'))
    puct           Q + c * prior * sqrt(N'(parent)) / (1 + N')
    alphazero      the same with c(N'(parent)) of muzero
    best_first     Q

"mcts_g" and "best_first" take the highest score among all open leaves of the tree, and leave f out
of both formulas: a leaf in flight is closed to them, and a batch of B gets the best B of the
others. The other rules descend from the root by the highest score to a leaf.

"muzero" (Schrittwieser et al. 2020, arXiv 1911.08265, appendix B) weighs a child against its
siblings. Low and high are the least and the greatest of the parent's mean value and the Q of the
visited children; low is the Q of the others::

    score   (Q - low) / max(high - low, 1e-8) + prior * sqrt(n) * c(n) / (1 + N')     n = N'(parent)
    c(n)    c + ln((n + exploration_base + 1) / exploration_base)

"muzero_tree" is MuZero as LightZero 0.2.0 has it (Niu et al. 2023, arXiv 2310.08348). Low and high
are the least and the greatest Q that any backup found on its path since the tree began (or was
re-rooted or imported: then those of all visited nodes), the root's own included; a backup of the
root itself does not count. M is the Q of the unvisited children: the mean of the Q of the visited,
below the root and where there are none of these and of the parent's own M (0 above the root); with
a negative discount, of what the Q would be with a positive one::

    scaled  (Q - low) / max(high - low, least_span)      Q where high > low does not hold
    score   min(max(scaled, 0), 1) + prior * sqrt(n) * c(n) / (1 + N')
    n       max(0, N'(parent) - 1)

Its ties go to the lower id, or, after `set_ties`, by chance to one within 1e-6 of the best.

"gumbel" (Danihelka et al., "Policy improvement by planning with Gumbel", ICLR 2022) gives unvisited
children the Q v_mix, a mixture of the parent's raw value v, which is the first value that was
backed up to it, and of the Q of the visited children, over which these sums run. Low and high are
now those of Q alone::

    v_mix   (v + sum(N') * sum(prior * Q) / sum(prior)) / (1 + sum(N'))
    sigma   (maxvisit_init + max(N')) * value_scale * (Q - low) / max(high - low, 1e-8)
    score   softmax(ln prior + sigma) - N' / (1 + sum(N'))                       below the root
            ln prior + sigma + noise                                             at the root

At the root, children come first whose number of visits it is the turn of in sequential halving.

Ties of the other rules go to the higher Q, then to fewer visits N', then to the lower node id.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import (
    ArenaFullError,
    InvalidArgumentError,
    TreeStateError,
    UnknownNodeError,
    UnknownTreeError,
)
from .forest import NO_NODE, Columns, SearchParams

__all__ = ["ReferenceForest"]

_MASK = (1 << 64) - 1
_MIX_SEED = 0x9E3779B97F4A7C15


def _log(x: float) -> float:
    """ln x by basic operations alone (the C library's differs in the last bit by version)."""
    m, exponent = math.frexp(x)
    if m < 0.70710678118654752:
        m *= 2
        exponent -= 1
    s = (m - 1) / (m + 1)
    z = s * s
    series = 1.0 / 21
    for k in range(9, -1, -1):
        series = series * z + 1.0 / (2 * k + 1)
    return exponent * 0.69314718055994531 + 2 * s * series


def _exp(x: float) -> float:
    """e to the power of x <= 0 by basic operations alone; 0 below the normal numbers."""
    if x < -708:
        return 0.0
    k = math.floor(x * 1.4426950408889634 + 0.5)
    r = x - k * 0.69314718036912382 - k * 1.9082149292705877e-10
    series = 0.0
    for i in range(13, -1, -1):
        series = series * r + 1.0 / math.factorial(i)
    return math.ldexp(series, k)


def _considered_visits(considered: int, num_simulations: int, index: int) -> int:
    """Sequential halving: the number of visits whose turn it is in simulation `index`."""
    if considered <= 1:
        return index
    rounds = math.ceil(math.log2(considered))
    visits = 0  # of each child that is still considered, before this round
    while True:
        each = max(1, num_simulations // (rounds * considered))
        if index < each * considered:
            return visits + index // considered
        visits += each
        index -= each * considered
        considered = max(2, considered // 2)


def _mix(state: int, word: int) -> int:
    z = ((state ^ word) + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


@dataclass(frozen=True)
class _Plan:
    """What `set_gumbel` sets."""

    noise: list[float] = field(default_factory=list)
    num_simulations: int = 1
    max_considered: int = 16


@dataclass(slots=True, eq=False)
class _Node:
    id: int
    parent: _Node | None
    prior: float
    edge_reward: float
    terminal: bool
    children: list[_Node] = field(default_factory=list)
    visit_count: int = 0
    value_sum: float = 0.0
    raw_value: float = 0.0
    plan: _Plan | None = None
    span: tuple[float, float] = (math.inf, -math.inf)  # low and high; of a root
    ties: int = 0  # random number of the last descent, 0 for none; of a root
    in_flight: int = 0
    expanded: bool = False
    selected: bool = False

    def path(self) -> list[_Node]:
        """This node, its parent, and so on to the root."""
        nodes = [self]
        while nodes[-1].parent is not None:
            nodes.append(nodes[-1].parent)
        return nodes


class ReferenceForest:
    """Twin of `rtsearch_fast.Forest`; see there for the methods' contracts."""

    def __init__(self, params: SearchParams | None = None) -> None:
        self.params = params if params is not None else SearchParams()
        self._trees: list[list[_Node] | None] = []

    # --- the four moves --------------------------------------------------------------

    def select(self, trees: Any) -> Any:
        for tree in trees:
            self._tree(tree)
        return np.array([self._select(self._tree(tree)) for tree in trees], np.uint32)

    def _select(self, nodes: list[_Node]) -> int:
        root = nodes[0]
        if not self._has_open_leaf(root) or root.in_flight == 65535:
            return NO_NODE
        if self._is_global:
            leaf = max(filter(self._is_open_leaf, nodes), key=self._rank)
        else:
            leaf, mean = root, 0.0
            if root.ties:
                root.ties = _mix(root.ties, _MIX_SEED) | 1
            while leaf.expanded:
                rank = self._rank_below(leaf)
                if self.params.rule == "muzero_tree":
                    mean = self._mean_q(leaf, mean)
                    rank = self._muzero_tree_rank(leaf, mean, root.span)
                children = list(filter(self._has_open_leaf, leaf.children))
                leaf = max(children, key=rank)
                if root.ties:
                    leaf = self._drawn(root.ties, children[children.index(leaf) :], rank)
        leaf.selected = True
        for node in leaf.path():
            node.in_flight += 1
        return leaf.id

    def expand(
        self,
        trees: Any,
        nodes: Any,
        counts: Any,
        *,
        priors: Any = None,
        terminal: Any = None,
        rewards: Any = None,
    ) -> Any:
        parents = self._nodes(trees, nodes)
        self._check_children(trees, parents, counts, priors, terminal, rewards)
        first, offset = [], 0
        for tree, parent, count in zip(trees, parents, counts, strict=True):
            tree_nodes = self._tree(tree)
            first.append(len(tree_nodes))
            parent.expanded = True
            for i in range(offset, offset + int(count)):
                child = _Node(
                    id=len(tree_nodes),
                    parent=parent,
                    prior=float(np.float32(1) / np.float32(count))
                    if priors is None
                    else float(priors[i]),
                    edge_reward=0.0 if rewards is None else float(rewards[i]),
                    terminal=terminal is not None and bool(terminal[i]),
                )
                tree_nodes.append(child)
                parent.children.append(child)
            offset += int(count)
        return np.array(first, np.uint32)

    def _check_children(
        self,
        trees: Any,
        parents: list[_Node],
        counts: Any,
        priors: Any,
        terminal: Any,
        rewards: Any,
    ) -> None:
        growth: dict[int, int] = {}
        for parent, count in zip(parents, counts, strict=True):
            if count < 0:
                raise InvalidArgumentError(f"counts={count}")
            if parent.terminal:
                raise TreeStateError(f"node {parent.id} is terminal")
        for tree, count in zip(trees, counts, strict=True):
            growth[int(tree)] = growth.get(int(tree), 0) + int(count)
            if len(self._tree(tree)) + growth[int(tree)] > self.params.max_nodes:
                raise ArenaFullError(f"tree {tree}")
        total = int(sum(counts))
        for name, column in (("priors", priors), ("terminal", terminal), ("rewards", rewards)):
            if column is not None and len(column) != total:
                raise InvalidArgumentError(f"{name} has {len(column)} entries, expected {total}")
        if priors is not None and not all(map(self._is_prior, priors)):
            raise InvalidArgumentError(f"priors={priors}")
        if rewards is not None and not all(math.isfinite(r) for r in rewards):
            raise InvalidArgumentError("rewards must be finite")

    def _is_prior(self, prior: float) -> bool:
        return math.isfinite(prior) if self.params.first_play == "prior" else 0 <= prior <= 1

    def backup(self, trees: Any, nodes: Any, values: Any, *, release: bool = False) -> None:
        starts = self._nodes(trees, nodes)
        self._check_values(values)
        if release:
            self._check_selected(starts)
        for start, value in zip(starts, values, strict=True):
            value = float(value)
            for node in start.path():
                self._visit(node, value)
                value = node.edge_reward + self.params.discount * value
            if release:
                self._release(start)
            if start.parent is not None:
                self._widen(start.path()[-1], start.path())

    def _widen(self, root: _Node, nodes: list[_Node]) -> None:
        """Take the Q of visited nodes into the range."""
        for node in nodes:
            q = node.edge_reward + self.params.discount * (self._total(node) / node.visit_count)
            root.span = (min(root.span[0], q), max(root.span[1], q))

    def _visit(self, node: _Node, value: float) -> None:
        if node.visit_count == 0:
            node.raw_value = value
        if self.params.backup == "mean":
            node.value_sum += value
        elif self.params.backup == "max":
            node.value_sum = max(node.value_sum, value) if node.visit_count else value
        else:
            node.value_sum = value
        node.visit_count += 1

    def backup_path(self, tree: int, node: int, values: Any) -> None:
        (start,) = self._nodes([tree], [node])
        path = start.path()
        if len(values) != len(path):
            raise InvalidArgumentError(f"{len(values)} values for {len(path)} nodes")
        self._check_values(values)
        for above, value in zip(path, values, strict=True):
            self._visit(above, float(value))
        if start.parent is not None:
            self._widen(path[-1], path)

    def walk(self, tree: int, node: int, margin: float) -> int:
        (at,) = self._nodes([tree], [node])
        if self.params.rule not in ("uct", "puct", "alphazero") or not margin >= 0:
            raise InvalidArgumentError(f"rule={self.params.rule}, {margin=}")
        while at.children:
            best, *others = sorted(at.children, key=self._rank, reverse=True)
            if others and not self._rank(best)[0] - self._rank(others[0])[0] > margin:
                break
            at = best
        return at.id

    def _check_values(self, values: Any) -> None:
        for value in values:
            if not self.params.value_min <= value <= self.params.value_max:
                raise InvalidArgumentError(f"value {value}")

    def advance(
        self,
        trees: Any,
        nodes: Any,
        counts: Any,
        values: Any,
        *,
        priors: Any = None,
        terminal: Any = None,
        rewards: Any = None,
    ) -> Any:
        leaves = self._nodes(trees, nodes)
        self._check_children(trees, leaves, counts, priors, terminal, rewards)
        self._check_values(values)
        self._check_selected(leaves)
        first = self.expand(trees, nodes, counts, priors=priors, terminal=terminal, rewards=rewards)
        self.backup(trees, nodes, values, release=True)
        return first, self.select(trees)

    def release(self, trees: Any, nodes: Any) -> None:
        starts = self._nodes(trees, nodes)
        self._check_selected(starts)
        for node in starts:
            self._release(node)

    def _release(self, leaf: _Node) -> None:
        leaf.selected = False
        for node in leaf.path():
            node.in_flight -= 1

    def set_rewards(self, trees: Any, nodes: Any, rewards: Any) -> None:
        below = self._nodes(trees, nodes)
        if len(rewards) != len(below) or not all(math.isfinite(r) for r in rewards):
            raise InvalidArgumentError(f"rewards={rewards}")
        if any(node.parent is None or node.visit_count for node in below):
            raise TreeStateError("a node is the root or has visits")
        for node, reward in zip(below, rewards, strict=True):
            node.edge_reward = float(reward)

    def set_gumbel(
        self, tree: int, noise: Any, *, num_simulations: int, max_considered: int = 16
    ) -> None:
        root = self._tree(tree)[0]
        if self.params.rule != "gumbel":
            raise InvalidArgumentError(f"rule={self.params.rule}")
        if len(noise) != len(root.children) or not all(math.isfinite(g) for g in noise):
            raise InvalidArgumentError(f"noise={noise}")
        if not (1 <= num_simulations < 2**31 and 1 <= max_considered < 2**31):
            raise InvalidArgumentError(f"{num_simulations=}, {max_considered=}")
        root.plan = _Plan([float(g) for g in noise], num_simulations, max_considered)

    def set_ties(self, trees: Any, seed: int | None) -> None:
        roots = [self._tree(tree)[0] for tree in trees]
        if self.params.rule != "muzero_tree":
            raise InvalidArgumentError(f"rule={self.params.rule}")
        for place, root in enumerate(roots):
            root.ties = 0 if seed is None else _mix(_mix(_MIX_SEED, seed), place) | 1

    # --- selection, from scratch -----------------------------------------------------

    @property
    def _is_global(self) -> bool:
        return self.params.rule in ("mcts_g", "best_first")

    def _is_open_leaf(self, node: _Node) -> bool:
        return (
            not node.expanded
            and not node.selected
            and (not node.terminal or self.params.revisit_terminal)
        )

    def _has_open_leaf(self, node: _Node) -> bool:
        pending = [node]
        while pending:
            node = pending.pop()
            if self._is_open_leaf(node):
                return True
            pending.extend(node.children)
        return False

    def _total(self, node: _Node) -> float:
        if self.params.backup == "mean":
            return node.value_sum
        return node.value_sum * node.visit_count

    def _value_or_first_play(self, node: _Node, parent: _Node) -> float:
        """Q, the first-play value where it has none."""
        value = self._value(node)
        if value is not None:
            return value
        if self.params.first_play == "prior":
            return node.prior
        if self.params.first_play == "reward":
            return node.edge_reward
        return self._first_play(parent)

    def _growing_exploration(self, visits: int) -> float:
        """c(n) of muzero and alphazero."""
        base = self.params.exploration_base
        return self.params.exploration + _log((visits + base + 1.0) / base)

    def _first_play(self, parent: _Node) -> float:
        params = self.params
        if params.first_play == "value":
            return params.first_play_value
        mean = params.value_min
        if parent.visit_count:
            mean = self._total(parent) / parent.visit_count
        if params.first_play == "first":
            return mean
        return max(params.value_min, mean - params.first_play_value)

    def _visits(self, node: _Node) -> int:
        """N'."""
        return node.visit_count + (0 if self._is_global else node.in_flight)

    def _value(self, node: _Node, discount: float | None = None) -> float | None:
        """Q, None where N + w f = 0."""
        discount = self.params.discount if discount is None else discount
        loss = self.params.virtual_loss * (self._visits(node) - node.visit_count)
        weight = node.visit_count + loss
        if weight == 0:
            return None
        lost = self.params.value_max if self.params.discount < 0 else self.params.value_min
        mean = (self._total(node) + loss * lost) / weight
        return node.edge_reward + discount * mean

    def _rank_below(self, parent: _Node) -> Callable[[_Node], tuple[float, ...]]:
        """Score and tie-breaks of the children, to be maximised."""
        if self.params.rule == "muzero":
            return self._muzero_rank(parent)
        if self.params.rule == "gumbel":
            return self._gumbel_rank(parent)
        return self._rank

    def _rank(self, node: _Node) -> tuple[float, ...]:
        params, parent = self.params, node.parent
        if parent is None:  # the root has no rival
            return (0.0, 0.0, 0, 0)
        visits, parent_visits = self._visits(node), self._visits(parent)
        value = self._value_or_first_play(node, parent)
        if visits == 0 and params.first_play == "first":
            score = math.inf
        elif params.rule == "puct":
            score = value + params.exploration * math.sqrt(parent_visits) * node.prior / (
                1.0 + visits
            )
        elif params.rule == "alphazero":
            exploration = math.sqrt(parent_visits) * self._growing_exploration(parent_visits)
            score = value + exploration * node.prior / (1.0 + visits)
        elif params.rule == "best_first":
            score = value
        else:
            root_log = math.sqrt(_log(parent_visits)) if parent_visits else 0.0
            score = value + params.exploration * root_log * (1.0 / math.sqrt(max(1, visits)))
        return (score, value, -visits, -node.id)

    def _muzero_rank(self, parent: _Node) -> Callable[[_Node], tuple[float, ...]]:
        visits = self._visits(parent)
        exploration = math.sqrt(visits) * self._growing_exploration(visits)

        values = {child: self._value(child) for child in parent.children}
        known = [self._first_play(parent), *(v for v in values.values() if v is not None)]
        low, high = min(known), max(known)

        def rank(child: _Node) -> tuple[float, ...]:
            value, n = values[child], self._visits(child)
            if value is None:
                value = low
            score = (value - low) / max(high - low, 1e-8) + exploration * child.prior / (1.0 + n)
            return (score, value, -n, -child.id)

        return rank

    def _mean_q(self, parent: _Node, above: float) -> float:
        """M."""
        values = [self._value(child, abs(self.params.discount)) for child in parent.children]
        total, count = 0.0, 0
        for value in values:
            if value is not None:
                total, count = total + value, count + 1
        return total / count if parent.parent is None and count else (above + total) / (count + 1)

    def _muzero_tree_rank(
        self, parent: _Node, mean: float, span: tuple[float, float]
    ) -> Callable[[_Node], tuple[float, ...]]:
        low, high = span
        base = self.params.exploration_base
        n = max(0, self._visits(parent) - 1)
        exploration = math.sqrt(n) * (self.params.exploration + _log((n + base + 1.0) / base))

        def rank(child: _Node) -> tuple[float, ...]:
            value = self._value(child)
            scaled = mean if value is None else value
            if high > low:
                scaled = (scaled - low) / max(high - low, self.params.least_span)
            bonus = exploration * child.prior / (1.0 + self._visits(child))
            return (min(max(scaled, 0.0), 1.0) + bonus, -child.id)

        return rank

    @staticmethod
    def _drawn(
        ties: int, children: list[_Node], rank: Callable[[_Node], tuple[float, ...]]
    ) -> _Node:
        """One of those that are hardly worse than the first, by chance."""
        least = rank(children[0])[0] - 1e-6
        tied = [child for child in children if rank(child)[0] >= least]
        parent = children[0].parent
        assert parent is not None
        return tied[((_mix(ties, parent.id) | 1) >> 32) % len(tied)]

    def _gumbel_rank(self, parent: _Node) -> Callable[[_Node], tuple[float, ...]]:
        children, params = parent.children, self.params
        visits = {child: self._visits(child) for child in children}
        values = self._completed_values(parent)
        low, high = min(values.values()), max(values.values())
        factor = (params.maxvisit_init + max(visits.values())) * params.value_scale
        score = {
            child: (_log(child.prior) if child.prior > 0 else -1e9)
            + factor * ((values[child] - low) / max(high - low, 1e-8))
            for child in children
        }
        considered = set(children)
        if parent.parent is None:
            plan = parent.plan or _Plan()
            for child, gumbel in zip(children, plan.noise, strict=False):
                score[child] += gumbel
            possible = sum(child.prior > 0 for child in children)
            turn = _considered_visits(
                min(plan.max_considered, possible), plan.num_simulations, sum(visits.values())
            )
            considered = {child for child in children if visits[child] == turn}
        else:
            highest = max(score.values())
            weights = {child: _exp(score[child] - highest) for child in children}
            total = 0.0
            for weight in weights.values():  # not sum(), which newer Pythons do more exactly
                total += weight
            all_visits = 1.0 + sum(visits.values())
            score = {
                child: weights[child] / total - visits[child] / all_visits for child in children
            }

        def rank(child: _Node) -> tuple[float, ...]:
            return (child in considered, score[child], values[child], -visits[child], -child.id)

        return rank

    def _completed_values(self, parent: _Node) -> dict[_Node, float]:
        """Q of the visited children, v_mix for the others."""
        values = {child: self._value(child) for child in parent.children}
        raw_value = parent.raw_value if parent.visit_count else self.params.value_min
        visits, priors, weighted = 0.0, 0.0, 0.0
        for child, value in values.items():
            if value is not None:
                prior = max(child.prior, 2.0**-126)  # the least normal float32, against 0 / 0
                visits += self._visits(child)
                priors += prior
                weighted += prior * value
        mixed = raw_value
        if priors > 0:
            mixed = (raw_value + visits * (weighted / priors)) / (visits + 1.0)
        return {child: mixed if value is None else value for child, value in values.items()}

    # --- trees -----------------------------------------------------------------------

    @property
    def num_trees(self) -> int:
        return sum(tree is not None for tree in self._trees)

    def create_trees(self, count: int = 1) -> Any:
        if count < 0:
            raise InvalidArgumentError(f"count={count}")
        first = len(self._trees)
        self._trees += [[self._root()] for _ in range(count)]
        return np.arange(first, first + count, dtype=np.int32)

    def drop_trees(self, trees: Any) -> None:
        for tree in trees:
            self._tree(tree)
        if len(set(map(int, trees))) < len(trees):
            raise UnknownTreeError("a tree is named twice")
        for tree in trees:
            self._trees[tree] = None

    def reroot(self, tree: int, node: int) -> Any:
        nodes = self._tree(tree)
        (root,) = self._nodes([tree], [node])
        if nodes[0].in_flight:
            raise TreeStateError("leaves are in flight")
        kept = [n for n in nodes if root in n.path()]
        mapping = np.full(len(nodes), NO_NODE, np.uint32)
        mapping[[n.id for n in kept]] = np.arange(len(kept))
        for new, n in enumerate(kept):
            n.id = new
        root.parent, root.prior, root.edge_reward = None, 1.0, 0.0
        root.plan, root.ties = None, nodes[0].ties
        self._begin_range(kept)
        self._trees[tree] = kept
        return mapping

    def _begin_range(self, nodes: list[_Node]) -> None:
        nodes[0].span = (math.inf, -math.inf)
        self._widen(nodes[0], [node for node in nodes[1:] if node.visit_count])

    def children(self, tree: int, node: int) -> Any:
        (parent,) = self._nodes([tree], [node])
        return np.array([child.id for child in parent.children], np.uint32)

    def columns(self, tree: int) -> Columns:
        nodes = self._tree(tree)
        return Columns(
            parent=np.array(
                [NO_NODE if n.parent is None else n.parent.id for n in nodes], np.uint32
            ),
            visit_count=np.array([n.visit_count for n in nodes], np.uint32),
            value_sum=np.array([n.value_sum for n in nodes], np.float64),
            prior=np.array([n.prior for n in nodes], np.float32),
            edge_reward=np.array([n.edge_reward for n in nodes], np.float32),
            in_flight=np.array([n.in_flight for n in nodes], np.uint16),
            terminal=np.array([n.terminal for n in nodes], np.bool_),
            expanded=np.array([n.expanded for n in nodes], np.bool_),
        )

    def num_nodes(self, tree: int) -> int:
        return len(self._tree(tree))

    def has_open_leaf(self, tree: int) -> bool:
        return self._has_open_leaf(self._tree(tree)[0])

    def signature(self, tree: int) -> int:
        nodes = self._tree(tree)
        state = _mix(_MIX_SEED, len(nodes))
        for n in nodes:
            parent = NO_NODE if n.parent is None else n.parent.id
            (value_bits,) = struct.unpack("<Q", struct.pack("<d", n.value_sum))
            reward_bits, prior_bits = struct.unpack(
                "<II", struct.pack("<ff", n.edge_reward, n.prior)
            )
            state = _mix(state, parent << 32 | n.visit_count)
            state = _mix(state, value_bits)
            state = _mix(state, prior_bits << 32 | reward_bits)
            state = _mix(state, n.terminal | n.expanded << 1)
        return state

    @staticmethod
    def _root() -> _Node:
        return _Node(id=0, parent=None, prior=1.0, edge_reward=0.0, terminal=False)

    def _tree(self, tree: int) -> list[_Node]:
        nodes = self._trees[tree] if 0 <= tree < len(self._trees) else None
        if nodes is None:
            raise UnknownTreeError(f"tree {tree}")
        return nodes

    def _nodes(self, trees: Any, nodes: Any) -> list[_Node]:
        found = []
        for tree, node in zip(trees, nodes, strict=True):
            tree_nodes = self._tree(tree)
            if not 0 <= node < len(tree_nodes):
                raise UnknownNodeError(f"node {node} of tree {tree}")
            found.append(tree_nodes[node])
        return found

    @staticmethod
    def _check_selected(nodes: list[_Node]) -> None:
        if not all(node.selected for node in nodes) or len(set(map(id, nodes))) < len(nodes):
            raise TreeStateError("a node is not in flight, or named twice")
