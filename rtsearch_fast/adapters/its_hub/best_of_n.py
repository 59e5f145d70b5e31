"""Best-of-N: answers are judged while others are still written."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from its_hub.api import (
    AbstractLanguageModel,
    AbstractOrchestrator,
    AbstractOutcomeRewardModel,
    AbstractScalingAlgorithm,
    ChatMessages,
)
from its_hub.core.algorithms import bon

from ...search.methods import make_method
from ...search.options import Budget
from ...search.records import SearchResult
from .models import Judge, Writer
from .run import PLAIN, Prompt, check_budget, check_reward, run_search
from .splitting import WholeText

__all__ = ["BestOfN", "BestOfNResult"]


@dataclass
class BestOfNResult(bon.BestOfNResult):  # type: ignore[misc]
    """its_hub's, and the search that it comes from."""

    search: SearchResult | None = None


class BestOfN(AbstractScalingAlgorithm):  # type: ignore[misc]
    """Draw `budget` answers, have each judged as soon as it is there, and take the best.

    Parameters
    ----------
    orm : AbstractOutcomeRewardModel
        Its scores may be of any size.
    orchestrator : AbstractOrchestrator, optional
        Runs the requests; without it they are sent directly.
    sequences : int
        How many answers are generated at once, about.
    """

    def __init__(
        self,
        orm: AbstractOutcomeRewardModel,
        orchestrator: AbstractOrchestrator | None = None,
        *,
        sequences: int = 32,
    ) -> None:
        check_reward("orm", orm, AbstractOutcomeRewardModel)
        self.orm = orm
        self.orchestrator = orchestrator
        self.sequences = sequences

    async def ainfer(
        self,
        lm: AbstractLanguageModel,
        prompt_or_messages: Prompt,
        budget: int,
        return_response_only: bool = True,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
    ) -> dict[str, Any] | BestOfNResult:
        """Answer a prompt; `budget` is the number of answers that are judged."""
        check_budget(budget)
        messages = ChatMessages.from_prompt_or_messages(prompt_or_messages)
        writer = Writer(lm, messages, None, self.orchestrator, tools=tools, tool_choice=tool_choice)
        splitter = WholeText()
        judge = Judge(
            self.orm, messages, splitter.show, writer.responses.__getitem__, None, self.orchestrator
        )
        options = replace(PLAIN, in_flight=budget, width=1, max_depth=1)
        limits = Budget(simulations=budget)
        method, options = make_method("best_of_n", options, limits)
        found = await run_search(
            writer, judge, method, "best_of_n", splitter, limits, options, self.sequences
        )
        texts = [candidate.text for candidate in found.candidates]
        # what was cut off or is empty has no score, and is taken last
        scores = [judge.scores.get(text, -math.inf) for text in texts]
        result = BestOfNResult(
            responses=[writer.responses[text] for text in texts],
            scores=scores,
            selected_index=scores.index(max(scores)),
            usage=writer.usage,
            search=found,
        )
        return result.the_one if return_response_only else result
