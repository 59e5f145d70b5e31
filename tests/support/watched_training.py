"""Trainings that write down what each process does: examples step by step, and files.

python tests/support/watched_training.py LOG MODELS train sft ... [-- train sft ...]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from rtsearch_fast.cli.app import run
from rtsearch_fast.training import sft

__all__ = ["watch_files", "watched"]


def watched(our: Callable[..., Any], log: Path) -> Callable[..., Any]:
    """Return `trainer.our` whose trainers add [output, step, examples] of each batch to a file."""

    def make(base: type[Any], job: Any) -> Any:
        kind, progress = our(base, job)

        class Watched(kind):  # type: ignore[misc]
            def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                rows = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
                batch = [ids[mask.bool()].tolist() for ids, mask in rows]
                with log.open("a") as file:
                    entry = [job.folder.name, self.state.global_step, batch]
                    file.write(json.dumps(entry) + "\n")
                return super().training_step(model, inputs, *args, **kwargs)

        return Watched, progress

    return make


def watch_files(folder: Path, log: Path) -> None:
    """From now on, add the files below `folder` that this process writes or moves to a file."""
    writing = os.O_WRONLY | os.O_RDWR

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename":
            path = args[1]
        elif event == "open" and args[2] & writing:
            path = args[0]
        else:
            return
        if isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(folder):
            with log.open("a") as file:
                file.write(f"{Path(path).relative_to(folder)}\n")

    sys.addaudithook(hook)


if __name__ == "__main__":
    logs, models = Path(sys.argv[1]), Path(sys.argv[2])
    rank = os.environ["RANK"]
    sft.our = watched(sft.our, logs / f"batches-{rank}.jsonl")
    watch_files(models, logs / f"files-{rank}.txt")
    for is_end, command in groupby(sys.argv[3:], "--".__eq__):
        if not is_end and (code := run(list(command))):
            sys.exit(code)
