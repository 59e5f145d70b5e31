"""What `init_tree` and `step` return: a search as of one moment, with treequest's views of it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from treequest.algos.tree import Node, Tree
from treequest.trial import Trial, TrialStore

from ... import _core
from ...errors import UnknownTrialError
from .trial_ids import number_of, ulid_of

__all__ = ["SearchState"]

_STATUS = ("RUNNING", "COMPLETE", "INVALID")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class SearchState(_core.TrialState):
    """The state of a search; made by an algorithm's `init_tree`.

    Copies of `step` share all memory with the state that they come from, and the states of nodes
    are shared, too: do not change those in place. Going on from a state that another one was made
    from replays the search until there, once. States can be pickled and deep-copied, however deep
    the tree; pickles hold the algorithm, too.

    Attributes
    ----------
    tree : treequest.algos.tree.Tree
        Made anew when it is read, O(nodes): changes of it change nothing.
    trial_store : treequest.trial.TrialStore
        Likewise.
    """

    __slots__ = ()

    @property
    def tree(self) -> Tree:
        states, numbers = self.nodes()
        tree: Tree = Tree.with_root_node()
        nodes: list[Node] = [tree.root]
        records = self.trials(0, 1 + max(numbers, default=-1))
        for state, number in zip(states, numbers, strict=True):
            trial = _trial(records[number])
            nodes.append(
                tree.add_node((state, trial.score), nodes[records[number][1]], trial.trial_id)
            )
        return tree

    @property
    def trial_store(self) -> TrialStore:
        store: TrialStore = TrialStore()
        trials = [_trial(record) for record in self.trials(0, 0xFFFFFFFF)]
        for trial in sorted(trials, key=lambda trial: trial.completed_at or ""):
            is_running = trial.trial_status == "RUNNING"
            of_status = store.running_trials if is_running else store.finished_trials
            of_status[trial.trial_id] = trial
        return store

    def __repr__(self) -> str:
        num_nodes, trials = len(self.pairs()), self.trials(0, 0xFFFFFFFF)
        running = sum(_STATUS[record[4]] == "RUNNING" for record in trials)
        return f"<search by {self.algorithm()!r}: {num_nodes} nodes, {running} trials running>"

    def asked(self, numbers: list[int]) -> list[Trial]:
        """The trials of ascending numbers."""
        if not numbers:
            return []
        return [_trial(record) for record in self.trials(numbers[0], numbers[-1] + 1)]

    def find(self, trial_id: str) -> tuple[int, Trial]:
        """The number of a trial, and the trial.

        Raises
        ------
        UnknownTrialError
            It is not a trial of this search.
        """
        number = number_of(trial_id)
        records = [] if number is None else self.trials(number, number + 1)
        trial = _trial(records[0]) if records else None
        if number is None or trial is None or trial.trial_id != trial_id:
            raise UnknownTrialError(
                f"trial {trial_id!r} is not of this search: tell it to the state that asked for it"
            )
        return number, trial

    def __reduce__(self) -> tuple[Any, ...]:
        states, _ = self.nodes()
        return _resume, (self.algorithm(), type(self), self.to_bytes(), states, self.actions())


def _resume(
    algorithm: _core.TrialAlgorithm,
    kind: type[SearchState],
    data: bytes,
    states: list[Any],
    actions: list[str],
) -> SearchState:
    return algorithm.resume(kind, data, states, actions)


def _trial(record: tuple[int, int, Any, str, int, float, int, int, int]) -> Trial:
    number, node, parent_state, action, status, score, created, completed, salt = record
    return Trial(
        trial_id=ulid_of(number, created, salt),
        node_to_expand=node - 1,  # theirs begin with -1, the root
        action=action,
        score=score if _STATUS[status] == "COMPLETE" else None,
        parent_state=parent_state,
        created_at=_iso(created),
        completed_at=_iso(completed) if status else None,
        trial_status=_STATUS[status],
    )


def _iso(nanoseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat()
