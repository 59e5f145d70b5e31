"""Instruction tuning of a policy on solutions in the labelled-step format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..policy.prompt import PromptTemplate
from .data import SFT, Row, read_rows
from .models import load_model, load_tokenizer
from .settings import SftSettings
from .text import Encoded, encode, encode_spans, fit
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

__all__ = ["encode_solutions", "train_sft"]


def train_sft(settings: SftSettings, *, quiet: bool = False) -> TrainResult:
    """Train a policy to write solutions, the prompts being those of the search.

    Parameters
    ----------
    settings : SftSettings
        Rows of the data have the fields `problem` and `solution`. With `after`, a text or a list of
        texts, the text goes on with that behind its end; of a list the first, third, ... are
        learned, the others are given. With ``label: false`` the solution is not learned.
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
    rows = read_rows(settings.data, SFT)
    held = read_rows(settings.eval_data, SFT) if settings.eval_data else []
    claim(settings)
    with isolated():
        from trl import SFTConfig, SFTTrainer

        texts = (prompt.render(row["problem"], (row["solution"],)) for row in rows)
        tokenizer = load_tokenizer(settings, prompt.template.text, texts)
        examples, facts = _examples(settings, tokenizer, prompt, rows)
        job = Job("sft", settings, tokenizer, facts, quiet)
        kind, progress = our(SFTTrainer, job)
        trainer = kind(
            model=load_model(settings, tokenizer),
            args=arguments(
                SFTConfig, settings, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
            ),
            train_dataset=examples,
            eval_dataset=_examples(settings, tokenizer, prompt, held)[0] if held else None,
            processing_class=tokenizer,
            peft_config=lora_config(settings),
        )
        return run(job, trainer, progress)


def encode_solutions(
    tokenizer: Any,
    prompt: PromptTemplate,
    rows: Sequence[Row],
    field: str = "solution",
) -> list[Encoded]:
    """Tokenise prompt and solution as one text; the solution and its end are trained on."""
    texts, starts = [], []
    for row in rows:
        # as the search: steps have no white space before the first and behind the last
        texts.append(prompt.render(row["problem"], (row[field].strip(),)))
        starts.append(len(prompt.render(row["problem"])))
    return encode(tokenizer, texts, starts, tokenizer.eos_token_id)


def _encode_more(
    tokenizer: Any, prompt: PromptTemplate, rows: Sequence[Row]
) -> list[tuple[list[int], list[int]]]:
    """Tokenise prompt, solution, end and what comes after, which has no end: ids and labels."""
    texts: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    for row in rows:
        text = prompt.render(row["problem"], (row["solution"].strip(),)) + tokenizer.eos_token
        learned = [(len(prompt.render(row["problem"])), len(text))] * row.get("label", True)
        for number, part in enumerate(row["after"]):
            learned += [(len(text), len(text) + len(part))] * (number % 2 == 0)
            text += part
        texts.append(text)
        spans.append(learned)
    return encode_spans(tokenizer, texts, spans)


def _examples(
    settings: SftSettings, tokenizer: Any, prompt: PromptTemplate, rows: Sequence[Row]
) -> tuple[Any, dict[str, int]]:
    alone = encode_solutions(tokenizer, prompt, [row for row in rows if "after" not in row])
    encoded = [(text.ids, text.labels) for text in alone]
    encoded += _encode_more(tokenizer, prompt, [row for row in rows if "after" in row])
    short = fit([len(ids) for ids, _ in encoded], settings.max_length)
    columns: dict[str, list[Any]] = {
        "input_ids": [encoded[index][0] for index in short],
        "labels": [encoded[index][1] for index in short],
    }
    return dataset(columns), {"rows": len(short), "too_long": len(rows) - len(short)}
