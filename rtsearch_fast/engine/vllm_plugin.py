"""vLLM's entry point: any causal model of it, with the head of a reward model.

vLLM calls `register` in each of its processes, so this file imports nothing of weight.
"""

from __future__ import annotations

import re

__all__ = ["head_architecture", "language_model", "register"]

_LANGUAGE_MODEL, _WITH_HEAD = "ForCausalLM", "WithRewardHead"


def register() -> None:
    """Tell vLLM of an architecture ``...WithRewardHead`` beside each ``...ForCausalLM``."""
    from vllm import ModelRegistry

    known = ModelRegistry.get_supported_archs()
    for name in [name for name in known if name.endswith(_LANGUAGE_MODEL)]:
        new = name.removesuffix(_LANGUAGE_MODEL) + _WITH_HEAD
        if new not in known:
            ModelRegistry.register_model(new, f"{__package__}.vllm_heads:{new}")


def language_model(architecture: str) -> str:
    """Return the language model that one of ours is made of."""
    return architecture.removesuffix(_WITH_HEAD) + _LANGUAGE_MODEL


def head_architecture(architecture: str) -> str:
    """Return ours for what the configuration of a reward model names.

    Examples
    --------
    >>> head_architecture("Qwen2ForProcessRewardModel")
    'Qwen2WithRewardHead'
    """
    stem = re.match(r"[A-Za-z0-9]+?(?=For[A-Z]|Model$|$)", architecture)
    return (stem[0] if stem else architecture) + _WITH_HEAD
