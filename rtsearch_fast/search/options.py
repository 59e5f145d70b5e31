"""Every setting of a search, checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from ..errors import InvalidArgumentError

__all__ = ["Budget", "SearchOptions"]

_VALUES = ("rollout", "prefix", "mix")
_REQUESTS = ("auto", "step", "solution")
_VOTES = ("weighted", "majority", "best", "path")


@dataclass(frozen=True, slots=True)
class Budget:
    """Where one problem's search must end; whichever limit is met first. None is no limit.

    Attributes
    ----------
    tokens : int, optional
        Generated tokens of policy and reward model together. Never exceeded.
    simulations : int, optional
        Select-expand-evaluate-backup rounds (for sampling methods: samples).
    nodes : int, optional
        Nodes of the tree, the root included.
    seconds : float, optional
        Wall time. The one limit that makes a run irreproducible.
    """

    tokens: int | None = None
    simulations: int | None = None
    nodes: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InvalidArgumentError(
                    f"budget {field.name}={value}: give a positive number, or leave it out"
                )
        if all(getattr(self, field.name) is None for field in fields(self)):
            raise InvalidArgumentError(
                "the budget has no limit: give tokens, simulations, nodes or seconds"
            )


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Settings of a search. Defaults marked [O] are this project's own choice, not the paper's.

    Attributes
    ----------
    width : int
        Next steps sampled at each expansion (W).
    rollouts : int
        Solutions rolled out from each new child; its value is their mean score.
    value : {"rollout", "prefix", "mix"}
        What values a child: rolled-out finished solutions (the paper's way), the reward model's
        score of the prefix itself, or ``mix * prefix + (1 - mix) * rollout``.
    mix : float
        Share of the prefix score when ``value="mix"``, in [0, 1].
    pre_expand : int
        Children that the root gets before the search begins; 0 switches it off. [O]
    self_consistency : float
        a in ``r' = (1 - a) * r + a * freq(answer)``, in [0, 1]; 0 switches it off. [O]
    calculator : bool
        Check arithmetic in each step, in rollouts too, and correct wrong right-hand sides.
    deduplicate : bool
        Drop children whose text equals a sibling's (case and white space folded).
    exploration : float
        c of the selection rule, >= 0.
    temperature, top_p : float
        Sampling of the policy.
    request : {"auto", "step", "solution"}
        What one request to the policy generates. "step": one step, so the model always goes on from
        a step that the calculator has seen. "solution": all the rest, which keeps an engine busier
        and costs fewer prompts; a child and its first rollout are then one sample, and what follows
        a corrected step is thrown away (and counted). "auto": "solution" until corrections are made
        in more than a quarter of a problem's solutions. [O]
    max_depth : int
        Most steps of a solution. [O]
    max_step_tokens, max_solution_tokens : int
        Most generated tokens of one step where steps are asked for, and of one whole solution. [O]
    in_flight : int
        Leaves of one tree that may be under evaluation at once (virtual loss keeps them apart).
        Results are committed in the order of selection, so the tree does not depend on which
        arrives first; another value gives another, equally reproducible, tree.
    narrow : bool
        Where the rest of a token budget does not pay for `width` solutions, expand as many children
        as it pays for, instead of cutting all of them off; and hold no judgements of prefixes back
        where none is asked. Off by default, so that earlier searches stay the same. [O]
    beam_width : int
        Prefixes that beam search keeps.
    confidence : float, optional
        Stop when the leading answer holds at least this share of the reward-weighted vote and at
        least four candidates have voted.
    vote : {"weighted", "majority", "best", "path"}, optional
        How the answer is chosen; None leaves it to the method.
    seed : int
        Every random choice derives from it.
    """

    width: int = 4
    rollouts: int = 1
    value: Literal["rollout", "prefix", "mix"] = "rollout"
    mix: float = 0.5
    pre_expand: int = 0
    self_consistency: float = 0.0
    calculator: bool = True
    deduplicate: bool = True
    exploration: float = 0.4
    temperature: float = 0.8
    top_p: float = 1.0
    request: Literal["auto", "step", "solution"] = "auto"
    max_depth: int = 16
    max_step_tokens: int = 128
    max_solution_tokens: int = 384
    in_flight: int = 2
    narrow: bool = False
    beam_width: int = 4
    confidence: float | None = None
    vote: Literal["weighted", "majority", "best", "path"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        def require(ok: bool, name: str, wanted: str) -> None:
            if not ok:
                raise InvalidArgumentError(f"{name}={getattr(self, name)!r}: {wanted}")

        for name in (
            "width",
            "max_depth",
            "max_step_tokens",
            "max_solution_tokens",
            "in_flight",
            "beam_width",
        ):
            require(getattr(self, name) >= 1, name, "must be at least 1")
        for name in ("rollouts", "pre_expand", "seed"):
            require(getattr(self, name) >= 0, name, "must not be negative")
        for name in ("mix", "self_consistency"):
            require(0 <= getattr(self, name) <= 1, name, "must be in [0, 1]")
        for name in ("exploration", "temperature"):
            value = getattr(self, name)
            require(value >= 0 and math.isfinite(value), name, "must be a finite number >= 0")
        require(0 < self.top_p <= 1, "top_p", "must be in (0, 1]")
        require(self.value in _VALUES, "value", f"choose one of {', '.join(_VALUES)}")
        require(self.request in _REQUESTS, "request", f"choose one of {', '.join(_REQUESTS)}")
        require(
            self.vote is None or self.vote in _VOTES, "vote", f"choose one of {', '.join(_VOTES)}"
        )
        require(
            self.value == "prefix" or self.rollouts >= 1,
            "rollouts",
            "must be at least 1 unless value='prefix'",
        )
        require(
            self.confidence is None or 0 < self.confidence <= 1, "confidence", "must be in (0, 1]"
        )
        require(self.seed < 2**63, "seed", "must be below 2**63")
