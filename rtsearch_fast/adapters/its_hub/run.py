"""What the algorithms share: checks, plain settings, and one search over one conversation."""

from __future__ import annotations

from typing import Any, TypeAlias

from its_hub.api import ChatMessage, ChatMessages

from ...errors import InvalidArgumentError
from ...search.driver import Driver
from ...search.options import Budget, SearchOptions
from ...search.records import Problem, SearchResult
from ...search.task import Method
from ..foreign import ForeignPolicy
from .models import NO_LIMIT, Judge, Writer
from .splitting import StepSplitter, WholeText

__all__ = ["PLAIN", "Prompt", "check_budget", "check_reward", "response", "run_search"]

#: In its_hub nothing limits tokens but the language model's own settings, nothing is corrected.
PLAIN = SearchOptions(calculator=False, max_solution_tokens=NO_LIMIT, max_step_tokens=NO_LIMIT)

Prompt: TypeAlias = "str | list[ChatMessage] | ChatMessages"


async def run_search(
    writer: Writer,
    judge: Judge,
    method: Method,
    name: str,
    splitter: StepSplitter | WholeText,
    budget: Budget,
    options: SearchOptions,
    sequences: int,
) -> SearchResult:
    """Run one search over one conversation."""
    driver = Driver(
        ForeignPolicy("its_hub", writer, single=True),
        judge,
        method,
        method_name=name,
        splitter=splitter,
        budget=budget,
        options=options,
        sequences=sequences,
    )
    problem = Problem("0", judge.prompt)
    (result,) = [result async for result in driver.run([problem])]
    return result


def check_budget(budget: int) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise InvalidArgumentError(f"budget={budget!r}: give a whole number from 1 up")


def check_reward(name: str, reward: object, *kinds: type) -> None:
    if not isinstance(reward, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidArgumentError(f"{name}={reward!r:.80}: give an {wanted} of its_hub")


def response(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}
