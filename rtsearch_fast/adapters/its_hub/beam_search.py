"""Beam search: the steps of one level are written and judged without waiting for each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from its_hub.api import (
    AbstractLanguageModel,
    AbstractOrchestrator,
    AbstractProcessRewardModel,
    AbstractScalingAlgorithm,
    ChatMessages,
    GenerationUsage,
)
from its_hub.core.algorithms import beam_search
from its_hub.core.lms.step_generation import StepGeneration

from ...errors import InvalidArgumentError
from ...search.options import Budget
from ...search.records import SearchResult
from .level_beam import LevelBeam
from .models import Judge, Writer
from .run import PLAIN, Prompt, check_budget, check_reward, response, run_search
from .splitting import StepSplitter

__all__ = ["BeamSearch", "BeamSearchResult"]


@dataclass
class BeamSearchResult(beam_search.BeamSearchResult):  # type: ignore[misc]
    """its_hub's, the usage, and the search that it comes from."""

    usage: GenerationUsage | None = None
    search: SearchResult | None = None


class BeamSearch(AbstractScalingAlgorithm):  # type: ignore[misc]
    """Continue the best paths step by step; each step is judged as soon as it is there.

    Parameters
    ----------
    sg : StepGeneration
    prm : AbstractProcessRewardModel
        Its scores must be in [0, 1].
    beam_width : int
    as_original : bool
        Decide as its_hub does throughout, its bugs included.
    orchestrator : AbstractOrchestrator, optional
        Runs the requests; without it they are sent directly.
    sequences : int
        How many steps are generated at once, about.
    """

    def __init__(
        self,
        sg: StepGeneration,
        prm: AbstractProcessRewardModel,
        beam_width: int,
        *,
        as_original: bool = False,
        orchestrator: AbstractOrchestrator | None = None,
        sequences: int = 32,
    ) -> None:
        check_reward("prm", prm, AbstractProcessRewardModel)
        if beam_width < 1:
            raise InvalidArgumentError(f"beam_width={beam_width}: must be at least 1")
        self.sg = sg
        self.prm = prm
        self.beam_width = beam_width
        self.as_original = as_original
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
    ) -> dict[str, Any] | BeamSearchResult:
        """Answer a prompt; `budget` is the number of steps that are judged on each level."""
        check_budget(budget)
        if self.as_original and budget % self.beam_width:
            raise InvalidArgumentError(
                f"budget={budget}: as_original needs a multiple of beam_width={self.beam_width}"
            )
        messages = ChatMessages.from_prompt_or_messages(prompt_or_messages)
        writer = Writer(
            lm, messages, self.sg, self.orchestrator, tools=tools, tool_choice=tool_choice
        )
        splitter = StepSplitter(self.sg, as_original=self.as_original)
        judge = Judge(self.prm, messages, splitter.show, response, (0.0, 1.0))
        method = LevelBeam(self.beam_width, budget, as_original=self.as_original)
        options = replace(
            PLAIN,
            value="prefix",
            deduplicate=False,
            in_flight=self.beam_width,
            max_depth=splitter.max_steps,
        )
        limits = Budget(simulations=1 + self.beam_width * splitter.max_steps)  # never met
        found = await run_search(
            writer, judge, method, "beam", splitter, limits, options, self.sequences
        )
        copies = budget // self.beam_width if self.as_original else 1
        beam = method.beam * copies
        result = BeamSearchResult(
            responses=[response(splitter.show(path.steps)) for path in beam],
            scores=[path.score for path in beam],
            selected_index=0,
            steps_used=[len(path.steps) for path in beam],
            usage=writer.usage,
            search=found,
        )
        return result.the_one if return_response_only else result
