"""Muon for the hidden matrices and AdamW for the rest, as one optimizer."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["is_hidden", "make_muon"]

#: Parts of names of 2-D weights that are no hidden matrices: tables of tokens, and heads.
_NOT_HIDDEN = ("embed", "lm_head", "score", "classifier")


def make_muon(
    model: Any, learning_rate: float, weight_decay: float, betas: tuple[float, float]
) -> Any:
    """Return a `torch.optim.Optimizer` over the trainable weights of a model.

    Muon's updates are scaled to the size of AdamW's (``match_rms_adamw``), so one learning rate
    serves both.

    Parameters
    ----------
    model : torch.nn.Module
    learning_rate, weight_decay : float
        Norms and biases do not decay.
    betas : tuple of two float
        AdamW's.
    """
    hidden: list[Any] = []
    tables: list[Any] = []
    others: list[Any] = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        if is_hidden(name, weight):
            hidden.append(weight)
        else:
            (tables if weight.ndim == 2 else others).append(weight)
    groups = [
        {"params": tables, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return _muon_class()(
        hidden, [g for g in groups if g["params"]], learning_rate, weight_decay, betas
    )


def is_hidden(name: str, weight: Any) -> bool:
    """Whether a weight is a matrix between hidden states, which Muon is for."""
    return weight.ndim == 2 and not any(part in name for part in _NOT_HIDDEN)


@cache
def _muon_class() -> Any:
    import torch
    from torch.optim import AdamW, Muon, Optimizer

    class MuonAndAdamW(Optimizer):
        """Two optimizers whose groups and states are those of this one.

        Schedulers change the learning rates in `param_groups`, checkpoints keep `state_dict()`:
        both see one optimizer.
        """

        def __init__(
            self,
            hidden: list[Any],
            groups: list[dict[str, Any]],
            lr: float,
            weight_decay: float,
            betas: tuple[float, float],
        ) -> None:
            self._parts: list[Optimizer] = []
            if hidden:
                self._parts.append(
                    Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
                )
            if groups:
                self._parts.append(AdamW(groups, lr=lr, betas=betas))
            merged = [group for part in self._parts for group in part.param_groups]
            super().__init__(merged, {"lr": lr})
            self._share()

        def _share(self) -> None:
            """Let the parts work on the groups and states of the whole."""
            start = 0
            for part in self._parts:
                end = start + len(part.param_groups)
                part.param_groups = self.param_groups[start:end]
                part.state = self.state
                start = end

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for part in self._parts:
                part.step()
            return loss

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            super().load_state_dict(state_dict)
            self._share()

    return MuonAndAdamW
