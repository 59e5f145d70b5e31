"""OpenR's public interface and its two tree searches, restated: no index has OpenR.

A test double, written from what OpenR's interface does, not a copy of it: the configurations, the
results of calls, the prompt of ``envs.MATH``, and slow, obvious twins of ``beam_search`` and
``vanila_mcts``. `openr` gives OpenR's own instead where the environment variable RTS_OPENR_SOURCE
names a folder with its source.
"""

from __future__ import annotations

import hashlib
import heapq
import importlib
import math
import os
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

SEPARATOR = "\n\n"


# --- the interface -------------------------------------------------------------------------


@dataclass
class LMCallingConfig:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    max_new_tokens: int = 512
    stop_token_ids: list[int] | None = None
    stop_str: str | None = None
    include_stop_str_in_output: bool = False


@dataclass
class ConcatedLMGenResult:
    text: list[str]
    prompt_tokens: list[int]
    num_tokens: list[int]
    cumulative_logprob: list[float]
    logp_avg_by_len: list[float]
    finish_reason: list[str]

    def __post_init__(self) -> None:
        self.completion_tokens = sum(self.num_tokens)


@dataclass
class TreeSearchSolutionOutput:
    solutions: list[str]
    completion_tokens: list[int]
    tree_completion_tokens: list[int]


@dataclass
class BestOfNConfig:
    task_name: str
    num_sequence: int = 32


@dataclass
class BeamSearchConfig:
    task_name: str
    tree_max_width: int = 10
    tree_max_depth: int = 10
    init_critic_value: bool = True
    beam_size: int = 1


@dataclass
class VanilaMCTSConfig:
    task_name: str
    tree_max_width: int = 10
    tree_max_depth: int = 10
    init_critic_value: bool = True
    pb_c_base: float = 19652
    pb_c_init: float = 1.25
    select_by_prior: bool = False
    num_path: int = 1


class Env:
    @staticmethod
    def build_query_str(
        cot_task_desc: str | None,
        cot_examples: str | None,
        problem_format_str: str,
        problem_input: str,
        is_few_shot: bool = False,
    ) -> str:
        before = "" if cot_task_desc is None else cot_task_desc + "\n"
        return before + problem_format_str.format(question=problem_input)


# --- the searches --------------------------------------------------------------------------


class _Unusable(Exception):
    """Three attempts brought no step."""


class _Problem:
    """What the searches ask the models, and the tokens of that."""

    def __init__(self, config: Any, gen: Any, problem: Any, lm_call: Any, rm_call: Any) -> None:
        self.config, self.gen, self.lm_call, self.rm_call = config, gen, lm_call, rm_call
        self.question = problem["question"]
        self.written = self.kept = 0

    def children(self, steps: tuple[str, ...]) -> list[_Node]:
        prompt = MATH.Env.build_query_str(
            MATH.COT_TASK_DESC, MATH.COT_EXAMPLES, MATH.PROBLEM_FORMAT_STR, self.question
        )
        for _ in range(3):
            result = self.lm_call(
                input_str=prompt + "".join(steps),
                config=LMCallingConfig(
                    n=self.config.tree_max_width,
                    stop_str=SEPARATOR,
                    include_stop_str_in_output=True,
                    max_new_tokens=self.gen.max_new_tokens,
                    temperature=self.gen.temperature,
                    top_p=self.gen.top_p,
                    top_k=self.gen.top_k,
                ),
            )
            self.written += result.completion_tokens
            found: dict[str, tuple[float, int, bool]] = {}
            for text, logprob, tokens, reason in zip(
                result.text,
                result.logp_avg_by_len,
                result.num_tokens,
                result.finish_reason,
                strict=True,
            ):
                goes_on = text.endswith(SEPARATOR)
                step = text if goes_on else text.strip() + SEPARATOR
                if reason == "stop" and step not in found:
                    found[step] = (math.exp(logprob), tokens, goes_on)
            if found:
                break
        else:
            raise _Unusable
        total = sum(weight for weight, _, _ in found.values())
        scores = self.rm_call(
            [(self.question, "".join((*steps, step))) for step in found],
            lm_step_tag=self.lm_call.lm_step_tag,
        )
        self.kept += sum(tokens for _, tokens, _ in found.values())
        depth = len(steps) + 1
        return [
            _Node(
                (*steps, step),
                weight / total,
                row[-1] if len(row) == depth else 0.0,
                not goes_on or depth >= self.config.tree_max_depth,
            )
            for (step, (weight, _, goes_on)), row in zip(found.items(), scores, strict=True)
        ]


@dataclass(eq=False)
class _Node:
    steps: tuple[str, ...]
    prior: float
    judged: float
    ends: bool
    children: list[_Node] = field(default_factory=list)
    visits: int = 0
    total: float = 0.0

    @property
    def value(self) -> float:
        return self.total / self.visits if self.visits else self.judged

    def __lt__(self, other: _Node) -> bool:
        return self.judged < other.judged


def vanila_mcts(config: Any, gen: Any, problem: Any, lm_call: Any, rm_call: Any) -> Any:
    asked = _Problem(config, gen, problem, lm_call, rm_call)
    root = _Node((), 1.0, 0.0, False)
    texts, written, kept = [], [], []
    for _ in range(config.num_path):
        before = asked.written
        path = [root]
        while not path[-1].ends:
            node = path[-1]
            if not node.children:
                try:
                    node.children = asked.children(node.steps)
                except _Unusable:
                    break
            c = math.log((node.visits + config.pb_c_base + 1) / config.pb_c_base)
            c = (c + config.pb_c_init) * math.sqrt(node.visits)
            # the first of equals
            path.append(
                max(node.children, key=lambda k, c=c: c / (k.visits + 1) * k.prior + k.value)
            )
        value = path[-1].value
        for node in path:
            node.visits += 1
            node.total += value
        texts.append("".join(path[-1].steps))
        written.append(asked.written - before)
        kept.append(asked.kept)
    return TreeSearchSolutionOutput(texts, written, kept)


def beam_search(config: Any, gen: Any, problem: Any, lm_call: Any, rm_call: Any) -> Any:
    asked = _Problem(config, gen, problem, lm_call, rm_call)
    room = config.beam_size
    beams = [_Node((), 1.0, 0.0, False, asked.children(()))]
    ended: list[_Node] = []
    while len(ended) < config.beam_size and beams:
        heap: list[tuple[float, _Node]] = []
        for node in beams:
            if node.ends:
                ended.append(node)
                room -= 1
            elif room > 0:
                ranked = sorted(node.children, key=lambda child: child.judged, reverse=True)
                for child in ranked[:room]:
                    heapq.heappush(heap, (-child.judged, child))
        beams = [node for _, node in heapq.nsmallest(room, heap)]
        for node in beams:
            if not node.ends:
                try:
                    node.children = asked.children(node.steps)
                except _Unusable:
                    node.ends = True
    others = [0] * (len(ended) - 1)
    return TreeSearchSolutionOutput(
        ["".join(node.steps) for node in ended], [*others, asked.written], [*others, asked.kept]
    )


# --- this, or OpenR itself -----------------------------------------------------------------

MATH = ModuleType("envs.MATH")
MATH.__dict__.update(
    Env=Env,
    COT_TASK_DESC="Reason step by step; put the answer into \\boxed{}.",
    COT_EXAMPLES=None,
    PROBLEM_FORMAT_STR="Question: {question}\nAnswer: ",
    SEP=SEPARATOR,
)

_RESTATED = SimpleNamespace(
    LMCallingConfig=LMCallingConfig,
    ConcatedLMGenResult=ConcatedLMGenResult,
    BestOfNConfig=BestOfNConfig,
    BeamSearchConfig=BeamSearchConfig,
    VanilaMCTSConfig=VanilaMCTSConfig,
    beam_search=beam_search,
    vanila_mcts=vanila_mcts,
)


def openr(source: str | None = None) -> Any:
    """The methods and classes of OpenR: its own from a folder, or those restated here."""
    if source is None:
        envs = sys.modules.setdefault("envs", ModuleType("envs"))
        if not hasattr(envs, "__path__"):
            sys.modules["envs.MATH"] = MATH
        return _RESTATED
    sys.path.insert(0, os.fspath(source))
    try:
        methods = importlib.import_module("reason.evaluation.methods")
        generated = importlib.import_module("reason.inference.text_generation")
    finally:
        sys.path.remove(os.fspath(source))
    return SimpleNamespace(
        LMCallingConfig=methods.LMCallingConfig,
        ConcatedLMGenResult=generated.ConcatedLMGenResult,
        BestOfNConfig=methods.BestOfNConfig,
        BeamSearchConfig=methods.BeamSearchConfig,
        VanilaMCTSConfig=methods.VanilaMCTSConfig,
        beam_search=methods.beam_search,
        vanila_mcts=methods.vanila_mcts,
        best_of_n=methods.best_of_n,
    )


# --- models --------------------------------------------------------------------------------


class HashedModels:
    """A language and a reward model whose answers are hashes of what they are asked.

    Parameters
    ----------
    peer : namespace
        As `openr` returns it.
    grain : int
        Scores are multiples of 1 / grain; a power of two, for single precision. A small one makes
        ties.
    cut : float
        Share of texts that are cut off.
    end : float
        Share of texts that end their solution.
    """

    lm_step_tag = SEPARATOR

    def __init__(
        self, peer: Any, *, grain: int = 1 << 20, cut: float = 0.1, end: float = 0.25
    ) -> None:
        self.peer, self.grain, self.cut, self.end = peer, grain, cut, end
        self.calls = 0

    def lm_call(self) -> Any:
        """The models as OpenR's ``lm_call``, which carries its step tag."""
        return _Tagged(self._write)

    def _write(self, input_str: str, config: Any) -> Any:
        self.calls += 1
        texts, reasons, logprobs = [], [], []
        for i in range(config.n):
            kind, word, weight = _hashed(f"{input_str}|{i}", 3)
            text = f"step {int(word * 12)}"  # few words: some samples are equal
            reasons.append("length" if kind < self.cut else "stop")
            if kind > 1 - self.end:
                text = f"so \\boxed{{{int(word * 5)}}}"
            elif config.stop_str is not None and reasons[-1] == "stop":
                text += config.stop_str
            texts.append(text)
            logprobs.append(math.log(0.05 + 0.95 * weight))
        tokens = [len(text) for text in texts]
        total = [mean * count for mean, count in zip(logprobs, tokens, strict=True)]
        return self.peer.ConcatedLMGenResult(
            texts, [len(input_str)] * config.n, tokens, total, logprobs, reasons
        )

    def rm_call(self, question_answer_pairs: Any, lm_step_tag: str) -> Any:
        self.calls += 1
        rows = []
        for question, answer in question_answer_pairs:
            steps = [step for step in answer.split(lm_step_tag) if step.strip()]
            ends = range(1, len(steps) + 1)
            prefixes = [f"{question}|{lm_step_tag.join(steps[:end])}" for end in ends]
            rows.append([int(_hashed(p, 1)[0] * self.grain) / self.grain for p in prefixes])
        return rows


class _Tagged:
    lm_step_tag = SEPARATOR

    def __init__(self, write: Any) -> None:
        self._write = write

    def __call__(self, input_str: str, config: Any) -> Any:
        return self._write(input_str, config)


def _hashed(text: str, count: int) -> list[float]:
    """Numbers in [0, 1) that depend on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=4 * count).digest()
    return [int.from_bytes(digest[4 * i : 4 * i + 4], "little") / 2**32 for i in range(count)]
