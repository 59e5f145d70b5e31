"""Rows and settings of trainings that take a second: sums, and a model of 30,000 parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rtsearch_fast.training.settings import Architecture

__all__ = ["RIGHT", "WRONG", "preferences", "process_rows", "rewards", "solutions", "tiny", "write"]

RIGHT = "## Step 1: Add\n1 + 2 = 3\n\n## Answer\n\\boxed{3}"
WRONG = "## Step 1: Guess\n4 4 4\n\n## Answer\n\\boxed{4}"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def solutions(count: int = 32) -> list[dict[str, Any]]:
    return [{"problem": f"Add {i}.", "solution": RIGHT} for i in range(count)]


def preferences(count: int = 32) -> list[dict[str, Any]]:
    return [{"problem": f"Add {i}.", "chosen": RIGHT, "rejected": WRONG} for i in range(count)]


def rewards(count: int = 32, check: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i in range(count):
        # each problem both ways: or the problem would tell
        row = {
            "problem": f"Add {i // 2}.",
            "solution": WRONG if i % 2 else RIGHT,
            "label": not i % 2,
        }
        if check:
            row["check"] = "It does not add up." if i % 2 else "It adds up."
        rows.append(row)
    return rows


def process_rows(count: int = 32) -> list[dict[str, Any]]:
    steps = {True: ["## Step 1: Add\n3\n\n", "## Answer\n3"], False: ["## Step 1: Add\n4\n\n", "x"]}
    return [
        {"problem": f"Add {i // 2}.", "steps": steps[i % 2 == 0], "labels": [i % 2 == 0, None]}
        for i in range(count)
    ]


def tiny(data: Path, output: Path, **more: Any) -> dict[str, Any]:
    """Settings of a training of a few steps."""
    settings: dict[str, Any] = {
        "new": Architecture(
            vocab_size=320,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            max_position_embeddings=512,
        ),
        "data": (data,),
        "output": output,
        "max_length": 512,
        "max_steps": 8,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "schedule": "constant",
        "logging_steps": 1,
    }
    return settings | more
