"""Reward heads on rows picked out of the hidden states: one operation a file.

Each operation is a Triton kernel with a torch reference beside it, which is also what runs without
a GPU. Importing this package needs neither torch nor triton: a name loads its file when it is
first used. Nothing of rtsearch_fast is imported, so that the folder can be lifted out.

``python -m rtsearch_fast.kernels.audit`` proves the kernels on a machine without a GPU.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .difference_row import DifferenceRow
    from .dispatch import KernelArgumentError, KernelUnavailableError, Route
    from .label_head import (
        label_logits,
        label_logits_route,
        label_probability,
        label_probability_route,
    )
    from .mlp_head import MlpHead, mlp_step_reward, mlp_step_reward_route
    from .step_head import StepRewards, step_reward, step_reward_route
    from .tuning import tune_label_logprob
    from .vocabulary_head import label_logprob, label_logprob_route

__all__ = [
    "DifferenceRow",
    "KernelArgumentError",
    "KernelUnavailableError",
    "MlpHead",
    "Route",
    "StepRewards",
    "label_logits",
    "label_logits_route",
    "label_logprob",
    "label_logprob_route",
    "label_probability",
    "label_probability_route",
    "mlp_step_reward",
    "mlp_step_reward_route",
    "step_reward",
    "step_reward_route",
    "tune_label_logprob",
]

_HOMES = {
    "difference_row": ("DifferenceRow",),
    "dispatch": ("KernelArgumentError", "KernelUnavailableError", "Route"),
    "label_head": (
        "label_logits",
        "label_logits_route",
        "label_probability",
        "label_probability_route",
    ),
    "mlp_head": ("MlpHead", "mlp_step_reward", "mlp_step_reward_route"),
    "step_head": ("StepRewards", "step_reward", "step_reward_route"),
    "tuning": ("tune_label_logprob",),
    "vocabulary_head": ("label_logprob", "label_logprob_route"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
