"""MCTS and MCTS_G: they differ by one selection rule of the core."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..answers import answer_key
from ..forest import NO_NODE, ROOT, Forest, SearchParams
from . import votes
from .options import Budget, SearchOptions
from .records import SearchTree
from .task import Child, Job, Outcome, Task

__all__ = ["TreeSearch"]


@dataclass(slots=True)
class _TreeState:
    """What Python keeps of a tree: per node, in the order of ids, its text and its place."""

    tree: int
    steps: list[tuple[str, ...]] = field(default_factory=lambda: [()])
    paths: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    num_tokens: list[int] = field(default_factory=lambda: [0])


class TreeSearch:
    """Monte-Carlo tree search with rollouts judged by a reward model (STILL-1, section on search).

    Parameters
    ----------
    rule : {"uct", "mcts_g"}
    options : SearchOptions
    budget : Budget
    """

    vote = "weighted"

    def __init__(
        self, rule: Literal["uct", "mcts_g"], options: SearchOptions, budget: Budget
    ) -> None:
        self.options = options
        max_nodes = (1 << 20) if budget.nodes is None else budget.nodes
        self.forest = Forest(
            SearchParams(rule=rule, exploration=options.exploration, max_nodes=max_nodes)
        )

    def start(self, task: Task) -> None:
        task.state = _TreeState(int(self.forest.create_trees(1)[0]))
        task.usage.nodes = 1

    def next_width(self, task: Task) -> int:
        if task.jobs_started == 0 and self.options.pre_expand:
            return self.options.pre_expand
        return self.options.width

    def select(self, tasks: Sequence[Task]) -> list[Job | None]:
        trees = np.array([task.state.tree for task in tasks], np.int32)
        jobs: list[Job | None] = []
        for task, leaf in zip(tasks, self.forest.select(trees).tolist(), strict=True):
            state = task.state
            jobs.append(
                None
                if leaf == NO_NODE
                else Job(
                    leaf,
                    state.steps[leaf],
                    state.paths[leaf],
                    state.num_tokens[leaf],
                    self.next_width(task),
                )
            )
        return jobs

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        trees = np.array([outcome.task.state.tree for outcome in outcomes], np.int32)
        leaves = np.array([outcome.job.node for outcome in outcomes], np.uint32)
        counts = np.array([len(outcome.children) for outcome in outcomes], np.int32)
        children = [child for outcome in outcomes for child in outcome.children]
        first = self.forest.expand(
            trees,
            leaves,
            counts,
            priors=np.array([min(1.0, child.prior) for child in children], np.float32),
            terminal=np.array([child.terminal for child in children], np.bool_),
        )
        values: list[float] = []
        nodes: list[int] = []
        frequencies: dict[str, float] = {}
        for outcome, first_child in zip(outcomes, first.tolist(), strict=True):
            state, job = outcome.task.state, outcome.job
            if self.options.self_consistency:
                frequencies = votes.answer_frequencies(outcome.task.candidates)
            for number, child in enumerate(outcome.children):
                nodes.append(first_child + number)
                values.append(self._value(child, frequencies))
                state.steps.append((*job.steps, child.step))
                state.paths.append((*job.path, number))
                state.num_tokens.append(child.num_tokens)
            outcome.task.usage.nodes += len(outcome.children)
        self.forest.backup(np.repeat(trees, counts), np.array(nodes, np.uint32), np.array(values))
        self.forest.release(trees, leaves)

    def _value(self, child: Child, frequencies: dict[str, float]) -> float:
        """Value of a new child: the mean score of the solutions that go through it.

        A solution that is cut off, names no answer, or got no verdict counts as 0: nothing speaks
        for it.
        """
        options, share = self.options, self.options.self_consistency
        scores = []
        for candidate in child.candidates:
            score = 0.0 if math.isnan(candidate.score) else candidate.score
            if share and candidate.answer is not None:
                frequency = frequencies.get(answer_key(candidate.answer), 0.0)
                score = (1 - share) * score + share * frequency
            scores.append(score)
        rolled = sum(scores) / len(scores) if scores else 0.0
        if options.value == "rollout" or child.terminal:
            return rolled
        prefix = 0.0 if math.isnan(child.prefix_score) else child.prefix_score
        return (
            prefix
            if options.value == "prefix"
            else (options.mix * prefix + (1 - options.mix) * rolled)
        )

    def cancel(self, task: Task, jobs: Sequence[Job]) -> None:
        self.forest.release(
            np.full(len(jobs), task.state.tree, np.int32),
            np.array([job.node for job in jobs], np.uint32),
        )

    def best_path(self, task: Task) -> int | None:
        """Descend by the highest mean value; the best candidate that starts with that path.

        Children that lead to no answer are passed over.
        """
        state: _TreeState = task.state
        columns = self.forest.columns(state.tree)
        means = columns.value_sum / np.maximum(1, columns.visit_count)
        node = ROOT
        best: int | None = None
        below = [i for i, candidate in enumerate(task.candidates) if candidate.answer is not None]
        while True:
            ways: dict[int, list[int]] = {}
            for child in self.forest.children(state.tree, node).tolist():
                prefix = state.steps[child]
                through = [i for i in below if task.candidates[i].steps[: len(prefix)] == prefix]
                if through:
                    ways[child] = through
            if not ways:
                return best
            node = max(ways, key=lambda child: means[child])  # the first of equals
            below = ways[node]
            best = max(below, key=lambda i: (np.nan_to_num(task.candidates[i].score), -i))

    def finish(self, task: Task) -> tuple[int, SearchTree]:
        state: _TreeState = task.state
        signature = self.forest.signature(state.tree)
        columns = self.forest.columns(state.tree)
        with np.errstate(invalid="ignore"):
            mean_value = columns.value_sum / columns.visit_count
        self.forest.drop_trees(np.array([state.tree], np.int32))
        task.state = None
        return signature, SearchTree(
            parent=(-1, *columns.parent[1:].tolist()),
            step=tuple(steps[-1] if steps else "" for steps in state.steps),
            visit_count=tuple(columns.visit_count.tolist()),
            mean_value=tuple(mean_value.tolist()),
            prior=tuple(columns.prior.tolist()),
            terminal=tuple(columns.terminal.tolist()),
        )
