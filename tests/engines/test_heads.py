"""Heads of reward models in this process: what is computed, what is spared, what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_rewards import byte_level, tiny_reward  # noqa: E402

from rtsearch_fast.engine.heads import HeadEngine  # noqa: E402
from rtsearch_fast.engine.marks import MarkedText  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.errors import EngineError  # noqa: E402

BYTES = byte_level()
TEXT = "12 + 3 = 15.<extra_0>15 - 6 = 9.<extra_0>So 9.<extra_0>"
ENDS = tuple(i + 9 for i in range(len(TEXT)) if TEXT.startswith("<extra_0>", i))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_reward(tmp_path_factory.mktemp("prm"), "ProcessReward", BYTES)


@pytest.fixture
def run() -> Callable[..., Any]:
    """Call engines, and close them."""

    def run(engine: HeadEngine, *calls: Callable[[HeadEngine], Any]) -> list[Any]:
        async def work() -> list[Any]:
            try:
                return list(await asyncio.gather(*(call(engine) for call in calls)))
            finally:
                await engine.aclose()

        return asyncio.run(work())

    return run


def test_read_marks_when_texts_share_a_beginning_computes_it_once(folder, run) -> None:
    engine = HeadEngine(folder, dtype="float32")
    marked = MarkedText(TEXT, ENDS)
    (rows,) = run(engine, lambda e: e.read_marks([marked, marked]))
    assert rows[0] == rows[1] and [len(row) for row in rows[0]] == [2, 2, 2]
    assert all(sum(row) == pytest.approx(1) for row in rows[0])
    tokens = len(engine.encode(TEXT))
    stats = engine.stats
    # the blocks of the cache are whole, so that a few tokens are computed again for each mark
    assert tokens <= stats.prompt_tokens - stats.cached_tokens <= tokens + 5 * 4


def test_read_marks_when_others_are_under_way_gives_the_same_bits(folder, run) -> None:
    marked = MarkedText(TEXT, ENDS)
    (alone,) = run(HeadEngine(folder, dtype="float32"), lambda e: e.read_marks([marked], raw=True))
    others = [MarkedText(f"{n}" * n, (n,)) for n in range(1, 9)]
    found, _ = run(
        HeadEngine(folder, dtype="float32", cache_tokens=0),
        lambda e: e.read_marks([marked], raw=True),
        lambda e: e.read_marks(others),
    )
    assert found == alone


def test_classify_when_asked_reads_the_last_token(folder, run) -> None:
    engine = HeadEngine(folder, dtype="float32")
    marked = [MarkedText(TEXT, (len(TEXT),))]
    ((row,), ((same,),), (raw,)) = run(
        engine,
        lambda e: e.classify([TEXT]),
        lambda e: e.read_marks(marked),
        lambda e: e.classify([TEXT], raw=True),
    )
    assert row == same and torch.softmax(torch.tensor(raw), -1).tolist() == pytest.approx(row)


def test_engine_when_labels_are_given_has_the_logits_of_the_language_model(tmp_path, run) -> None:
    folder = tiny_reward(tmp_path, "CausalLM", BYTES)
    labels = ("+", "-")
    (((row,),),) = run(
        HeadEngine(folder, labels=labels, dtype="float32"),
        lambda e: e.read_marks([MarkedText(TEXT, ENDS[:1])], raw=True),
    )
    (((plus, minus),),) = run(
        TransformersEngine(folder, dtype="float32"),
        lambda e: e.label_logprobs([TEXT[: ENDS[0]]], labels),
    )
    assert row[0] - row[1] == pytest.approx(plus - minus, abs=1e-4)


def test_probe_when_the_model_works_tells_its_outputs(folder, run) -> None:
    (((check,),),) = [run(HeadEngine(folder), lambda e: e.probe())]
    assert check.ok and check.detail.startswith("2 outputs, 0.")


def test_read_marks_when_the_text_is_too_long_says_so(folder, run) -> None:
    with pytest.raises(EngineError, match=r"the text has 600 tokens, but .* has a context of 512"):
        run(HeadEngine(folder), lambda e: e.classify(["1" * 600]))


def test_read_marks_when_the_text_is_empty_says_so(folder, run) -> None:
    with pytest.raises(EngineError, match="mark 1"):
        run(HeadEngine(folder), lambda e: e.classify([""]))


# --- folders that are refused ------------------------------------------------------------


def change(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Edit the stored weights."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = load_file(file)
    edit(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def rename(weights: dict[str, Any], old: str, new: str) -> None:
    for key in [key for key in weights if key.startswith(old)]:
        weights[key.replace(old, new)] = weights.pop(key)


FAULTS = {
    "holds no head": lambda w: rename(w, "v_head", "value"),
    "holds the heads score, v_head.summary": lambda w: w.update(
        {"score.weight": torch.zeros(1, 32)}
    ),
    "also holds the weights gate.weight": lambda w: w.update({"gate.weight": torch.zeros(1)}),
    "lacks the weights layers.1.mlp.up_proj.weight": lambda w: w.pop(
        "model.layers.1.mlp.up_proj.weight"
    ),
    "the head is for a hidden size of 16, the model has 32": lambda w: w.update(
        {"v_head.summary.weight": torch.zeros(1, 16)}
    ),
    "has the layers 0: only one layer, or two": lambda w: rename(w, "v_head.summary", "v_head.0"),
    "lacks the weights v_head.summary.weight": lambda w: w.pop("v_head.summary.weight"),
}


@pytest.mark.parametrize("text", FAULTS)
def test_engine_when_weights_do_not_fit_refuses_them(tmp_path, text) -> None:
    folder = change(tiny_reward(tmp_path, "v_head", BYTES), FAULTS[text])
    with pytest.raises(EngineError) as caught:
        HeadEngine(folder)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_engine_when_the_language_models_head_is_missing_does_not_guess_one(tmp_path) -> None:
    folder = tiny_reward(tmp_path, "SequenceClassification", BYTES, num_labels=1)
    with pytest.raises(EngineError, match=r"lacks the weights lm_head\.weight: it is another kind"):
        TransformersEngine(folder)


def test_engine_when_the_model_reads_in_both_directions_refuses_it(tmp_path) -> None:
    folder = tiny_reward(
        tmp_path, "SequenceClassification", BYTES, family="Bert", is_decoder=False, num_labels=1
    )
    with pytest.raises(EngineError, match="reads texts in both directions"):
        HeadEngine(folder)


def test_engine_when_a_label_is_no_token_says_so(tmp_path) -> None:
    folder = tiny_reward(tmp_path, "CausalLM", BYTES)
    with pytest.raises(EngineError, match=r"label 'Yes' is 3 tokens of .*\['Y', 'e', 's'\]"):
        HeadEngine(folder, labels=("Yes", "No"))


def test_engine_when_logits_are_changed_afterwards_leaves_labels_to_another(tmp_path) -> None:
    folder = tiny_reward(tmp_path, "CausalLM", BYTES)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"final_logit_softcapping": 30.0}))
    with pytest.raises(EngineError, match="changes its logits by final_logit_softcapping: read"):
        HeadEngine(folder, labels=("+", "-"))


def test_engine_when_the_weights_are_no_safetensors_does_not_open_them(tmp_path) -> None:
    folder = tiny_reward(tmp_path, "v_head", BYTES)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EngineError, match="no weights in safetensors files"):
        HeadEngine(folder)


def test_engine_when_the_folder_is_missing_says_so(tmp_path) -> None:
    with pytest.raises(EngineError, match=r"no config\.json"):
        HeadEngine(tmp_path / "none")


def test_read_marks_when_the_head_gives_nan_is_an_error(tmp_path, run) -> None:
    def break_it(weights: dict[str, Any]) -> None:
        weights["v_head.summary.bias"] = torch.tensor([float("nan")])

    folder = change(tiny_reward(tmp_path, "v_head", BYTES), break_it)
    with pytest.raises(EngineError, match="computed NaN"):
        run(HeadEngine(folder), lambda e: e.classify(["1"]))
