"""Hand-owned stub of the C++ extension; a test compares it with the built module."""

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_NODE: int
NODE_BYTES: int
SYNTHETIC_DEPTH: int
SYNTHETIC_EXPLORATION: float

class Rule(enum.Enum):
    uct = 0
    puct = 1
    mcts_g = 2
    best_first = 3
    muzero = 4
    gumbel = 5

class FirstPlay(enum.Enum):
    first = 0
    parent = 1
    value = 2

class BackupMode(enum.Enum):
    mean = 0
    max = 1

class SearchParams:
    def __init__(
        self,
        *,
        rule: Rule,
        backup: BackupMode,
        first_play: FirstPlay,
        revisit_terminal: bool,
        exploration: float,
        exploration_base: float,
        value_scale: float,
        maxvisit_init: float,
        first_play_value: float,
        virtual_loss: float,
        discount: float,
        value_min: float,
        value_max: float,
        max_nodes: int,
    ) -> None: ...

class Forest:
    def __init__(self, params: SearchParams) -> None: ...
    def create_trees(self, count: int) -> NDArray[np.int32]: ...
    def drop_trees(self, trees: NDArray[np.int32]) -> None: ...
    def select(self, trees: NDArray[np.int32] | int) -> NDArray[np.uint32] | int: ...
    def expand(
        self,
        trees: NDArray[np.int32] | int,
        nodes: NDArray[np.uint32] | int,
        counts: NDArray[np.int32] | int,
        priors: NDArray[np.float32] | None,
        terminal: NDArray[np.bool_] | None,
        rewards: NDArray[np.float32] | None,
    ) -> NDArray[np.uint32] | int: ...
    def backup(
        self,
        trees: NDArray[np.int32] | int,
        nodes: NDArray[np.uint32] | int,
        values: NDArray[np.float64] | float,
        release: bool,
    ) -> None: ...
    def advance(
        self,
        trees: NDArray[np.int32] | int,
        nodes: NDArray[np.uint32] | int,
        counts: NDArray[np.int32] | int,
        values: NDArray[np.float64] | float,
        priors: NDArray[np.float32] | None,
        terminal: NDArray[np.bool_] | None,
        rewards: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32]] | tuple[int, int]: ...
    def release(self, trees: NDArray[np.int32] | int, nodes: NDArray[np.uint32] | int) -> None: ...
    def set_rewards(
        self,
        trees: NDArray[np.int32],
        nodes: NDArray[np.uint32],
        rewards: NDArray[np.float32],
    ) -> None: ...
    def set_gumbel(
        self,
        tree: int,
        noise: NDArray[np.float32],
        num_simulations: int,
        max_considered: int,
    ) -> None: ...
    def reroot(self, tree: int, node: int) -> NDArray[np.uint32]: ...
    def children(self, tree: int, node: int) -> NDArray[np.uint32]: ...
    def columns(self, tree: int) -> dict[str, Any]: ...
    def num_nodes(self, tree: int) -> int: ...
    def has_open_leaf(self, tree: int) -> bool: ...
    def signature(self, tree: int) -> int: ...
    def check_invariants(self, tree: int) -> None: ...
    def to_bytes(self, tree: int) -> bytes: ...
    def from_bytes(self, data: bytes) -> int: ...
    @property
    def num_trees(self) -> int: ...

def instruction_set() -> str: ...
def run_synthetic(
    *, rule: Rule, children: int, simulations: int, batch: int, trees: int, repeats: int
) -> dict[str, Any]: ...
