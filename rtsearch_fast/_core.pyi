"""Hand-owned stub of the C++ extension; a test compares it with the built module."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

_TreeIds: TypeAlias = NDArray[np.int32]
_NodeIds: TypeAlias = NDArray[np.uint32]
# what LightZero's trees take and give
_Numbers = Sequence[float] | NDArray[np.floating[Any]]
_Rows = Sequence[Sequence[float]] | NDArray[np.floating[Any]]
_Players = Sequence[int] | NDArray[np.integer[Any]]
_Leaves = tuple[list[int], list[int], list[int], list[int]]
_State = TypeVar("_State", bound=TrialState)

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
    muzero_tree = 6
    alphazero = 7

class FirstPlay(enum.Enum):
    first = 0
    parent = 1
    value = 2
    prior = 3
    reward = 4

class BackupMode(enum.Enum):
    mean = 0
    max = 1
    last = 2

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
        least_span: float,
        first_play_value: float,
        virtual_loss: float,
        discount: float,
        value_min: float,
        value_max: float,
        max_nodes: int,
    ) -> None: ...

class Forest:
    def __init__(self, params: SearchParams) -> None: ...
    def create_trees(self, count: int = 1) -> _TreeIds: ...
    def drop_trees(self, trees: _TreeIds) -> None: ...
    @overload
    def select(self, trees: _TreeIds) -> _NodeIds: ...
    @overload
    def select(self, trees: int) -> int: ...
    @overload
    def expand(
        self,
        trees: _TreeIds,
        nodes: _NodeIds,
        counts: NDArray[np.int32],
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> _NodeIds: ...
    @overload
    def expand(
        self,
        trees: int,
        nodes: int,
        counts: int,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> int: ...
    @overload
    def backup(
        self,
        trees: _TreeIds,
        nodes: _NodeIds,
        values: NDArray[np.float64],
        *,
        release: bool = False,
    ) -> None: ...
    @overload
    def backup(self, trees: int, nodes: int, values: float, *, release: bool = False) -> None: ...
    @overload
    def advance(
        self,
        trees: _TreeIds,
        nodes: _NodeIds,
        counts: NDArray[np.int32],
        values: NDArray[np.float64],
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> tuple[_NodeIds, _NodeIds]: ...
    @overload
    def advance(
        self,
        trees: int,
        nodes: int,
        counts: int,
        values: float,
        *,
        priors: NDArray[np.float32] | None = None,
        terminal: NDArray[np.bool_] | None = None,
        rewards: NDArray[np.float32] | None = None,
    ) -> tuple[int, int]: ...
    @overload
    def release(self, trees: _TreeIds, nodes: _NodeIds) -> None: ...
    @overload
    def release(self, trees: int, nodes: int) -> None: ...
    def backup_path(self, tree: int, node: int, values: NDArray[np.float64]) -> None: ...
    def walk(self, tree: int, node: int, margin: float) -> int: ...
    def set_rewards(
        self, trees: _TreeIds, nodes: _NodeIds, rewards: NDArray[np.float32]
    ) -> None: ...
    def set_gumbel(
        self,
        tree: int,
        noise: NDArray[np.float32],
        *,
        num_simulations: int,
        max_considered: int = 16,
    ) -> None: ...
    def set_ties(self, trees: _TreeIds, seed: int | None) -> None: ...
    def reroot(self, tree: int, node: int) -> _NodeIds: ...
    def children(self, tree: int, node: int) -> _NodeIds: ...
    def _columns(self, tree: int) -> dict[str, Any]: ...
    def num_nodes(self, tree: int) -> int: ...
    def has_open_leaf(self, tree: int) -> bool: ...
    def signature(self, tree: int) -> int: ...
    def check_invariants(self, tree: int) -> None: ...
    def to_bytes(self, tree: int) -> bytes: ...
    def from_bytes(self, data: bytes) -> int: ...
    @property
    def num_trees(self) -> int: ...

class MinMaxStatsList:
    def __init__(self, num: int) -> None: ...
    def set_delta(self, value_delta_max: float) -> None: ...

class ResultsWrapper:
    def __init__(self, num: int) -> None: ...
    def get_search_len(self) -> list[int]: ...

class MuZeroRoots:
    def __init__(self, root_num: int, legal_actions_list: Sequence[Sequence[int]]) -> None: ...
    def prepare(
        self,
        root_noise_weight: float,
        noises: _Rows,
        value_prefix_pool: _Numbers,
        policy_logits_pool: _Rows,
        to_play_batch: _Players,
    ) -> None: ...
    def prepare_no_noise(
        self, value_prefix_pool: _Numbers, policy_logits_pool: _Rows, to_play_batch: _Players
    ) -> None: ...
    def get_trajectories(self) -> list[list[int]]: ...
    def get_distributions(self) -> list[list[int]]: ...
    def get_values(self) -> list[float]: ...
    def clear(self) -> None: ...
    @property
    def num(self) -> int: ...

class GumbelRoots:
    def __init__(self, root_num: int, legal_actions_list: Sequence[Sequence[int]]) -> None: ...
    def prepare(
        self,
        root_noise_weight: float,
        noises: _Rows,
        value_prefix_pool: _Numbers,
        value_pool: _Numbers,
        policy_logits_pool: _Rows,
        to_play_batch: _Players,
    ) -> None: ...
    def prepare_no_noise(
        self,
        value_prefix_pool: _Numbers,
        value_pool: _Numbers,
        policy_logits_pool: _Rows,
        to_play_batch: _Players,
    ) -> None: ...
    def get_trajectories(self) -> list[list[int]]: ...
    def get_distributions(self) -> list[list[int]]: ...
    def get_values(self) -> list[float]: ...
    def get_children_values(self, discount: float, action_space_size: int) -> list[list[float]]: ...
    def get_policies(self, discount: float, action_space_size: int) -> list[list[float]]: ...
    def clear(self) -> None: ...
    @property
    def num(self) -> int: ...

def muzero_batch_traverse(
    roots: MuZeroRoots,
    pb_c_base: int,
    pb_c_init: float,
    discount_factor: float,
    min_max_stats_lst: MinMaxStatsList,
    results: ResultsWrapper,
    virtual_to_play_batch: _Players,
    deterministic: bool = False,
) -> _Leaves: ...
def muzero_batch_backpropagate(
    current_latent_state_index: int,
    discount_factor: float,
    value_prefixs: _Numbers,
    values: _Numbers,
    policies: _Rows,
    min_max_stats_lst: MinMaxStatsList,
    results: ResultsWrapper,
    to_play_batch: _Players,
) -> None: ...
def gumbel_batch_traverse(
    roots: GumbelRoots,
    num_simulations: int,
    max_num_considered_actions: int,
    discount: float,
    results: ResultsWrapper,
    virtual_to_play_batch: _Players,
) -> _Leaves: ...
def gumbel_batch_back_propagate(
    current_latent_state_index: int,
    discount: float,
    value_prefixs: _Numbers,
    values: _Numbers,
    policies: _Rows,
    min_max_stats_lst: MinMaxStatsList,
    results: ResultsWrapper,
    to_play_batch: _Players,
) -> None: ...
def seed_ties(seed: int) -> None: ...

class TrialAlgorithm:
    def configure(
        self,
        rule: str,
        samples: int,
        exploration: float,
        distinct: bool,
        compensated: bool,
        choice: str,
        prior: tuple[str, float, float, float, float],
    ) -> None: ...
    def begin(self, kind: type[_State], seed: int | None) -> _State: ...
    def step(
        self,
        state: _State,
        generate_fn: Mapping[str, Callable[[Any], tuple[Any, float]]],
        inplace: bool = False,
    ) -> _State: ...
    def ask_trials(
        self, state: TrialState, batch_size: int, actions: Iterable[str]
    ) -> list[int]: ...
    def tell_trial(self, state: TrialState, trial: int, result: tuple[Any, float]) -> None: ...
    def resume(
        self, kind: type[_State], data: bytes, states: list[Any], actions: list[str]
    ) -> _State: ...

class TrialState:
    def pairs(self) -> list[tuple[Any, float]]: ...
    def nodes(self) -> tuple[list[Any], list[int]]: ...
    def trials(
        self, first: int, end: int
    ) -> list[tuple[int, int, Any, str, int, float, int, int, int]]: ...
    def count(self, node: int) -> tuple[int, float, float] | None: ...
    def beliefs(
        self, node: int
    ) -> (
        tuple[
            list[tuple[list[float], list[float], list[float]]],
            list[tuple[int, list[float]]],
        ]
        | None
    ): ...
    def to_bytes(self) -> bytes: ...
    def algorithm(self) -> TrialAlgorithm: ...
    def actions(self) -> list[str]: ...

def instruction_set() -> str: ...
def run_synthetic(
    *, rule: Rule, children: int, simulations: int, batch: int, trees: int, repeats: int
) -> dict[str, Any]: ...
