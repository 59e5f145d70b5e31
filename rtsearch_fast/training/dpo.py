"""Preference optimisation of a policy: chosen against rejected solutions of one problem."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..policy.prompt import PromptTemplate
from .data import DPO, Row, read_rows
from .models import load_model, load_tokenizer
from .settings import DpoSettings
from .sft import encode_solutions
from .text import Encoded, encode, fit
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

__all__ = ["train_dpo"]


def train_dpo(settings: DpoSettings, *, quiet: bool = False) -> TrainResult:
    """Train a policy to prefer one solution of a problem to another.

    The policy is held to what it was at the start: a copy of it, or with adapters itself without
    them.

    Parameters
    ----------
    settings : DpoSettings
        Rows of the data have the fields `problem`, `chosen` and `rejected`. With `prefix`, a list
        of steps, these two are single steps that follow it: the prefix is given, and no end of the
        text is learned.
    quiet : bool
        Tell nothing on stderr.

    Returns
    -------
    TrainResult

    Raises
    ------
    DataError, EngineError, InvalidArgumentError, MissingExtraError, RunStoreError
        Data, model, settings, packages or output cannot be used.
    """
    require(settings)
    prompt = PromptTemplate.load(settings.template)
    rows = read_rows(settings.data, DPO)
    held = read_rows(settings.eval_data, DPO) if settings.eval_data else []
    claim(settings)
    with isolated():
        from trl import DPOConfig, DPOTrainer

        texts = (
            prompt.render(row["problem"], (row.get("prefix", ""), row[name]))
            for row in rows
            for name in ("chosen", "rejected")
        )
        tokenizer = load_tokenizer(settings, prompt.template.text, texts)
        examples, facts = _examples(settings, tokenizer, prompt, rows)
        job = Job("dpo", settings, tokenizer, facts, quiet)
        kind, progress = our(DPOTrainer, job)

        class Tokenised(kind):  # type: ignore[misc, valid-type]
            def _prepare_dataset(self, rows: Any, *args: Any, **kwargs: Any) -> Any:
                """Nothing is left to do: TRL would tokenise the prompt on its own, too."""
                return rows

        model = load_model(settings, tokenizer)
        trainer = Tokenised(
            model=model,
            ref_model=None if settings.lora is not None else copy.deepcopy(model),
            args=arguments(
                DPOConfig,
                settings,
                max_length=None,
                beta=settings.beta,
                loss_type=[settings.loss_type],
            ),
            train_dataset=examples,
            eval_dataset=_examples(settings, tokenizer, prompt, held)[0] if held else None,
            processing_class=tokenizer,
            peft_config=lora_config(settings),
        )
        return run(job, trainer, progress)


def _examples(
    settings: DpoSettings, tokenizer: Any, prompt: PromptTemplate, rows: Sequence[Row]
) -> tuple[Any, dict[str, int]]:
    """Return tokenised pairs; the prompt's tokens are those that both texts begin with."""
    whole = [row for row in rows if "prefix" not in row]
    single = [row for row in rows if "prefix" in row]
    chosen, rejected = (
        encode_solutions(tokenizer, prompt, whole, name)
        + _encode_steps(tokenizer, prompt, single, name)
        for name in ("chosen", "rejected")
    )
    pairs = list(zip(chosen, rejected, strict=True))
    short = fit([max(len(a.ids), len(b.ids)) for a, b in pairs], settings.max_length)
    columns: dict[str, list[Any]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for index in short:
        a, b = pairs[index]
        start = min(a.start, b.start)
        while a.ids[:start] != b.ids[:start]:  # a token over the boundary
            start -= 1
        columns["prompt_ids"].append(a.ids[:start])
        columns["chosen_ids"].append(a.ids[start:])
        columns["rejected_ids"].append(b.ids[start:])
    return dataset(columns), {"rows": len(short), "too_long": len(rows) - len(short)}


def _encode_steps(
    tokenizer: Any, prompt: PromptTemplate, rows: Sequence[Row], name: str
) -> list[Encoded]:
    """Tokenise prompt, prefix and one step as one text; the step is trained on."""
    texts = [prompt.render(row["problem"], (row["prefix"], row[name])) for row in rows]
    starts = [len(prompt.render(row["problem"], (row["prefix"],))) for row in rows]
    return encode(tokenizer, texts, starts, None)
