"""A discriminative reward model in this process, to compare with the generative one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ...reward.calculated import with_corrections
from ...reward.protocol import Judgement
from ...reward.question import JudgeTemplate
from ..pooled import padded

__all__ = ["HeadReward"]


class HeadReward:
    """Scores with a head of one output; it generates nothing.

    Parameters
    ----------
    folder : Path
        What `train_reward` left with ``kind="discriminative"``.
    template : JudgeTemplate
        The question that it was trained with.
    """

    max_tokens = 1

    def __init__(self, folder: Path, template: JudgeTemplate) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.name = f"head/{folder.name}/{template.name}"
        self._template = template
        self._tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        self._model = model.eval()
        self._collate = padded(self._tokenizer.pad_token_id)

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge finished or partial solutions of one problem, as the calculator leaves them."""
        import torch

        texts = [self._template.render(problem, with_corrections(steps)) for steps in solutions]
        rows = [
            {"input_ids": self._tokenizer(text, add_special_tokens=False).input_ids, "labels": 0.0}
            for text in texts
        ]
        batch = self._collate(rows)
        with torch.inference_mode():
            logits = self._model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return [Judgement(1 / (1 + math.exp(-float(logit))), 0) for logit in logits[:, 0]]

    async def aclose(self) -> None:
        """Nothing is held."""
