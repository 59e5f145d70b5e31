"""search-and-learn's approaches over our driver: its decisions, its recipes, its records.

Against the interface as `sal_restated` restates it, and against search-and-learn's own source where
the environment variable RTS_SAL_SOURCE names its folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sal_restated
from sal_restated import LLM, PRM, Config

from rtsearch_fast.adapters.search_and_learn import (
    APPROACHES,
    load_recipe,
    options_of,
    rtsearch_beam_search,
    rtsearch_best_of_n,
    rtsearch_mcts,
    rtsearch_mcts_g,
    to_rows,
    write_rows,
)
from rtsearch_fast.errors import (
    AnswerFormatError,
    DataError,
    EngineError,
    InvalidArgumentError,
)

SOURCE = os.environ.get("RTS_SAL_SOURCE")
SCRIPT = Path(__file__).parents[2] / "support" / "sal_twins.py"
QUESTIONS = [f"What is {i} + {i}?" for i in range(12)]
BATCH = {"problem": QUESTIONS}


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its settings of a sample are all that the adapter needs of vLLM besides the LLM."""
    vllm = ModuleType("vllm")
    vllm.SamplingParams = sal_restated.SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    yield


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def without_tokens(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: found[name] for name in ("completions", "scores", "pred")}


# --- the same decisions --------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 4, 7])
@pytest.mark.parametrize("agg_strategy", ["last", "min", "prod"])
def test_best_of_n_when_models_are_the_same_is_that_of_the_original(
    n: int, agg_strategy: str
) -> None:
    config = Config(n=n, agg_strategy=agg_strategy, sort_completed=True)  # of no effect there
    ours = rtsearch_best_of_n(BATCH, config, LLM(), PRM())
    theirs = [sal_restated.best_of_n(q, config, LLM(), PRM()) for q in QUESTIONS]
    assert without_tokens(ours) == columns(theirs)
    assert ours["completion_tokens"] == [[len(t) for t in texts] for texts in ours["completions"]]


@pytest.mark.parametrize(("n", "beam_width"), [(4, 4), (8, 2), (7, 3)])
@pytest.mark.parametrize("num_iterations", [1, 3, 12])
@pytest.mark.parametrize("sort_completed", [False, True])
def test_beam_search_when_models_are_the_same_is_that_of_the_original(
    n: int, beam_width: int, num_iterations: int, sort_completed: bool
) -> None:
    config = Config(
        n=n, beam_width=beam_width, num_iterations=num_iterations, sort_completed=sort_completed
    )
    ours = rtsearch_beam_search(BATCH, config, LLM(), PRM())
    theirs = [sal_restated.beam_search(q, config, LLM(), PRM()) for q in QUESTIONS]
    assert without_tokens(ours) == columns(theirs)


def test_beam_search_when_duplicates_are_filtered_keeps_different_texts() -> None:
    config = Config(
        n=12, beam_width=2, num_iterations=6, filter_duplicates=True, agg_strategy="min"
    )
    ours = rtsearch_beam_search(BATCH, config, LLM(words=3), PRM())
    theirs = [sal_restated.beam_search(q, config, LLM(words=3), PRM()) for q in QUESTIONS]
    assert without_tokens(ours) == columns(theirs)
    config = Config(n=12, beam_width=2, num_iterations=6, agg_strategy="min")
    assert rtsearch_beam_search(BATCH, config, LLM(words=3), PRM()) != ours


@pytest.mark.skipif(SOURCE is None, reason="RTS_SAL_SOURCE names no folder with sal's source")
def test_twins_when_search_and_learn_is_there_decide_as_its_own_source() -> None:
    # it imports vLLM, or here a module of that name: that gets a process of its own
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(SOURCE)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]


# --- our searches --------------------------------------------------------------------------


@pytest.mark.parametrize("approach", sorted(APPROACHES))
@pytest.mark.parametrize("n", [1, 4, 10])
@pytest.mark.parametrize("boxed", [True, False])
def test_approaches_when_a_batch_comes_give_n_judged_completions_of_each(
    approach: str, n: int, boxed: bool
) -> None:
    config = Config(n=n, beam_width=min(4, n), num_iterations=12, filter_duplicates=True)
    prm = PRM()
    found = APPROACHES[approach](BATCH, config, LLM(boxed=boxed), prm)
    assert list(found) == ["completions", "scores", "pred", "completion_tokens"]
    rows = zip(QUESTIONS, *found.values(), strict=True)
    for question, texts, scores, pred, tokens in rows:
        assert len(texts) == len(scores) == len(tokens) == n
        assert scores == PRM().score([question], [texts])[0]
        assert pred in texts
    judged = [(q, text) for qs, o in prm.calls for q, of in zip(qs, o, strict=True) for text in of]
    assert len(judged) == len(set(judged))
    assert max(len(of) for _, outputs in prm.calls for of in outputs) <= config.prm_batch_size


@pytest.mark.parametrize("approach", [rtsearch_mcts, rtsearch_mcts_g])
def test_tree_searches_when_problems_come_in_another_batch_find_the_same(approach: Any) -> None:
    def seeded(**settings: Any) -> LLM:
        """An LLM whose answers depend on prompt and seed alone."""
        llm = LLM(**settings)
        llm._one = lambda prompt, params: LLM()._one(f"{prompt}|{params.seed}", params)  # type: ignore[method-assign]
        return llm

    config = Config(n=8)
    together = approach(BATCH, config, seeded(), PRM())
    backwards = approach({"problem": QUESTIONS[::-1]}, config, seeded(), PRM())
    assert {name: column[::-1] for name, column in backwards.items()} == together
    assert approach(BATCH, Config(n=8, seed=43), seeded(), PRM()) != together


def test_problems_when_equal_in_a_batch_get_n_completions_each() -> None:
    found = rtsearch_beam_search({"problem": ["2 + 2?"] * 3}, Config(), LLM(), PRM())
    assert [len(texts) for texts in found["completions"]] == [4, 4, 4]


def test_batches_when_problems_are_many_hold_all_of_them() -> None:
    llm, prm = LLM(), PRM()
    rtsearch_beam_search(BATCH, Config(n=4, num_iterations=10), llm, prm)
    assert llm.batches[0] == 4 * len(QUESTIONS)
    assert len(llm.batches) <= 10 + 1
    assert len(prm.calls) <= 10 + 1


def test_searches_when_no_step_comes_give_empty_completions() -> None:
    llm = LLM()
    silent = SimpleNamespace(text="", token_ids=[0], finish_reason="stop", stop_reason=None)
    llm._one = lambda prompt, params: SimpleNamespace(outputs=[silent])  # type: ignore[method-assign]
    found = rtsearch_mcts({"problem": QUESTIONS[:1]}, Config(n=2), llm, PRM())
    assert found["completions"] == [["", ""]]
    assert found["scores"] == [[[0.0], [0.0]]]
    assert found["pred"] == [""]


def test_prompts_when_a_template_is_given_are_made_by_it_once_a_problem() -> None:
    rendered = []

    class Watched(sal_restated.Tokenizer):
        def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
            rendered.append(kwargs["chat_template"])
            return super().apply_chat_template(*args, **kwargs)

    llm = LLM()
    llm.get_tokenizer = Watched  # type: ignore[method-assign,assignment]
    rtsearch_mcts(BATCH, Config(custom_chat_template="{{ mine }}"), llm, PRM())
    assert rendered == ["{{ mine }}"] * len(QUESTIONS)
    assert Watched.chat_template is None  # the original's stays on the tokenizer


# --- records -------------------------------------------------------------------------------


def test_rows_when_written_hold_search_and_learns_keys(tmp_path: Path) -> None:
    config = Config(n=4, agg_strategy="min")
    batch = {"problem": QUESTIONS[:2], "answer": ["0", "2"], "unique_id": ["a", "b"]}
    found = rtsearch_mcts_g(batch, config, LLM(), PRM())
    write_rows(tmp_path / "rows.jsonl", to_rows(batch, found, config))
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    votes = [f"pred_{vote}@{n}" for n in (1, 2, 4) for vote in ("naive", "weighted", "maj")]
    assert list(rows[0]) == [*batch, *found, "agg_scores", *votes]
    for row, scores in zip(rows, found["scores"], strict=True):
        assert row["agg_scores"] == [min(of_steps) for of_steps in scores]
        assert row["pred_naive@4"].startswith("\\boxed{")


def test_votes_when_scores_differ_are_over_the_first_completions() -> None:
    texts = [f"\\boxed{{{answer}}}" for answer in ("1", "2", "2", "3")]
    found = {"completions": [texts], "scores": [[[0.9], [0.3], [0.4], [0.95]]]}
    (row,) = to_rows({"problem": ["?"]}, found, Config())
    chosen = {key: row[key] for key in row if key.startswith("pred_")}
    assert chosen == {
        "pred_naive@1": "\\boxed{1}",
        "pred_weighted@1": "\\boxed{1}",
        "pred_maj@1": "\\boxed{1}",
        "pred_naive@2": "\\boxed{1}",
        "pred_weighted@2": "\\boxed{1}",
        "pred_maj@2": "\\boxed{1}",
        "pred_naive@4": "\\boxed{3}",
        "pred_weighted@4": "\\boxed{3}",
        "pred_maj@4": "\\boxed{2}",
    }


def test_rows_when_columns_differ_in_length_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="'problem': 2, 'completions': 1"):
        to_rows({"problem": ["a", "b"]}, {"completions": [["x"]]}, Config())


# --- settings ------------------------------------------------------------------------------


def test_recipe_when_loaded_has_its_keys_and_the_defaults_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "beam_search.yaml"
    path.write_text("approach: rtsearch_beam_search\nn: 16\nfilter_duplicates: true\nseed: 0\n")
    config = load_recipe(path, n=8)
    assert (config.n, config.seed, config.temperature, config.beam_width) == (8, 0, 0.8, 4)
    plan = options_of(config)
    assert (plan.method, plan.n, plan.keep, plan.iterations) == ("beam", 8, 2, 40)
    assert (plan.options.width, plan.options.seed, plan.options.temperature) == (4, 0, 0.8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n: 4\nbeam_widht: 2\n", "unknown key 'beam_widht': did you mean 'beam_width'"),
        ("- n\n", "a recipe is a mapping"),
        ("n: [4\n", "recipe.yaml: "),
        (None, "recipe.yaml"),
    ],
)
def test_recipe_when_it_cannot_be_read_says_why(
    tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words):
        load_recipe(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"approach": "dvts"}, "approach='dvts': choose one of rtsearch_best_of_n"),
        ({"agg_strategy": "mean"}, "agg_strategy='mean': choose one of last, min, prod"),
        ({"lookahead": 2}, "lookahead=2: must be 0"),
        ({"n": 0}, "n=0: must be a whole number"),
        ({"n": 2, "approach": "beam_search"}, "n=2: must be at least beam_width=4"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_options_when_a_setting_cannot_be_honoured_say_which(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        options_of(Config(**{"approach": "rtsearch_mcts", **changes}))


def test_options_when_a_field_is_missing_name_it() -> None:
    with pytest.raises(InvalidArgumentError, match=r"no beam_width.*search-and-learn 0\.1\.0"):
        options_of(SimpleNamespace(approach="mcts", n=4))


def test_prompts_when_the_default_texts_are_not_installed_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sal.config", None)
    config = load_recipe(None, approach="rtsearch_mcts")
    with pytest.raises(InvalidArgumentError, match="put system_prompt into the recipe"):
        rtsearch_mcts(BATCH, config, LLM(), PRM())


@pytest.mark.parametrize("settings", [{}, {"base_url": "http://127.0.0.1:1/v1"}])
def test_models_when_neither_or_both_are_given_are_refused(settings: dict[str, Any]) -> None:
    llm = LLM() if settings else None
    with pytest.raises(InvalidArgumentError, match="base_url of a server"):
        rtsearch_mcts(BATCH, Config(), llm, PRM(), **settings)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ([[[1.5]]], AnswerFormatError, "score 1.5"),
        ([[[float("nan")]]], AnswerFormatError, "score nan"),
        ([[[]]], AnswerFormatError, "a verdict is"),
        ([[[0.5], [0.5]]], AnswerFormatError, "prm.score returned"),
    ],
)
def test_scores_when_out_of_range_or_shape_are_refused_by_name(
    answer: Any, error: type[Exception], words: str
) -> None:
    prm = SimpleNamespace(score=lambda questions, outputs: answer)
    with pytest.raises(error, match=words):
        rtsearch_best_of_n({"problem": QUESTIONS[:1]}, Config(n=1), LLM(), prm)


def test_models_when_they_fail_end_the_search_with_their_error() -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    with pytest.raises(EngineError, match="out of memory"):
        rtsearch_mcts(BATCH, Config(), LLM(), SimpleNamespace(score=fail))
