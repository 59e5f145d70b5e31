"""A toy language model: a text function over prompts, in this process or behind the test server.

It solves the toy problems of toy_models (add these numbers) in labelled steps, slips now and then,
and judges solutions. What it writes follows from (prompt, seed) alone, so a search over HTTP can be
compared with one in process, and a run that was killed with one that was not.
"""

from __future__ import annotations

import importlib.util
import math
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rtsearch_fast.engine.protocol import CompletionRequest, LabelLogprobs, Sample

#: Templates of policy and reward model, short so that tests are quick.
POLICY_TEMPLATE = "Add: {problem}\n===\n"
REWARD_TEMPLATE = "Added: {problem}\n===\n{solution}\n=== Right?\n"
SLIP = 0.2


def write(prompt: str, seed: int) -> str:
    """All that the model writes after `prompt`, up to its end of text."""
    if not prompt.startswith("Add: "):
        return f" some other text {seed}"
    problem, _, solution = prompt.removeprefix("Add: ").partition("\n===\n")
    numbers = [int(word) for word in problem.split()]
    values = _values(solution)
    rng = random.Random(f"{seed}:{prompt}")
    value, done = (values or numbers)[-1 if values else 0], len(values)
    pieces = []
    for number in numbers[done + 1 :]:
        value += number + (rng.choice([-10, 1, 10]) if rng.random() < SLIP else 0)
        done += 1
        pieces.append(f" Step {done}: add {number}\nwe get {value}")
    pieces.append(f" Answer\n\\boxed{{{value}}}")
    text = "\n\n##".join(pieces)
    return text if solution.endswith("##") else "##" + text


def judge(prompt: str) -> dict[str, float]:
    """Log-probabilities of the verdict on the solution in `prompt`; hardly any slip is missed."""
    if not prompt.startswith("Added: "):  # the test server asks of every prompt
        return {"Yes": -1.0, "No": -1.0}
    problem, _, solution = prompt.removeprefix("Added: ").partition("\n===\n")
    numbers = [int(word) for word in problem.split()]
    values = _values(solution)
    right = values == [sum(numbers[: i + 2]) for i in range(len(values))]
    share = random.Random(prompt).uniform(0.6, 0.95)
    yes = share if right else 1 - share
    return {"Yes": math.log(yes), "No": math.log(1 - yes)}


def _values(solution: str) -> list[int]:
    return [int(number) for number in re.findall(r"^we get (-?\d+)$", solution, re.MULTILINE)]


class ToyEngine:
    """The toy model in this process; cuts and counts as the test server does."""

    name = "test-model"

    async def complete(self, request: CompletionRequest) -> Sequence[Sample]:
        tokenize = openai_server().tokenize
        samples = []
        for seed in request.seeds:
            tokens = [*tokenize(write(request.prompt, seed if request.temperature else 0)), ""]
            text, used, reason, ends = "", 0, "length", []
            for token in tokens[: request.max_tokens]:
                text, used = text + token, used + 1
                ends.append(len(text))
                met = [text.index(stop) for stop in request.stop if stop in text]
                if met:
                    text, reason = text[: min(met)], "stop"
                    break
                if not token:
                    reason = "eos"
            ends = [min(end, len(text)) for end in ends]
            samples.append(Sample(text, used, reason, ends=tuple(ends)))
        return samples

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> Sequence[LabelLogprobs]:
        return [tuple(judge(prompt)[label] for label in labels) for prompt in prompts]

    async def aclose(self) -> None:
        pass


def start_toy_server(**settings: Any) -> Any:
    """Start a server of the toy model; close it with `close`."""
    server = openai_server().OpenAIServer(write, judge, **settings)
    server._http.socket.listen(128)  # searches open many connections at once
    server._http.handle_error = lambda *_: None  # clients that fail, or are killed, hang up
    return server


def openai_server() -> ModuleType:
    """The module tests/engines/openai_server.py."""
    name = "openai_server"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "engines" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]
