"""Models with a head of one number: their form on disk, and batches for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .text import IGNORED

__all__ = ["HEAD", "name_classifier", "padded"]

#: One output that a sigmoid turns into a probability, here and in vLLM.
HEAD = {"num_labels": 1, "problem_type": "multi_label_classification"}


def padded(pad: int) -> Callable[[Sequence[dict[str, Any]]], dict[str, Any]]:
    """Return a collator: ids padded at their end, labels as numbers.

    A label is one number, or one for each token (then padded by `IGNORED`).
    """

    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), pad)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        by_token = isinstance(rows[0]["labels"], list)
        labels = torch.full((len(rows), longest if by_token else 1), float(IGNORED))
        for i, row in enumerate(rows):
            count = len(row["input_ids"])
            ids[i, :count] = torch.tensor(row["input_ids"])
            mask[i, :count] = 1
            value = row["labels"]
            labels[i, : count if by_token else 1] = torch.tensor(value)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return collate


def name_classifier(folder: Path) -> None:
    """Name a folder's architecture as a sequence classifier, which vLLM serves for either task.

    The weights of a token classifier without a bias bear the same names.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["architectures"] = [
        name.replace("ForTokenClassification", "ForSequenceClassification")
        for name in config["architectures"]
    ]
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
