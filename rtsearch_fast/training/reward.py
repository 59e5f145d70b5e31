"""Training of a reward model on right and wrong solutions, in one of three forms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..engine.template import neutralise
from ..reward.question import JudgeTemplate
from ..reward.worked import RESULTS, work_out
from ..splitters import unescape
from .data import RANKING, REWARD, Row, check_labels, read_rows
from .models import load_model, load_tokenizer
from .pooled import HEAD, padded
from .settings import RewardSettings
from .text import encode, fit, label_token
from .trainer import (
    Job,
    TrainResult,
    arguments,
    claim,
    dataset,
    isolated,
    lora_config,
    our,
    require,
    run,
)

__all__ = ["train_reward"]

_log = logging.getLogger(__name__)


def train_reward(settings: RewardSettings, *, quiet: bool = False) -> TrainResult:
    """Train a model to tell right solutions from wrong ones.

    Parameters
    ----------
    settings : RewardSettings
        Rows of the data have the fields `problem`, `solution` (a text or a list of steps) and
        `label` (true or false); with the field `check`, too, a generative model learns to write it
        before its label. For ``kind="ranking"`` they have `problem`, `chosen` and `rejected`.
    quiet : bool
        Tell nothing on stderr.

    Returns
    -------
    TrainResult
        A generative model is one for `GenerativeReward` and `WrittenReward`, the others are for
        `ClassifierReward` over vLLM's task ``classify``. What a ranking model gives is squashed by
        a sigmoid, too, but is no probability.

    Raises
    ------
    DataError, EngineError, InvalidArgumentError, MissingExtraError, RunStoreError
        Data, model, settings, packages or output cannot be used.
    """
    require(settings)
    template = JudgeTemplate.load(settings.template)
    columns = RANKING if settings.kind == "ranking" else REWARD
    rows = read_rows(settings.data, columns)
    held = read_rows(settings.eval_data, columns) if settings.eval_data else []
    if settings.kind != "ranking" and (warning := check_labels(rows, settings.balance)):
        _log.warning("%s", warning)
    claim(settings)
    with isolated():
        texts = (text for row in rows for text in _texts(settings, template, row))
        tokenizer = load_tokenizer(settings, template.template.text, texts)
        make = {"generative": _generative, "discriminative": _scored, "ranking": _ranked}
        examples, facts = make[settings.kind](settings, tokenizer, template, rows)
        evaluated = None
        if held:
            evaluated, _ = make[settings.kind](settings, tokenizer, template, held)
        job = Job(f"reward {settings.kind}", settings, tokenizer, facts, quiet)
        trainer, progress = _trainer(job, settings, examples, evaluated)
        return run(job, trainer, progress)


def _trainer(job: Job, settings: RewardSettings, examples: Any, held: Any) -> tuple[Any, Any]:
    shared: dict[str, Any] = {
        "train_dataset": examples,
        "eval_dataset": held,
        "processing_class": job.tokenizer,
    }
    if settings.kind == "generative":
        from trl import SFTConfig, SFTTrainer

        kind, progress = our(SFTTrainer, job)
        more = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
        return kind(
            model=load_model(settings, job.tokenizer),
            args=arguments(SFTConfig, settings, **more),
            peft_config=lora_config(settings),
            **shared,
        ), progress
    model = load_model(settings, job.tokenizer, "SequenceClassification", **HEAD)
    if settings.kind == "ranking":
        from trl import RewardConfig, RewardTrainer

        kind, progress = our(RewardTrainer, job)

        class Tokenised(kind):  # type: ignore[misc, valid-type]
            def _prepare_dataset(self, rows: Any, *args: Any, **kwargs: Any) -> Any:
                """Nothing is left to do."""
                return rows

        return Tokenised(
            model=model,
            args=arguments(RewardConfig, settings, max_length=None),
            peft_config=lora_config(settings, "SEQ_CLS"),
            **shared,
        ), progress
    from transformers import Trainer, TrainingArguments

    if (adapters := lora_config(settings, "SEQ_CLS")) is not None:
        from peft import get_peft_model

        model = get_peft_model(model, adapters)
    kind, progress = our(Trainer, job)
    return kind(
        model=model,
        args=arguments(TrainingArguments, settings),
        data_collator=padded(job.tokenizer.pad_token_id),
        **shared,
    ), progress


def _texts(settings: RewardSettings, template: JudgeTemplate, row: Row) -> Sequence[str]:
    """What a tokenizer may be trained on."""
    names = ("chosen", "rejected") if settings.kind == "ranking" else ("solution",)
    extra = [row["check"] + unescape(settings.verdict)] if "check" in row else []
    return [*(template.render(row["problem"], (row[name],)) for name in names), *extra]


# --- rows as token ids, in the three forms ----------------------------------------------------


def _generative(
    settings: RewardSettings, tokenizer: Any, template: JudgeTemplate, rows: Sequence[Row]
) -> tuple[Any, dict[str, int]]:
    """The label behind the question, or behind a check: as `positive_shares` reads it."""
    written = JudgeTemplate.load(settings.check_template or settings.template)
    labels = {
        True: label_token(tokenizer, settings.labels[0]),
        False: label_token(tokenizer, settings.labels[1]),
    }
    verdict = unescape(settings.verdict)
    texts, starts, stops = [], [], []
    for row in rows:
        steps = (row["solution"],)
        if "check" in row:
            text = written.render(row["problem"], steps)
            starts.append(len(text))
            text += neutralise(row["check"]).rstrip()
            if settings.calculator:
                stops.append(len(text) + len(RESULTS.rstrip()))
                text = text[: starts[-1]] + work_out(text[starts[-1] :])
            else:
                stops.append(len(text) + len(verdict))
            texts.append(text + verdict)
        else:
            texts.append(template.render(row["problem"], steps))
            starts.append(len(texts[-1]))
            stops.append(len(texts[-1]))
    encoded = [
        # an engine looks the label up on its own, so it is not tokenised with the text
        ([*text.ids, labels[row["label"]]], [*text.labels, labels[row["label"]]])
        for text, row in zip(encode(tokenizer, texts, starts, None, stops), rows, strict=True)
    ]
    short = fit([len(ids) for ids, _ in encoded], settings.max_length)
    columns: dict[str, list[Any]] = {
        "input_ids": [encoded[index][0] for index in short],
        "labels": [encoded[index][1] for index in short],
    }
    facts = _facts(settings, rows, short)
    return dataset(columns), {**facts, "written": sum("check" in rows[i] for i in short)}


def _scored(
    settings: RewardSettings, tokenizer: Any, template: JudgeTemplate, rows: Sequence[Row]
) -> tuple[Any, dict[str, int]]:
    """The question and its answer as a number, which is read at the last token."""
    encoded = _encode(tokenizer, template, rows, "solution")
    short = fit([len(ids) for ids in encoded], settings.max_length)
    columns: dict[str, list[Any]] = {
        "input_ids": [encoded[index] for index in short],
        "labels": [float(rows[index]["label"]) for index in short],
    }
    facts = _facts(settings, rows, short)
    return dataset(columns), facts


def _ranked(
    settings: RewardSettings, tokenizer: Any, template: JudgeTemplate, rows: Sequence[Row]
) -> tuple[Any, dict[str, int]]:
    """The questions about the better and about the worse solution."""
    chosen = _encode(tokenizer, template, rows, "chosen")
    rejected = _encode(tokenizer, template, rows, "rejected")
    lengths = [max(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]
    short = fit(lengths, settings.max_length)
    columns: dict[str, list[Any]] = {
        "chosen_ids": [chosen[index] for index in short],
        "rejected_ids": [rejected[index] for index in short],
    }
    facts = _facts(settings, rows, short)
    return dataset(columns), facts


def _encode(
    tokenizer: Any, template: JudgeTemplate, rows: Sequence[Row], name: str
) -> list[list[int]]:
    texts = [template.render(row["problem"], (row[name],)) for row in rows]
    return [text.ids for text in encode(tokenizer, texts, [0] * len(texts), None)]


def _facts(settings: RewardSettings, rows: Sequence[Row], short: Sequence[int]) -> dict[str, int]:
    """What the metrics are to say of the rows."""
    facts = {"rows": len(short), "too_long": len(rows) - len(short)}
    if settings.kind != "ranking":
        facts["right"] = sum(rows[index]["label"] for index in short)
    return facts
