"""Reward models: three forms, each told right from wrong, and read as the search reads it."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from tiny_training import RIGHT, WRONG, preferences, rewards, tiny, write  # noqa: E402

from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.errors import DataError, InvalidArgumentError  # noqa: E402
from rtsearch_fast.reward.generative import GenerativeReward  # noqa: E402
from rtsearch_fast.reward.question import JudgeTemplate  # noqa: E402
from rtsearch_fast.reward.worked import work_out  # noqa: E402
from rtsearch_fast.reward.written import WrittenReward  # noqa: E402
from rtsearch_fast.training import reward  # noqa: E402
from rtsearch_fast.training.models import train_tokenizer  # noqa: E402
from rtsearch_fast.training.reward import train_reward  # noqa: E402
from rtsearch_fast.training.settings import RewardSettings  # noqa: E402
from rtsearch_fast.training.text import IGNORED, label_token  # noqa: E402


def test_tokenizer_when_trained_for_rewards_knows_each_label_as_one_token() -> None:
    tokenizer = train_tokenizer(["Not yet. Nothing else."], 300, (), ("Yes", "No"))
    for label in ("Yes", "No"):
        assert tokenizer.decode([label_token(tokenizer, label)]) == label


def test_generative_when_tokenised_trains_the_label_or_check_verdict_and_label(
    tmp_path: Path,
) -> None:
    template = JudgeTemplate.load("plain")
    tokenizer = train_tokenizer([template.render("1", (RIGHT,))], 400, (), ("Yes", "No"))
    settings = RewardSettings(**tiny(tmp_path, tmp_path))
    rows = [
        {"problem": "1", "solution": RIGHT, "label": True},
        {"problem": "1", "solution": WRONG, "label": False, "check": "4 is wrong. "},
    ]
    examples, facts = reward._generative(settings, tokenizer, template, rows)
    assert facts == {"rows": 2, "too_long": 0, "right": 1, "written": 1}
    for row, source, end in zip(examples, rows, ("Yes", "4 is wrong.\nVerdict: No"), strict=True):
        start = row["labels"].count(IGNORED)
        assert row["labels"] == [IGNORED] * start + row["input_ids"][start:]
        assert tokenizer.decode(row["input_ids"][start:]) == end
        prompt = template.render("1", (source["solution"],))
        assert row["input_ids"][:start] == tokenizer.encode(prompt)
    # as `positive_shares` asks: the text up to the label, and the label on its own
    written = tokenizer.encode(template.render("1", (WRONG,)) + "4 is wrong.\nVerdict: ")
    assert examples[1]["input_ids"] == [*written, label_token(tokenizer, "No")]


def test_generative_when_a_calculator_works_checks_out_is_not_trained_on_results(
    tmp_path: Path,
) -> None:
    template = JudgeTemplate.load("plain")
    texts = [template.render("1", (RIGHT,)), "0123456789+-*, = ?"]
    tokenizer = train_tokenizer(texts, 400, (), ("Yes", "No"))
    settings = RewardSettings(**tiny(tmp_path, tmp_path), calculator=True)
    rows = [{"problem": "1", "solution": WRONG, "label": False, "check": "3*4-5, 2-2, ?"}]
    (row,), _ = reward._generative(settings, tokenizer, template, rows)
    whole = tokenizer.decode(row["input_ids"])
    assert whole.endswith("3*4-5, 2-2, ? = 7, 0, ?\nVerdict: No")
    trained = [token for token in row["labels"] if token != IGNORED]
    assert tokenizer.decode(trained) == "3*4-5, 2-2, ? =No"
    # what the model will be asked, token for token
    prompt = template.render("1", (WRONG,))
    assert row["input_ids"][:-1] == tokenizer.encode(
        f"{prompt}{work_out('3*4-5, 2-2, ?')}\nVerdict: "
    )


async def _scores(folder: Path, kind: type) -> list[float]:
    engine = TransformersEngine(folder, dtype="float32")
    judge = kind(engine)
    try:
        judged = await judge.score("Add 7.", [(RIGHT,), (WRONG,)])
        return [judgement.score for judgement in judged]
    finally:
        await engine.aclose()


@pytest.mark.parametrize("check", [False, True])
def test_generative_when_trained_tells_right_from_wrong(tmp_path: Path, check: bool) -> None:
    data = write(tmp_path / "reward.jsonl", rewards(check=check))
    settings = RewardSettings(
        **tiny(data, tmp_path / "out", max_steps=100 if check else 40, batch_size=8)
    )
    result = train_reward(settings, quiet=True)
    assert result.metrics["right"] == 16
    assert result.metrics["last_loss"] < 0.3 < result.metrics["first_loss"]
    right, wrong = asyncio.run(_scores(result.folder, WrittenReward if check else GenerativeReward))
    assert right > 0.7 and wrong < 0.3


@pytest.mark.parametrize("kind", ["discriminative", "ranking"])
def test_head_when_trained_tells_right_from_wrong_at_the_last_token(
    tmp_path: Path, kind: str
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = preferences() if kind == "ranking" else rewards()
    data = write(tmp_path / "reward.jsonl", rows)
    settings = RewardSettings(**tiny(data, tmp_path / "out", max_steps=30, batch_size=8), kind=kind)
    result = train_reward(settings, quiet=True)
    assert result.metrics["first_loss"] == pytest.approx(0.69, abs=0.1)
    assert result.metrics["last_loss"] < 0.3
    config = json.loads((result.folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert config["problem_type"] == "multi_label_classification"  # a sigmoid, for vLLM
    model = AutoModelForSequenceClassification.from_pretrained(result.folder)
    tokenizer = AutoTokenizer.from_pretrained(result.folder)
    texts = [JudgeTemplate.load("plain").render("Add 7.", (text,)) for text in (RIGHT, WRONG)]
    with torch.no_grad():
        right, wrong = (
            torch.sigmoid(model(**tokenizer(text, return_tensors="pt")).logits).item()
            for text in texts
        )
    assert right > 0.5 > wrong if kind == "discriminative" else right > wrong


def test_reward_when_all_are_right_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "reward.jsonl", [row for row in rewards() if row["label"]])
    with pytest.raises(DataError, match=r"all 16 rows are right: .*add wrong solutions"):
        train_reward(RewardSettings(**tiny(data, tmp_path / "out")), quiet=True)


def test_reward_when_a_label_is_rare_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row for i, row in enumerate(rewards()) if row["label"] or i < 3]
    data = write(tmp_path / "reward.jsonl", rows)
    logging.getLogger("rtsearch_fast").propagate = True
    settings = RewardSettings(**tiny(data, tmp_path / "out", max_steps=1))
    train_reward(settings, quiet=True)
    assert "16 rows are right and 1 wrong" in caplog.text


def test_reward_when_a_label_is_more_tokens_names_the_pieces(tmp_path: Path) -> None:
    data = write(tmp_path / "reward.jsonl", rewards())
    tokenizer = train_tokenizer(["a"], 258)
    tokenizer.save_pretrained(tmp_path / "bytes")
    settings = RewardSettings(
        **tiny(data, tmp_path / "out"), tokenizer=str(tmp_path / "bytes"), labels=("Yes", "No")
    )
    with pytest.raises(InvalidArgumentError, match=r"label 'Yes' is 3 tokens, \['Y', 'e', 's'\]"):
        train_reward(settings, quiet=True)
