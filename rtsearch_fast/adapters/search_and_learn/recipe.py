"""search-and-learn's settings as ours: every key that its recipes know, with what becomes of it."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

from ...bounds import plain_loader, read_settings
from ...errors import DataError, InvalidArgumentError, MissingExtraError
from ...reward.aggregate import Aggregation
from ...search.options import Budget, SearchOptions

__all__ = ["Plan", "load_recipe", "options_of"]

_METHODS = {"best_of_n": "best_of_n", "beam_search": "beam", "mcts": "mcts", "mcts_g": "mcts_g"}

#: search-and-learn's ways to make one score of those of the steps, to the last bit.
_AGGREGATIONS: dict[str, Aggregation] = {"last": "last", "min": "min", "prod": math.prod}

#: Every key of search-and-learn 0.1.0, with its default. The two texts are too long to stand here.
_DEFAULTS: dict[str, Any] = {
    "approach": "best_of_n",
    "model_path": "meta-llama/Llama-3.2-1B-Instruct",
    "gpu_memory_utilization": 0.5,
    "prm_path": "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data",
    "output_dir": None,
    "num_proc": None,
    "push_to_hub": False,
    "hub_dataset_id": None,
    "hub_dataset_private": False,
    "overwrite_hub_revision": False,
    "apply_voting": True,
    "dataset_name": "HuggingFaceH4/MATH-500",
    "dataset_config": None,
    "dataset_split": "test",
    "dataset_start": None,
    "dataset_end": None,
    "num_samples": None,
    "n": 4,
    "temperature": 0.8,
    "top_p": 1.0,
    "prm_batch_size": 4,
    "search_batch_size": 25,
    "seed": 42,
    "max_tokens": 2048,
    "agg_strategy": "last",
    "beam_width": 4,
    "num_iterations": 40,
    "lookahead": 0,
    "filter_duplicates": False,
    "sort_completed": False,
}
_TEXTS = ("system_prompt", "custom_chat_template")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a configuration asks of us.

    Attributes
    ----------
    method : {"best_of_n", "beam", "mcts", "mcts_g"}
    n : int
        Completions of each problem.
    keep : int
        Solutions that beam search goes on from: ``n // beam_width``.
    iterations : int
        Rounds of beam search.
    options : SearchOptions
    budget : Budget
    aggregation : str or callable
    filter_duplicates, sort_completed : bool
    batch : int
        Solutions that the reward model is shown at once, of each problem.
    """

    method: str
    n: int
    keep: int
    iterations: int
    options: SearchOptions
    budget: Budget
    aggregation: Aggregation
    filter_duplicates: bool
    sort_completed: bool
    batch: int

    def score(self, steps: Sequence[float]) -> float:
        """One score of those of the steps, as search-and-learn computes it."""
        how = self.aggregation
        if callable(how):
            return float(how(steps))
        return min(steps) if how == "min" else steps[-1]


def options_of(config: Any) -> Plan:
    """Turn a configuration of search-and-learn into ours.

    Parameters
    ----------
    config : sal.config.Config, or anything with its fields
        ``approach`` may have the prefix "rtsearch\\_". Keys of data sets, the hub and the memory of
        the models stay search-and-learn's.

    Notes
    -----
    ========================= ====================================================================
    ``n``                     completions; of MCTS, ``ceil(n / beam_width)`` simulations
    ``beam_width``            children of an expansion; of beam search, 1 in so many is kept
    ``num_iterations``        most steps of a solution; of beam search, rounds
    ``max_tokens``            most tokens of a step, and of a completion
    ``temperature``, ``top_p``, ``seed``, ``agg_strategy``, ``prm_batch_size``  as they are
    ``filter_duplicates``     `SearchOptions.deduplicate`; of beam search, equal texts
    ``sort_completed``        the best completions stay where there are more than n, in their order;
                              not of best_of_n, as in the original
    ``search_batch_size``     any; ``dataset.map`` reads it
    ``lookahead``             must be 0
    ========================= ====================================================================

    Raises
    ------
    InvalidArgumentError
        A field is missing or out of range, or cannot be honoured.

    Examples
    --------
    >>> plan = options_of(load_recipe(None, approach="rtsearch_mcts_g", n=16))
    >>> plan.method, plan.budget.simulations, plan.options.width
    ('mcts_g', 4, 4)
    """
    method = _method(_get(config, "approach"))
    n, width = _count(config, "n"), _count(config, "beam_width")
    iterations, max_tokens = _count(config, "num_iterations"), _count(config, "max_tokens")
    strategy = _get(config, "agg_strategy")
    if strategy not in _AGGREGATIONS:
        raise InvalidArgumentError(
            f"agg_strategy={strategy!r}: choose one of {', '.join(_AGGREGATIONS)}"
        )
    if lookahead := _get(config, "lookahead"):
        raise InvalidArgumentError(
            f"lookahead={lookahead}: must be 0; the original's beam search makes no use of it, and "
            "MCTS rolls out to the end"
        )
    if method == "beam" and n < width:
        raise InvalidArgumentError(
            f"n={n}: must be at least beam_width={width}, or no beam is kept"
        )
    filter_duplicates = bool(_get(config, "filter_duplicates"))
    samples = {"best_of_n": n, "beam": n * iterations + 1}
    return Plan(
        method=method,
        n=n,
        keep=n // width,
        iterations=iterations,
        options=SearchOptions(
            width=width,
            deduplicate=filter_duplicates and method != "beam",
            calculator=False,
            value="prefix" if method == "beam" else "rollout",
            request="solution",
            temperature=_get(config, "temperature"),
            top_p=_get(config, "top_p"),
            seed=_get(config, "seed"),
            max_step_tokens=max_tokens,
            max_solution_tokens=max_tokens,
            # of beam search, rounds are counted, and the last one goes on to the end
            max_depth=iterations + max_tokens if method == "beam" else iterations,
            in_flight=n if method in samples else 2,
            vote="best" if method in samples else None,
        ),
        budget=Budget(simulations=samples.get(method, -(-n // width))),
        aggregation=_AGGREGATIONS[strategy],
        filter_duplicates=filter_duplicates,
        sort_completed=bool(_get(config, "sort_completed")) and method != "best_of_n",
        batch=_count(config, "prm_batch_size"),
    )


def load_recipe(path: str | os.PathLike[str] | None, **changes: Any) -> SimpleNamespace:
    """Read a recipe of search-and-learn, its keys unchanged.

    Parameters
    ----------
    path : path or None
        A YAML file; None takes the defaults.
    **changes
        Keys to set otherwise, as ``--key=value`` does behind the recipe on its command line.

    Returns
    -------
    SimpleNamespace
        A value for each key. Where ``system_prompt`` and ``custom_chat_template`` are left out,
        they are those of the search-and-learn that is installed, and missing if none is.

    Raises
    ------
    DataError
        The file cannot be read, is no mapping, or has a key that search-and-learn does not know.
    MissingExtraError
        PyYAML is not installed.
    """
    given = {**({} if path is None else _read(path)), **changes}
    known = (*_DEFAULTS, *_TEXTS)
    for key in given:
        if key not in known:
            close = get_close_matches(key, known, 1)
            remedy = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise DataError(f"{path or 'recipe'}: unknown key {key!r}: {remedy}")
    return SimpleNamespace(**{**_DEFAULTS, **_default_texts(), **given})


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise MissingExtraError("recipes need PyYAML: pip install pyyaml") from None
    try:
        found = yaml.load(read_settings(path).decode("utf-8"), Loader=plain_loader(yaml))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{os.fspath(path)}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise DataError(f"{os.fspath(path)}: a recipe is a mapping of keys to values")
    return found


def _default_texts() -> dict[str, Any]:
    try:
        sal = importlib.import_module("sal.config")
    except ImportError:
        return {}
    return {name: getattr(sal.Config, name) for name in _TEXTS}


def _get(config: Any, name: str) -> Any:
    try:
        return getattr(config, name)
    except AttributeError:
        raise InvalidArgumentError(
            f"the configuration has no {name}: give one of search-and-learn 0.1.0, or `load_recipe`"
        ) from None


def _count(config: Any, name: str) -> int:
    value = _get(config, name)
    if not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(f"{name}={value!r}: must be a whole number, at least 1")
    return value


def _method(approach: str) -> str:
    name = approach.removeprefix("rtsearch_")
    if name not in _METHODS:
        names = ", ".join(f"rtsearch_{name}" for name in _METHODS)
        raise InvalidArgumentError(f"approach={approach!r}: choose one of {names}")
    return _METHODS[name]
