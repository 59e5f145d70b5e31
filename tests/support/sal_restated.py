"""search-and-learn's public interface and two of its approaches, restated: no index has it.

A test double, written from what its interface does, not a copy of it: the configuration, the parts
of vLLM's ``LLM`` that its approaches use, and slow, obvious twins of ``best_of_n`` and
``beam_search``. The models are hashes of what they are asked.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

SEPARATOR = "\n\n"


@dataclass
class Config:
    """The fields of ``sal.config.Config`` that approaches read, with its defaults."""

    approach: str = "best_of_n"
    model_path: str = "toy"
    prm_path: str = "toy"
    system_prompt: str = "Be brief."
    custom_chat_template: str | None = None
    n: int = 4
    temperature: float = 0.8
    top_p: float = 1.0
    prm_batch_size: int = 4
    search_batch_size: int = 25
    seed: int = 42
    max_tokens: int = 2048
    agg_strategy: str = "last"
    beam_width: int = 4
    num_iterations: int = 40
    lookahead: int = 0
    filter_duplicates: bool = False
    sort_completed: bool = False


# --- models --------------------------------------------------------------------------------


class SamplingParams:
    """What approaches give ``vllm.SamplingParams``."""

    def __init__(self, **settings: Any) -> None:
        self.n = 1
        self.seed: int | None = None
        self.max_tokens = 16
        self.stop: list[str] | None = None
        self.include_stop_str_in_output = False
        self.__dict__.update(settings)


class Tokenizer:
    """Chat templates as this toy's; a half-written answer is continued where it stops."""

    chat_template: str | None = None

    def apply_chat_template(
        self,
        conversations: Any,
        chat_template: str | None = None,
        tokenize: bool = True,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
    ) -> Any:
        assert not tokenize
        if conversations and isinstance(conversations[0], dict):
            return self._one(conversations, add_generation_prompt)
        return [self._one(turns, add_generation_prompt) for turns in conversations]

    def _one(self, turns: Any, add_generation_prompt: bool) -> str:
        text = "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)
        return text + "<assistant>" if add_generation_prompt else text


class LLM:
    """``vllm.LLM``: answer k to a prompt depends on the prompt and k alone.

    Parameters
    ----------
    end : float
        Share of steps that end the solution.
    boxed : bool
        Whether a solution that ends names an answer.
    words : int
        Different steps; few make equal ones.
    """

    def __init__(self, *, end: float = 0.3, boxed: bool = True, words: int = 1 << 20) -> None:
        self.end, self.boxed, self.words = end, boxed, words
        self.asked: Counter[str] = Counter()
        self.batches: list[int] = []

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    def generate(
        self, prompts: list[str], sampling_params: Any = None, use_tqdm: bool = True
    ) -> list[Any]:
        self.batches.append(len(prompts))
        if not isinstance(sampling_params, list):
            sampling_params = [sampling_params] * len(prompts)
        return [
            self._one(prompt, params)
            for prompt, params in zip(prompts, sampling_params, strict=True)
        ]

    def _one(self, prompt: str, params: Any) -> Any:
        number = self.asked[prompt]
        self.asked[prompt] += 1
        text, stop_reason, reason, step = "", None, "stop", 0
        while reason == "stop" and stop_reason is None:
            kind, word = hashed(f"{prompt}{text}|{number if not text else 0}", 2)
            if kind < self.end or step == 30:
                text += f"so \\boxed{{{int(word * 5)}}}." if self.boxed else "so it is."
                break
            text += f"step {int(word * self.words)}{SEPARATOR}"
            step += 1
            if params.stop:
                stop_reason = SEPARATOR
                if not params.include_stop_str_in_output:
                    text = text.removesuffix(SEPARATOR)
        if len(text) > params.max_tokens:
            text, stop_reason, reason = text[: params.max_tokens], None, "length"
        output = SimpleNamespace(
            text=text,
            token_ids=[0] * max(1, len(text)),
            finish_reason=reason,
            stop_reason=stop_reason,
        )
        return SimpleNamespace(outputs=[output])


@dataclass
class PRM:
    """A reward model: the score of a step depends on the text up to it alone."""

    calls: list[tuple[list[str], list[list[str]]]] = field(default_factory=list)

    def score(self, questions: list[str], outputs: list[list[str]]) -> list[list[list[float]]]:
        self.calls.append((questions, outputs))
        return [
            [self._one(question, output) for output in of_question]
            for question, of_question in zip(questions, outputs, strict=True)
        ]

    def _one(self, question: str, output: str) -> list[float]:
        steps = output.removesuffix(SEPARATOR).split(SEPARATOR)
        prefixes = (SEPARATOR.join(steps[: i + 1]) for i in range(len(steps)))
        return [hashed(f"{question}|{prefix}", 1)[0] for prefix in prefixes]


def hashed(text: str, count: int) -> list[float]:
    """Numbers in [0, 1) that depend on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=4 * count).digest()
    return [int.from_bytes(digest[4 * i : 4 * i + 4], "little") / 2**32 for i in range(count)]


# --- approaches ----------------------------------------------------------------------------


def aggregate(scores: list[float], how: str) -> float:
    return {"last": lambda: scores[-1], "min": lambda: min(scores)}.get(
        how, lambda: math.prod(scores)
    )()


def _prompt(llm: LLM, config: Config, problem: str, text: str) -> str:
    turns = [{"role": "system", "content": config.system_prompt}]
    turns += [{"role": "user", "content": problem}]
    turns += [{"role": "assistant", "content": text}] if text else []
    found: str = llm.get_tokenizer().apply_chat_template(
        turns,
        tokenize=False,
        add_generation_prompt=not text,
        continue_final_message=bool(text),
    )
    return found


def _result(config: Config, texts: list[str], scores: list[list[float]]) -> dict[str, Any]:
    values = [aggregate(of_text, config.agg_strategy) for of_text in scores]
    return {"completions": texts, "scores": scores, "pred": texts[values.index(max(values))]}


def best_of_n(problem: str, config: Config, llm: LLM, prm: PRM) -> dict[str, Any]:
    params = SamplingParams(max_tokens=config.max_tokens)
    found = llm.generate([_prompt(llm, config, problem, "")] * config.n, params)
    texts = [one.outputs[0].text for one in found]
    return _result(config, texts, prm.score([problem], [texts])[0])


def beam_search(problem: str, config: Config, llm: LLM, prm: PRM) -> dict[str, Any]:
    """One problem: n steps a round, the best n / beam_width of the unfinished go on."""
    beams, completed = [""], []
    for iteration in range(config.num_iterations):
        stop = None if iteration == config.num_iterations - 1 else [SEPARATOR]
        params = SamplingParams(
            max_tokens=config.max_tokens, stop=stop, include_stop_str_in_output=True
        )
        beams = [beams[i % len(beams)] for i in range(config.n)]
        found = llm.generate([_prompt(llm, config, problem, beam) for beam in beams], params)
        texts = [beam + one.outputs[0].text for beam, one in zip(beams, found, strict=True)]
        scores = [one[0] for one in prm.score([problem] * config.n, [[text] for text in texts])]
        going_on: dict[Any, tuple[float, int]] = {}
        for i, (one, text, of_text) in enumerate(zip(found, texts, scores, strict=True)):
            if one.outputs[0].stop_reason is None:
                completed.append((text, of_text))
            else:
                key = text if config.filter_duplicates else i
                going_on.setdefault(key, (aggregate(of_text, config.agg_strategy), i))
        if not going_on:
            break
        kept = sorted(going_on.values())[-(config.n // config.beam_width) :]
        beams = [texts[i] for i in sorted(i for _, i in kept)]
    if config.sort_completed:
        completed.sort(key=lambda entry: -aggregate(entry[1], config.agg_strategy))
    completed = [completed[i % len(completed)] for i in range(config.n)]
    return _result(config, [text for text, _ in completed], [scores for _, scores in completed])
