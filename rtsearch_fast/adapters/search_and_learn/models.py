"""The models of search-and-learn as ours: an LLM of vLLM or a server, and its reward models."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ...engine.completions import CompletionsEngine
from ...engine.protocol import CompletionRequest
from ...errors import AnswerFormatError, InvalidArgumentError, MissingExtraError
from ...policy.protocol import SampleRequest
from ..foreign import Continuation, ForeignPolicy, Gathered, why_ended

__all__ = ["StepScores", "make_policy"]

_Complete = Callable[[CompletionRequest], Awaitable[list[Continuation]]]


# --- policy --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Prompt:
    """A problem in the model's chat format, up to where its answer begins.

    A solution is continued behind that, character by character: nothing is put through the chat
    template again, which strips what it takes for blank.
    """

    tokenizer: Any
    config: Any
    heads: dict[str, str] = field(default_factory=dict)  # of the problems so far

    def __post_init__(self) -> None:
        for name in ("system_prompt", "custom_chat_template"):
            if not hasattr(self.config, name):
                raise InvalidArgumentError(
                    f"the recipe leaves {name} to search-and-learn's default, which is not "
                    f"installed: put {name} into the recipe"
                )

    def render(self, problem: str, steps: Sequence[str]) -> str:
        if problem not in self.heads:
            self.heads[problem] = self.tokenizer.apply_chat_template(
                [
                    {"role": "system", "content": self.config.system_prompt},
                    {"role": "user", "content": problem},
                ],
                chat_template=self.config.custom_chat_template,  # None is the tokenizer's own
                tokenize=False,
                add_generation_prompt=True,
            )
        return self.heads[problem] + "".join(steps)


def make_policy(config: Any, llm: Any, base_url: str | None) -> ForeignPolicy:
    """Make a policy of an LLM in this process, or of a model behind a URL.

    Parameters
    ----------
    config : sal.config.Config or the like
    llm : vllm.LLM or None
    base_url : str or None
        Of an OpenAI-compatible server, where `llm` is None. ``model_path`` names the tokenizer.

    Raises
    ------
    InvalidArgumentError
        Neither of both is given, or both are.
    MissingExtraError
        A server's prompts need the model's tokenizer, and transformers is not installed.
    """
    if (llm is None) == (base_url is None):
        raise InvalidArgumentError("give an llm, or llm=None and the base_url of a server")
    name = str(config.model_path)
    if base_url is None:
        prompt, complete = _Prompt(llm.get_tokenizer(), config), _in_process(llm)
    else:
        prompt, complete = _Prompt(_tokenizer(name), config), _served(base_url)

    async def write(request: SampleRequest) -> list[Continuation]:
        return await complete(
            CompletionRequest(
                prompt.render(request.problem, request.steps),
                request.seeds,
                request.max_tokens,
                request.temperature,
                request.top_p,
                request.stop,
            )
        )

    return ForeignPolicy(name, write)


def _tokenizer(name: str) -> Any:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        raise MissingExtraError(
            f"prompts for a server need the tokenizer of {name}: pip install transformers"
        ) from None
    return transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def _served(base_url: str) -> _Complete:
    engine = CompletionsEngine(base_url)

    async def complete(request: CompletionRequest) -> list[Continuation]:
        return [
            Continuation(sample.text, sample.num_tokens, sample.finish_reason, sample.logprob)
            for sample in await engine.complete(request)
        ]

    return complete


def _in_process(llm: Any) -> _Complete:
    """What waits at the same time is one batch of vLLM's, whatever problems it is of."""
    from vllm import SamplingParams

    def generate(requests: list[CompletionRequest]) -> list[list[Continuation]]:
        samples = [(request, seed) for request in requests for seed in request.seeds]
        params = [
            SamplingParams(
                seed=seed,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                stop=list(request.stop),
            )
            for request, seed in samples
        ]
        prompts = [request.prompt for request, _ in samples]
        found = map(_continuation, llm.generate(prompts, params, use_tqdm=False))
        return [list(islice(found, len(request.seeds))) for request in requests]

    return Gathered(generate)


def _continuation(found: Any) -> Continuation:
    (output,) = found.outputs
    why = {"finish_reason": output.finish_reason, "stop_reason": output.stop_reason}
    return Continuation(output.text, len(output.token_ids), why_ended(why))


# --- reward model --------------------------------------------------------------------------


class StepScores:
    """The scores of the steps of solutions, by search-and-learn's ``prm.score``; each asked once.

    Parameters
    ----------
    prm : sal.models.reward_models.PRM, or anything with its `score`
    most : int
        Solutions of one problem in one call, at most.

    Attributes
    ----------
    known : dict
        The scores so far, by problem and text.
    """

    def __init__(self, prm: Any, most: int) -> None:
        self._prm = prm
        self._most = most
        self._ask = Gathered(self._score)
        self.known: dict[tuple[str, str], list[float]] = {}

    async def __call__(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> list[list[float]]:
        """Judge solutions of one problem; see `rtsearch_fast.adapters.foreign.ForeignReward`."""
        keys = [(problem, "".join(steps)) for steps in solutions]
        if any(key not in self.known for key in keys):
            await self._ask(keys)
        return [self.known[key] for key in keys]

    def _score(self, asked: list[list[tuple[str, str]]]) -> list[None]:
        """One call for all that waits: some of search-and-learn's models batch a question's."""
        groups: list[tuple[str, list[str]]] = []
        filling: dict[str, list[str]] = {}
        missing = (key for keys in asked for key in keys if key not in self.known)
        for problem, text in dict.fromkeys(missing):
            texts = filling.get(problem)
            if texts is None or len(texts) == self._most:
                texts = filling[problem] = []
                groups.append((problem, texts))
            texts.append(text)
        if groups:
            self._learn(groups)
        return [None] * len(asked)

    def _learn(self, groups: list[tuple[str, list[str]]]) -> None:
        questions, outputs = [question for question, _ in groups], [texts for _, texts in groups]
        found = self._prm.score(questions, outputs)
        if [len(scores) for scores in found] != [len(texts) for texts in outputs]:
            raise AnswerFormatError(
                f"prm.score returned {str(found)[:80]}: return, for each question, one list of "
                "step scores for each of its outputs"
            )
        for question, texts, of_question in zip(questions, outputs, found, strict=True):
            for text, scores in zip(texts, of_question, strict=True):
                self.known[question, text] = [float(score) for score in scores]
