"""Training of a process reward model: one number at the end of each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import DataError, InvalidArgumentError
from ..reward.stepwise import ProcessTemplate
from .data import PROCESS, Row, read_rows
from .models import load_model, load_tokenizer
from .pooled import HEAD, padded
from .settings import ProcessSettings
from .text import IGNORED, encode, fit
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

__all__ = ["train_process"]


def train_process(settings: ProcessSettings, *, quiet: bool = False) -> TrainResult:
    """Train a model to judge each step of a solution, at the tag behind it.

    The loss is binary cross-entropy with the labels as they are, so shares of rollouts that ended
    well may be labels; steps with the label null are left out.

    Parameters
    ----------
    settings : ProcessSettings
        Rows of the data have the fields `problem`, `steps` (a list of texts) and `labels` (for
        each step a number in [0, 1], true, false or null). `template` is that of `ProcessTemplate`.
    quiet : bool
        Tell nothing on stderr.

    Returns
    -------
    TrainResult
        The model is one for `ProcessReward` over vLLM's task ``token_classify``, with the step tag
        in its tokenizer: a classifier with one output, whose head has no bias.

    Raises
    ------
    DataError, EngineError, InvalidArgumentError, MissingExtraError, RunStoreError
        Data, model, settings, packages or output cannot be used.
    """
    require(settings)
    template = ProcessTemplate.load(settings.template, settings.step_tag)
    rows = read_rows(settings.data, PROCESS)
    held = read_rows(settings.eval_data, PROCESS) if settings.eval_data else []
    if all(label is None for row in rows for label in row["labels"]):
        raise DataError(f"none of the steps of {len(rows)} rows has a label: give some one")
    if len({label for row in rows for label in row["labels"] if label is not None}) == 1:
        raise DataError(
            f"all steps of {len(rows)} rows have the same label: a model that always says so "
            "learns nothing; add others"
        )
    claim(settings)
    with isolated():
        from transformers import Trainer, TrainingArguments

        texts = (template.render(row["problem"], row["steps"]) for row in rows)
        tokenizer = load_tokenizer(settings, template.template.text, texts)
        tag = _tag_token(tokenizer, settings)
        examples, facts = _examples(settings, tokenizer, template, tag, rows)
        evaluated = None
        if held:
            evaluated, _ = _examples(settings, tokenizer, template, tag, held)
        job = Job("process", settings, tokenizer, facts, quiet)
        kind, progress = our(Trainer, job)

        class Stepwise(kind):  # type: ignore[misc, valid-type]
            def compute_loss(
                self,
                model: Any,
                inputs: dict[str, Any],
                return_outputs: bool = False,
                num_items_in_batch: Any = None,
            ) -> Any:
                from torch.nn.functional import binary_cross_entropy_with_logits

                labels = inputs.pop("labels")
                outputs = model(**inputs)
                judged = labels != IGNORED
                loss = binary_cross_entropy_with_logits(
                    outputs.logits.squeeze(-1)[judged].float(), labels[judged], reduction="sum"
                )
                count = judged.sum() if num_items_in_batch is None else num_items_in_batch
                loss = loss / count
                if num_items_in_batch is not None and self.args.average_tokens_across_devices:
                    loss = loss * self.accelerator.num_processes
                return (loss, outputs) if return_outputs else loss

        trainer = Stepwise(
            model=_model(settings, tokenizer),
            args=arguments(TrainingArguments, settings, label_names=["labels"]),
            train_dataset=examples,
            eval_dataset=evaluated,
            data_collator=padded(tokenizer.pad_token_id),
            processing_class=tokenizer,
        )
        trainer.model_accepts_loss_kwargs = True  # the loss knows of accumulated batches
        return run(job, trainer, progress)


def _model(settings: ProcessSettings, tokenizer: Any) -> Any:
    """Return a token classifier whose head has no bias: so it can be served as a classifier."""
    import torch

    model = load_model(settings, tokenizer, "TokenClassification", **HEAD)
    head = model.score
    model.score = torch.nn.Linear(head.in_features, 1, bias=False, dtype=head.weight.dtype)
    torch.nn.init.normal_(model.score.weight, std=0.02)
    adapters = lora_config(settings, "TOKEN_CLS")
    if adapters is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, adapters)


def _tag_token(tokenizer: Any, settings: ProcessSettings) -> int:
    """Return the tag's token; adds it to a tokenizer that does not know it."""
    ids = tokenizer.encode(settings.step_tag, add_special_tokens=False)
    if len(ids) != 1:
        tokenizer.add_special_tokens({"additional_special_tokens": [settings.step_tag]})
        ids = tokenizer.encode(settings.step_tag, add_special_tokens=False)
    if len(ids) != 1:
        raise InvalidArgumentError(
            f"step_tag={settings.step_tag!r}: {len(ids)} tokens: choose another"
        )
    return int(ids[0])


def _examples(
    settings: ProcessSettings,
    tokenizer: Any,
    template: ProcessTemplate,
    tag: int,
    rows: Sequence[Row],
) -> tuple[Any, dict[str, int]]:
    texts = [template.render(row["problem"], row["steps"]) for row in rows]
    encoded = [text.ids for text in encode(tokenizer, texts, [0] * len(texts), None)]
    short = fit([len(ids) for ids in encoded], settings.max_length)
    columns: dict[str, list[Any]] = {"input_ids": [], "labels": []}
    for index in short:
        ids, marks = encoded[index], iter(rows[index]["labels"])
        labels = [next(marks) if token == tag else None for token in ids]
        columns["input_ids"].append(ids)
        columns["labels"].append([float(IGNORED) if x is None else x for x in labels])
    steps = sum(label is not None for index in short for label in rows[index]["labels"])
    facts = {"rows": len(short), "too_long": len(rows) - len(short), "steps_judged": steps}
    return dataset(columns), facts
