"""The core against the reference under random operations: volume, and shrinkable sequences."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tree_operations
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tree_operations import DESCEND, RULES, TAKE_PRIORS, WEIGH_SIBLINGS, Pair

from rtsearch_fast.forest import SearchParams


def test_core_when_driven_by_random_operations_never_differs_from_the_reference() -> None:
    operations = int(os.environ.get("RTS_OPERATIONS", "100000"))
    assert tree_operations.run(operations, seed=2411) >= operations


values = st.sampled_from([0.0, 0.25, 0.5, 1.0, 1 / 3]) | st.floats(0, 1)


class TreeMachine(RuleBasedStateMachine):
    """Any order of calls, right and wrong ones; `Pair` compares every answer."""

    @initialize(
        rule=st.sampled_from(RULES),
        backup=st.sampled_from(["mean", "max", "last"]),
        first_play=st.sampled_from(["first", "parent", "value", "prior", "reward"]),
        exploration=st.sampled_from([0.0, 0.4, 1.4]),
        virtual_loss=st.sampled_from([0.0, 1.0, 3.0]),
        discount=st.sampled_from([1.0, 0.9, 0.0]),
        revisit_terminal=st.booleans(),
        max_nodes=st.sampled_from([1, 8, 40, 200]),
    )
    def start(self, **params: Any) -> None:
        if params["rule"] in WEIGH_SIBLINGS or (
            params["rule"] in TAKE_PRIORS and params["first_play"] == "prior"
        ):
            params["first_play"] = None
        elif params["first_play"] == "reward" and params["rule"] not in DESCEND:
            params["first_play"] = "parent"
        self.pair = Pair(SearchParams(**params))
        self.pair.create(2)

    def tree(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(self.pair.alive), label="tree")

    def node(self, data: st.DataObject, tree: int) -> int:
        # One past the end now and then: that node is unknown.
        return data.draw(st.integers(0, self.pair.core.num_nodes(tree)), label="node")

    @precondition(lambda self: len(self.pair.alive) < 5)
    @rule(count=st.integers(-1, 2))
    def create(self, count: int) -> None:
        self.pair.create(count)

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), batch=st.integers(1, 8))
    def select(self, data: st.DataObject, batch: int) -> None:
        self.pair.select([self.tree(data)] * batch)

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), batch=st.integers(1, 3), with_columns=st.booleans())
    def expand(self, data: st.DataObject, batch: int, with_columns: bool) -> None:
        trees = [self.tree(data) for _ in range(batch)]
        nodes = [self.node(data, tree) for tree in trees]
        counts = data.draw(st.lists(st.integers(0, 5), min_size=batch, max_size=batch))
        columns: dict[str, Any] = {}
        if with_columns:
            total = sum(counts)

            def column(entries: st.SearchStrategy[Any], dtype: Any) -> Any:
                drawn = data.draw(st.lists(entries, min_size=total, max_size=total))
                return np.array(drawn, dtype)

            columns["priors"] = column(st.floats(0, 1, width=32), np.float32)
            columns["terminal"] = column(st.booleans(), np.bool_)
            columns["rewards"] = column(st.sampled_from([0.0, 0.5, -0.25]), np.float32)
        self.pair.call(
            "expand",
            np.array(trees, np.int32),
            np.array(nodes, np.uint32),
            np.array(counts, np.int32),
            **columns,
        )

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), value=values)
    def backup(self, data: st.DataObject, value: float) -> None:
        tree = self.tree(data)
        node = self.node(data, tree)
        self.pair.call(
            "backup", np.array([tree], np.int32), np.array([node], np.uint32), np.array([value])
        )

    @precondition(lambda self: any(self.pair.selected.values()))
    @rule(data=st.data(), value=st.none() | values, twice=st.booleans())
    def finish(self, data: st.DataObject, value: float | None, twice: bool) -> None:
        waiting = [(tree, leaf) for tree, taken in self.pair.selected.items() for leaf in taken]
        entries = data.draw(st.lists(st.sampled_from(waiting), min_size=1, max_size=4, unique=True))
        if twice:
            entries.append(entries[0])
        self.pair.finish(entries, None if value is None else [value] * len(entries))

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), reward=st.sampled_from([0.0, 0.5, -0.25]))
    def set_rewards(self, data: st.DataObject, reward: float) -> None:
        tree = self.tree(data)
        node = self.node(data, tree)
        self.pair.call(
            "set_rewards",
            np.array([tree], np.int32),
            np.array([node], np.uint32),
            np.array([reward], np.float32),
        )

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), simulations=st.integers(0, 30), considered=st.integers(0, 5))
    def set_gumbel(self, data: st.DataObject, simulations: int, considered: int) -> None:
        tree = self.tree(data)
        count = len(self.pair.core.children(tree, 0))
        noise = data.draw(st.lists(st.floats(-3, 6, width=32), min_size=count, max_size=count))
        self.pair.call(
            "set_gumbel",
            tree,
            np.array(noise, np.float32),
            num_simulations=simulations,
            max_considered=considered,
        )

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data(), seed=st.none() | st.integers(0, 2**64 - 1))
    def set_ties(self, data: st.DataObject, seed: int | None) -> None:
        self.pair.call("set_ties", np.array([self.tree(data)], np.int32), seed)

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data())
    def reroot(self, data: st.DataObject) -> None:
        tree = self.tree(data)
        self.pair.reroot(tree, self.node(data, tree))

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        self.pair.drop(self.tree(data))

    @precondition(lambda self: self.pair.alive)
    @rule(data=st.data())
    def export_and_import(self, data: st.DataObject) -> None:
        self.pair.export_and_import(self.tree(data))

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "pair"):
            self.pair.check_all()


TreeMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_core_when_driven_by_shrinkable_sequences_never_differs = TreeMachine.TestCase
