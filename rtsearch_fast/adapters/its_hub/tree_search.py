"""MCTS and MCTS_G as algorithms of its_hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from its_hub.api import (
    AbstractLanguageModel,
    AbstractOrchestrator,
    AbstractOutcomeRewardModel,
    AbstractProcessRewardModel,
    AbstractScalingAlgorithm,
    AbstractScalingResult,
    ChatMessages,
    GenerationUsage,
)
from its_hub.core.lms.step_generation import StepGeneration

from ...errors import EngineError, InvalidArgumentError
from ...search.methods import make_method
from ...search.options import Budget
from ...search.records import SearchResult
from ..leaves import chosen, spread_leaves
from .models import Judge, Writer, default_scale
from .run import PLAIN, Prompt, check_budget, check_reward, response, run_search
from .splitting import StepSplitter

__all__ = ["MCTS", "MCTS_G", "TreeSearchResult"]


@dataclass
class TreeSearchResult(AbstractScalingResult):  # type: ignore[misc]
    """The solutions that a tree search arrived at.

    Attributes
    ----------
    responses : list of dict
    scores : list of float
        In [0, 1]; NaN for a solution without a verdict.
    selected_index : int
    steps_used : list of int
    usage : GenerationUsage
    search : SearchResult
        With the tree.
    """

    responses: list[dict[str, Any]]
    scores: list[float]
    selected_index: int
    steps_used: list[int]
    usage: GenerationUsage
    search: SearchResult

    @property
    def the_one(self) -> dict[str, Any]:
        return self.responses[self.selected_index]


class MCTS(AbstractScalingAlgorithm):  # type: ignore[misc]
    """Monte-Carlo tree search over steps.

    Parameters
    ----------
    sg : StepGeneration
    reward : AbstractProcessRewardModel or AbstractOutcomeRewardModel
        Judges rolled-out solutions, or beginnings with ``value="prefix"``.
    scale : tuple of two float, optional
        Lowest and highest score; (0, 10) for `LLMJudge` and (0, 1) for others if left out.
    orchestrator : AbstractOrchestrator, optional
        Runs the requests; without it they are sent directly.
    sequences : int
        How many sequences are generated at once, about.
    **options
        Fields of `rtsearch_fast.SearchOptions`, such as ``width=3``. `max_depth` and the
        temperature are those of `sg`; the calculator is off and tokens are not limited, unless
        said.
    """

    _method: ClassVar[str] = "mcts"

    def __init__(
        self,
        sg: StepGeneration,
        reward: AbstractProcessRewardModel | AbstractOutcomeRewardModel,
        *,
        scale: tuple[float, float] | None = None,
        orchestrator: AbstractOrchestrator | None = None,
        sequences: int = 32,
        **options: Any,
    ) -> None:
        check_reward("reward", reward, AbstractProcessRewardModel, AbstractOutcomeRewardModel)
        self.sg = sg
        self.reward = reward
        self.scale = default_scale(reward) if scale is None else scale
        if not self.scale[0] < self.scale[1]:
            raise InvalidArgumentError(f"scale={self.scale}: give (lowest, highest)")
        self.orchestrator = orchestrator
        self.sequences = sequences
        # a whole solution has one temperature
        request = "auto" if sg.temperature_switch is None else "step"
        fixed = {"max_depth": sg.max_steps, "temperature": sg.temperature}
        self.options = replace(PLAIN, **{"request": request, **options, **fixed})

    async def ainfer(
        self,
        lm: AbstractLanguageModel,
        prompt_or_messages: Prompt,
        budget: int,
        return_response_only: bool = True,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
    ) -> dict[str, Any] | TreeSearchResult:
        """Answer a prompt; `budget` is the most leaves that are evaluated.

        That is, judgements of rolled-out solutions or of beginnings. What `width` does not divide
        widens the first expansion.

        Raises
        ------
        EngineError
            No solution came about.
        """
        check_budget(budget)
        messages = ChatMessages.from_prompt_or_messages(prompt_or_messages)
        writer = Writer(
            lm, messages, self.sg, self.orchestrator, tools=tools, tool_choice=tool_choice
        )
        splitter = StepSplitter(self.sg)
        judge = Judge(self.reward, messages, splitter.show, response, self.scale, self.orchestrator)
        options, simulations = spread_leaves(self.options, budget)
        limits = Budget(simulations=simulations)
        method, options = make_method(self._method, options, limits)
        found = await run_search(
            writer, judge, method, self._method, splitter, limits, options, self.sequences
        )
        if not found.candidates:
            raise EngineError(
                f"no solution came to its end within budget={budget}: give more, or judge "
                "rolled-out solutions (value='rollout')"
            )
        result = TreeSearchResult(
            responses=[response(splitter.show(c.steps)) for c in found.candidates],
            scores=[candidate.score for candidate in found.candidates],
            selected_index=chosen(found),
            steps_used=[len(candidate.steps) for candidate in found.candidates],
            usage=writer.usage,
            search=found,
        )
        return result.the_one if return_response_only else result


class MCTS_G(MCTS):
    """MCTS that takes the best of all open leaves of the tree; arguments as `MCTS`."""

    _method: ClassVar[str] = "mcts_g"
