"""Reward models in vLLM whose head reads picked tokens only: the task `classify` of any of them.

vLLM's own reward models compute their head at every token, and read no prefix cache where steps are
judged. Here a text is read at its last token, so that each step is a text, which has all but itself
from the cache. The head is what `Head` reads, as `HeadEngine` has it.

Written against vLLM 0.32. Only vLLM's processes import this, see `vllm_plugin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cache
from typing import Any

import torch
from torch import Tensor
from vllm import ModelRegistry
from vllm.model_executor.layers.pooler.abstract import Pooler
from vllm.model_executor.models.adapters import as_embedding_model

from .head import Head, is_head
from .vllm_plugin import language_model

__all__ = ["HeadPooler"]


class HeadPooler(Pooler):  # type: ignore[misc]
    """Picks the last token of each text, then computes the head."""

    def __init__(self) -> None:
        super().__init__()
        #: Set when the weights are loaded.
        self.head: Head | None = None

    def get_supported_tasks(self) -> Set[str]:
        """The one task that finds what texts have in common in the prefix cache."""
        return {"classify"}

    def forward(self, hidden_states: Tensor, pooling_metadata: Any) -> list[Tensor]:
        """Return probabilities for each text, or the head's numbers where these are asked for."""
        assert self.head is not None
        # of a text that is not computed to its end yet, vLLM throws the row away
        rows = pooling_metadata.get_pooling_cursor().last_token_indices_gpu
        numbers = self.head(hidden_states, rows)
        squashed = numbers.sigmoid() if numbers.shape[1] == 1 else numbers.softmax(-1)
        wanted = [params.use_activation is not False for params in pooling_metadata.pooling_params]
        return [(squashed if squashes else numbers)[row] for row, squashes in enumerate(wanted)]


def __getattr__(name: str) -> type:
    """Return the architecture of this name; vLLM asks for those that were registered."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _with_head(name)


@cache
def _with_head(name: str) -> type:
    base = ModelRegistry.models[language_model(name)].load_model_cls()

    class WithRewardHead(as_embedding_model(base)):  # type: ignore[misc]
        def _init_pooler(self, vllm_config: Any, prefix: str = "") -> HeadPooler:
            return HeadPooler()

        def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> Any:
            found: dict[str, Tensor] = {}

            def others() -> Iterable[tuple[str, Tensor]]:
                for key, tensor in weights:
                    if is_head(key):
                        found[key] = tensor.to("cpu", torch.float32, copy=True)
                    elif not key.startswith("lm_head."):
                        yield key, tensor

            loaded = super().load_weights(others())
            head = Head.of_weights(found, self.vllm_config.model_config.model)
            self.pooler.head = head.to(next(self.parameters()).device)
            return loaded

    WithRewardHead.__name__ = WithRewardHead.__qualname__ = name
    return WithRewardHead
