"""its_hub's language and reward models, for one conversation, as functions of our search."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from its_hub.api import (
    AbstractLanguageModel,
    AbstractOrchestrator,
    AbstractOutcomeRewardModel,
    AbstractProcessRewardModel,
    ChatMessage,
    ChatMessages,
    GenerationUsage,
)
from its_hub.core.lms.step_generation import StepGeneration
from its_hub.core.reward_models.llm_judge import LLMJudge
from its_hub.core.utils import extract_content_from_lm_response

from ...aio import together
from ...engine.protocol import FinishReason
from ...errors import AnswerFormatError, InvalidArgumentError
from ...policy.protocol import SampleRequest
from ..foreign import Continuation, ForeignReward, Gathered, why_ended

__all__ = ["NO_LIMIT", "Judge", "Writer", "default_scale"]

#: More tokens than any text has; a request for this many asks for no limit.
NO_LIMIT = 1 << 40


class Writer:
    """Continues the answer to one conversation, one request a sample.

    Parameters
    ----------
    lm : AbstractLanguageModel
        Asked by `agenerate_single`, or by `agenerate` where it has no other.
    messages : ChatMessages
    sg : StepGeneration, optional
        Temperatures and stops of steps; without it the language model's own settings hold.
    orchestrator : AbstractOrchestrator, optional
        Runs the requests.
    **tools
        `tools` and `tool_choice`, passed on.

    Attributes
    ----------
    usage : GenerationUsage
        Of all requests that were answered, as the language model counts.
    responses : dict
        The first response with each text.
    """

    def __init__(
        self,
        lm: AbstractLanguageModel,
        messages: ChatMessages,
        sg: StepGeneration | None = None,
        orchestrator: AbstractOrchestrator | None = None,
        **tools: Any,
    ) -> None:
        if not isinstance(lm, AbstractLanguageModel):
            raise InvalidArgumentError(
                f"lm={lm!r:.80}: give an its_hub.AbstractLanguageModel, such as "
                "OpenAICompatibleLanguageModel"
            )
        self.usage = GenerationUsage()
        self.responses: dict[str, dict[str, Any]] = {}
        self._messages = list(messages.to_chat_messages())
        self._sg = sg
        self._tools = tools
        single = type(lm).agenerate_single is not AbstractLanguageModel.agenerate_single
        ask = lm.agenerate_single if single else lm.agenerate
        self._counts = _accepts(ask, "usage_accumulator")
        self._ask: Callable[..., Any] = ask
        if orchestrator is not None:

            async def orchestrated(messages: list[ChatMessage], **settings: Any) -> Any:
                (response,) = await orchestrator.agenerate(lm, [messages], **settings)
                return response

            self._ask = orchestrated
            self._counts = self._counts and _accepts(orchestrator.agenerate, "usage_accumulator")

    async def __call__(self, request: SampleRequest) -> list[Continuation]:
        """One continuation; its_hub knows no seeds."""
        written = "".join(request.steps)
        messages = list(self._messages)
        if written:
            messages.append(ChatMessage(role="assistant", content=written))
        settings: dict[str, Any] = dict(self._tools)
        if self._sg is not None:
            settings["temperature"] = self._temperature(written)
            if request.stop:
                settings["stop"] = self._sg.step_token
                settings["include_stop_str_in_output"] = self._sg.include_stop_str_in_output
        if request.max_tokens < NO_LIMIT // 2:  # a search takes off what is generated already
            settings["max_completion_tokens"] = request.max_tokens
        usage = GenerationUsage()
        if self._counts:
            settings["usage_accumulator"] = usage
        given = {name: value for name, value in settings.items() if value is not None}
        response = await self._ask(messages, **given)
        text = extract_content_from_lm_response(response)
        self.usage.merge(usage)
        self.responses.setdefault(text, response)
        # servers without usage are counted as 0
        num_tokens = min(usage.completion_tokens, request.max_tokens) or None
        return [
            Continuation(text, num_tokens, self._why_ended(request, response, text, num_tokens))
        ]

    def _temperature(self, written: str) -> float:
        assert self._sg is not None
        switch = self._sg.temperature_switch
        if switch is not None and switch[1] in written and switch[2] not in written:
            return float(switch[0])
        return float(self._sg.temperature)

    def _why_ended(
        self, request: SampleRequest, response: dict[str, Any], text: str, num_tokens: int | None
    ) -> FinishReason | None:
        """What `include_raw_choices` tells, or a stop string that was kept in the text."""
        reason = why_ended(response.get("_raw_choice") or {})
        if reason is not None or self._sg is None:
            return reason
        if request.stop and self._sg.include_stop_str_in_output:
            return "stop" if text.endswith(request.stop) else "eos"
        if self._sg.tokens_per_step is not None and num_tokens is None:
            return "length" if text else "eos"
        return None


class Judge(ForeignReward):
    """Scores solutions of one conversation; what waits is judged in one call, one at a time.

    Parameters
    ----------
    reward : AbstractProcessRewardModel or AbstractOutcomeRewardModel
        The one is shown the prompt and texts, the other conversations.
    messages : ChatMessages
    show : callable
        Makes the text of a solution's steps.
    answers : callable
        Makes the response of a text.
    scale : tuple of two float, optional
        Lowest and highest score; None keeps the order of scores of any size. NaN is no verdict.
    orchestrator : AbstractOrchestrator, optional
        Handed to an outcome reward model.

    Attributes
    ----------
    scores : dict
        The reward model's own score of each text.
    prompt : str
        The conversation as its_hub flattens it for process reward models.
    """

    def __init__(
        self,
        reward: AbstractProcessRewardModel | AbstractOutcomeRewardModel,
        messages: ChatMessages,
        show: Callable[[Sequence[str]], str],
        answers: Callable[[str], dict[str, Any]],
        scale: tuple[float, float] | None,
        orchestrator: AbstractOrchestrator | None = None,
    ) -> None:
        super().__init__(type(reward).__name__, self._judge)
        self.scores: dict[str, float] = {}
        self.prompt: str = messages.to_prompt()
        self._reward = reward
        self._messages = messages
        self._show = show
        self._answers = answers
        self._scale = scale
        self._hand_on = {} if orchestrator is None else {"orchestrator": orchestrator}
        self._gathered = Gathered(self._score_texts, name=self.name)

    async def _judge(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[float | None]:
        scores = await together(self._gathered(self._show(steps)) for steps in solutions)
        return [self._scaled(score) for score in scores]

    async def _score_texts(self, texts: list[str]) -> list[float]:
        fresh = [text for text in dict.fromkeys(texts) if text not in self.scores]
        if fresh:
            scores = await self._ask(fresh)
            if len(scores) != len(fresh):
                return scores  # of a wrong number: refused by name
            self.scores.update(zip(fresh, map(float, scores), strict=True))
        return [self.scores[text] for text in texts]

    async def _ask(self, texts: list[str]) -> list[float]:
        reward = self._reward
        if isinstance(reward, AbstractProcessRewardModel):
            return list(await reward.ascore(self.prompt, texts))
        history = self._messages.to_chat_messages()
        conversations = [[*history, ChatMessage.from_dict(self._answers(text))] for text in texts]
        if type(reward).ascore is AbstractOutcomeRewardModel.ascore:
            return list(await asyncio.to_thread(reward.score, conversations))
        return list(await reward.ascore(conversations, **self._hand_on))

    def _scaled(self, score: float) -> float | None:
        if math.isnan(score):
            return None
        if self._scale is None:
            return 0.5 + score / (1 + abs(score)) / 2
        lowest, highest = self._scale
        if not lowest <= score <= highest:
            raise AnswerFormatError(
                f"{self.name} gave the score {score}: say how low and high its scores are by "
                f"scale=(low, high), now {self._scale}"
            )
        return (score - lowest) / (highest - lowest)


def default_scale(reward: object) -> tuple[float, float]:
    """The range of a reward model's scores: that of the prompt of `LLMJudge`, or [0, 1]."""
    return (0.0, 10.0) if isinstance(reward, LLMJudge) else (0.0, 1.0)


def _accepts(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    return name in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
