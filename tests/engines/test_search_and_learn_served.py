"""search-and-learn's approaches with a server in the place of its LLM."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sal_restated
from sal_restated import PRM, Config, hashed
from tiny_llama import tiny_llama

from rtsearch_fast.adapters.search_and_learn import rtsearch_beam_search, rtsearch_mcts_g

TEMPLATE = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}answer: "
BATCH = {"problem": [f"What is {i} + {i}?" for i in range(4)]}


def write(prompt: str, seed: int) -> str:
    """Steps and an answer that depend on the prompt and the seed alone."""
    words = hashed(f"{prompt}|{seed}", 4)
    steps = "".join(f"step {int(word * 50)}\n\n" for word in words[: 1 + int(words[3] * 3)])
    return f"{steps}so \\boxed{{{int(words[0] * 5)}}}."


class InProcess:
    """The same model as an LLM in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)

    def generate(self, prompts: list[str], params: list[Any], use_tqdm: bool) -> list[Any]:
        return [self._one(*asked) for asked in zip(prompts, params, strict=True)]

    def _one(self, prompt: str, params: Any) -> Any:
        text = write(prompt, params.seed)
        ends = [text.find(stop) for stop in params.stop if stop in text]
        output = SimpleNamespace(
            text=text[: ends[0]] if ends else text,
            token_ids=[0],
            finish_reason="stop",
            stop_reason=params.stop[0] if ends else None,
        )
        return SimpleNamespace(outputs=[output])


@pytest.mark.parametrize("approach", [rtsearch_beam_search, rtsearch_mcts_g])
def test_approaches_when_a_server_takes_the_place_of_the_llm_find_the_same(
    approach: Callable[..., Any],
    start_server: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vllm = ModuleType("vllm")
    vllm.SamplingParams = sal_restated.SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    folder = tiny_llama(tmp_path)
    config = Config(
        model_path=str(folder), custom_chat_template=TEMPLATE, num_iterations=6, n=8, beam_width=2
    )
    server = start_server(write)
    served = approach(BATCH, config, None, PRM(), base_url=server.base_url)
    gc.collect()
    local = approach(BATCH, config, InProcess(folder), PRM())
    assert len(set(local["pred"])) > 1
    for name in ("completions", "scores", "pred"):
        assert served[name] == local[name]
    assert server.bodies[0]["prompt"].startswith("system: Be brief.\nuser: What is ")
