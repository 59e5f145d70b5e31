"""OpenR (openreasoner/openr): its methods, and ours under the same signature.

A method is ``fn(method_config, gen_config, problem_inst, lm_call, rm_call)``, with OpenR's own
configurations. `beam_search`, `vanila_mcts` and `best_of_n` decide as the originals do; `mcts` and
`mcts_g` are this package's searches, of up to `num_path` solutions. The right answer in
`problem_inst` is not looked at. `solve_all` searches many problems at once.

OpenR is a folder of scripts without a version: of it only ``envs.<task_name>`` is imported, for its
prompt, when a method is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ...aio import run_apart, together
from ...errors import InvalidArgumentError
from .models import Models, Prompt, setting
from .ours import best_of_n as _best_of_n
from .ours import tree_search
from .output import Solutions
from .twins import beam_search as _beam_search
from .twins import vanila_mcts as _vanila_mcts

__all__ = ["METHODS", "beam_search", "best_of_n", "mcts", "mcts_g", "solve_all", "vanila_mcts"]

_Solve = Callable[[Models, Any, Sequence[str]], Awaitable[list[Solutions]]]


def _side_by_side(solve_one: Callable[[Models, Any, str], Any]) -> _Solve:
    async def solve(models: Models, config: Any, questions: Sequence[str]) -> list[Solutions]:
        return await together(solve_one(models, config, question) for question in questions)

    return solve


#: Name -> the search of many problems at once.
METHODS: dict[str, _Solve] = {
    "best_of_n": _side_by_side(_best_of_n),
    "beam_search": _side_by_side(_beam_search),
    "vanila_mcts": _side_by_side(_vanila_mcts),
    "mcts": tree_search("mcts"),
    "mcts_g": tree_search("mcts_g"),
}


def solve_all(
    method: str,
    method_config: Any,
    gen_config: Any,
    problems: Sequence[Mapping[str, str]],
    lm_call: Any,
    rm_call: Any,
    *,
    threads: int = 32,
) -> list[Any]:
    """Solve problems side by side, in one process; OpenR takes an actor for each.

    Parameters
    ----------
    method : str
        One of `METHODS`.
    method_config : BestOfNConfig, BeamSearchConfig or VanilaMCTSConfig
        `mcts` and `mcts_g` take the last.
    gen_config : LMCallingConfig
    problems : sequence of mappings
        Their ``"question"`` is read.
    lm_call, rm_call : callable
        OpenR's, blocking; they are called from several threads at once.
    threads : int
        Calls under way at once, at most.

    Returns
    -------
    list of TreeSearchSolutionOutput
        `Solutions`, which has the same fields, where OpenR's evaluator is not loaded.

    Raises
    ------
    InvalidArgumentError
        Unknown method, or a configuration that it has no use for.
    MissingExtraError
        OpenR's environment cannot be imported.
    AnswerFormatError
        A model's answer has another shape than OpenR's models give.
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"method={method!r}: choose one of {', '.join(METHODS)}")
    prompt = Prompt.of_task(setting(method_config, "task_name"))
    questions = [problem["question"] for problem in problems]
    models = Models(prompt, gen_config, lm_call, rm_call, threads)

    async def solve() -> list[Solutions]:
        return await METHODS[method](models, method_config, questions)

    try:
        return [found.to_openr() for found in run_apart(solve())]
    finally:
        models.close()


def best_of_n(
    method_config: Any,
    gen_config: Any,
    problem_inst: Mapping[str, str],
    lm_call: Any,
    rm_call: Any,
) -> Any:
    """Write `num_sequence` whole solutions; see `solve_all`."""
    return solve_all("best_of_n", method_config, gen_config, [problem_inst], lm_call, rm_call)[0]


def beam_search(
    method_config: Any,
    gen_config: Any,
    problem_inst: Mapping[str, str],
    lm_call: Any,
    rm_call: Any,
) -> Any:
    """OpenR's beam search over `beam_size` solutions; see `solve_all`."""
    return solve_all("beam_search", method_config, gen_config, [problem_inst], lm_call, rm_call)[0]


def vanila_mcts(
    method_config: Any,
    gen_config: Any,
    problem_inst: Mapping[str, str],
    lm_call: Any,
    rm_call: Any,
) -> Any:
    """OpenR's MCTS over `num_path` paths; see `solve_all`."""
    return solve_all("vanila_mcts", method_config, gen_config, [problem_inst], lm_call, rm_call)[0]


def mcts(
    method_config: Any,
    gen_config: Any,
    problem_inst: Mapping[str, str],
    lm_call: Any,
    rm_call: Any,
) -> Any:
    """MCTS with rollouts, up to `num_path` solutions; see `solve_all`."""
    return solve_all("mcts", method_config, gen_config, [problem_inst], lm_call, rm_call)[0]


def mcts_g(
    method_config: Any,
    gen_config: Any,
    problem_inst: Mapping[str, str],
    lm_call: Any,
    rm_call: Any,
) -> Any:
    """MCTS_G with rollouts, up to `num_path` solutions; see `solve_all`."""
    return solve_all("mcts_g", method_config, gen_config, [problem_inst], lm_call, rm_call)[0]
