"""What a training is told: one dataclass a trainer, over one for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InvalidArgumentError
from ..reward.labels import check_labels
from ..reward.written import VERDICT

__all__ = [
    "Architecture",
    "DpoSettings",
    "Lora",
    "ProcessSettings",
    "RewardSettings",
    "SftSettings",
    "TrainSettings",
]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes of a model of the Llama family, by the names of its config.json."""

    vocab_size: int | None = None
    """Tokens. Default: those of the tokenizer; 1024 where one is trained."""

    hidden_size: int = 128
    """Width of the residual stream."""

    intermediate_size: int = 384
    """Width of the MLPs."""

    num_hidden_layers: int = 4
    """Layers."""

    num_attention_heads: int = 4
    """Heads of the queries."""

    num_key_value_heads: int = 2
    """Heads of keys and values."""

    max_position_embeddings: int = 1024
    """Most tokens of a sequence."""

    tie_word_embeddings: bool = True
    """Let the output head be the embedding."""

    rope_theta: float = 10000.0
    """Base of the rotary embedding."""

    rms_norm_eps: float = 1e-5
    """Added under the root of the norms."""

    def __post_init__(self) -> None:
        sizes = (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
        )
        for name in sizes:
            _at_least(self, name, 1)
        if self.vocab_size is not None:
            _at_least(self, "vocab_size", 258)  # bytes, end and padding
        if self.hidden_size % (2 * self.num_attention_heads):
            raise InvalidArgumentError(
                f"hidden_size={self.hidden_size}: must be a multiple of 2 * num_attention_heads = "
                f"{2 * self.num_attention_heads}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise InvalidArgumentError(
                f"num_key_value_heads={self.num_key_value_heads}: must divide "
                f"num_attention_heads={self.num_attention_heads}"
            )


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters instead of all weights."""

    rank: int = 16
    """Rank of each adapter."""

    alpha: int = 32
    """Scale: an adapter counts alpha / rank."""

    dropout: float = 0.0
    """Share of an adapter's inputs that is dropped."""

    targets: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Names of the adapted matrices."""

    merge: bool = True
    """Save a whole model, which every engine loads; else the adapters alone."""

    def __post_init__(self) -> None:
        _at_least(self, "rank", 1, "lora.")
        if not 0 <= self.dropout < 1:
            raise InvalidArgumentError(f"lora.dropout={self.dropout}: must be in [0, 1)")
        if not self.targets:
            raise InvalidArgumentError("lora.targets=(): name the matrices to adapt")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Settings that all trainers share."""

    model: str | None = None
    """Model to start from: a folder in Hugging Face format, a name at the hub, or smollm2-135m."""

    new: Architecture | None = None
    """Or start from fresh weights of these sizes."""

    config: Architecture | None = None
    """Sizes of --model, so that --dry-run needs no file of it."""

    tokenizer: str | None = None
    """Folder of the tokenizer. Default: that of --model; for fresh weights one is trained on the
    data."""

    data: tuple[Path, ...] = ()
    """JSONL files to train on."""

    eval_data: tuple[Path, ...] = ()
    """JSONL files to evaluate on."""

    output: Path | None = None
    """Folder of the trained model; checkpoints go there, too."""

    template: str = "plain"
    """Prompt, as for the search: a preset or a file."""

    max_length: int = 1024
    """Most tokens of an example; longer ones are left out, and counted."""

    max_steps: int | None = None
    """Steps of the optimizer; precedes --epochs."""

    epochs: float = 1.0
    """Passes over the data."""

    batch_size: int = 8
    """Examples a step, on each GPU."""

    gradient_accumulation: int = 1
    """Batches of which the gradients are added up for one step."""

    learning_rate: float = 2e-5
    """Highest learning rate."""

    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """How the learning rate falls after the warmup."""

    warmup: float = 0.0
    """Steps in which the learning rate rises, or below 1 their share."""

    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw; or muon for the hidden matrices, with AdamW for embeddings, heads and norms."""

    weight_decay: float = 0.0
    """Decay of the weights, norms and biases excepted."""

    max_grad_norm: float = 1.0
    """Gradients are cut to this norm."""

    adam_beta2: float = 0.999
    """AdamW's memory of squared gradients."""

    dtype: Literal["float32", "mixed", "bfloat16"] = "float32"
    """Numbers of the weights; mixed keeps float32 and computes in bfloat16."""

    lora: Lora | None = None
    """Train low-rank adapters."""

    fsdp: int = 0
    """GPUs over which FSDP spreads weights, gradients and optimizer states; start by accelerate
    launch --num-processes."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""

    seed: int = 0
    """Of the order of the data, of fresh weights, and of dropout."""

    save_steps: int = 0
    """Steps between two checkpoints; 0 writes none."""

    keep: int = 2
    """Checkpoints that are kept, the latest."""

    resume: bool = False
    """Go on from the last checkpoint in --output."""

    logging_steps: int = 10
    """Steps between two lines of metrics.jsonl."""

    eval_steps: int = 0
    """Steps between two evaluations; 0 evaluates at the end alone."""

    report_to: Literal["none", "trackio", "wandb", "tensorboard"] = "none"
    """Tracker that is told of the metrics, too."""

    group_by_length: bool = False
    """Put examples of similar length into one batch: less padding."""

    def __post_init__(self) -> None:
        if self.model is not None and self.new is not None:
            raise InvalidArgumentError(
                f"model={self.model!r} and new sizes: give a model to start from, or sizes"
            )
        if self.config is not None and self.model is None:
            raise InvalidArgumentError("config tells the sizes of `model`: give its name")
        for name in ("max_length", "batch_size", "gradient_accumulation", "logging_steps", "keep"):
            _at_least(self, name, 1)
        for name in ("fsdp", "save_steps", "eval_steps", "seed"):
            _at_least(self, name, 0)
        if self.max_steps is not None:
            _at_least(self, "max_steps", 1)
        for name in ("epochs", "learning_rate", "max_grad_norm"):
            _positive(self, name)
        for name in ("warmup", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidArgumentError(f"{name}={getattr(self, name)}: must be 0 or more")
        if not 0 < self.adam_beta2 < 1:
            raise InvalidArgumentError(f"adam_beta2={self.adam_beta2}: must be in (0, 1)")
        if self.fsdp and self.lora is not None:
            raise InvalidArgumentError(
                f"fsdp={self.fsdp} with lora: adapters fit one GPU each; give one of the two"
            )
        if self.fsdp and self.optimizer == "muon":
            raise InvalidArgumentError(
                f"fsdp={self.fsdp} with optimizer='muon': it needs whole matrices; use adamw"
            )
        if self.eval_steps and not self.eval_data:
            raise InvalidArgumentError(f"eval_steps={self.eval_steps}: give eval_data, too")

    @property
    def is_mixed(self) -> bool:
        """Whether it computes in bfloat16 by autocast."""
        return self.dtype == "mixed" or (self.dtype == "bfloat16" and self.lora is not None)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Words that a tokenizer trained for this should know as one token each."""
        return ("Yes", "No")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Control tokens that a tokenizer trained for this needs besides those of its template."""
        return ()


@dataclass(frozen=True, kw_only=True)
class SftSettings(TrainSettings):
    """Instruction tuning of a policy: rows of problem and solution."""


@dataclass(frozen=True, kw_only=True)
class DpoSettings(TrainSettings):
    """Preference optimisation of a policy: rows of problem, chosen and rejected solution."""

    learning_rate: float = 1e-6
    """Highest learning rate."""

    beta: float = 0.1
    """How closely the policy is kept to where it started."""

    loss_type: Literal["sigmoid", "sigmoid_norm", "hinge", "ipo", "apo_zero", "apo_down"] = (
        "sigmoid"
    )
    """Loss on the difference of a pair."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(self, "beta")


@dataclass(frozen=True, kw_only=True)
class RewardSettings(TrainSettings):
    """Training of a reward model: rows of problem, solution and label, or of pairs (ranking)."""

    kind: Literal["generative", "discriminative", "ranking"] = "generative"
    """generative: says a label; discriminative: a head with a probability; ranking: a head with a
    score, from pairs."""

    labels: tuple[str, str] = ("Yes", "No")
    """The generative model's labels, one token each, the positive first."""

    check_template: str | None = None
    """Prompt of a written check, for rows with the field `check`. Default: as --template."""

    verdict: str = VERDICT
    """Stands between a written check and its label; \\n is a line break."""

    calculator: bool = False
    """Checks are sums between commas, whose results a calculator writes."""

    balance: float = 0.2
    """Warn if the rarer label has a smaller share of the rows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.labels)
        if not 0 <= self.balance <= 0.5:
            raise InvalidArgumentError(f"balance={self.balance}: must be in [0, 0.5]")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.labels


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(TrainSettings):
    """Training of a process reward model: rows of problem, steps and a label for each step."""

    step_tag: str = "<extra_0>"
    """Token behind each step, where the head is read."""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (self.step_tag,)


def _at_least(settings: object, name: str, least: int, where: str = "") -> None:
    value = getattr(settings, name)
    if value < least:
        raise InvalidArgumentError(f"{where}{name}={value}: must be at least {least}")


def _positive(settings: object, name: str) -> None:
    value = getattr(settings, name)
    if not 0 < value < math.inf:
        raise InvalidArgumentError(f"{name}={value}: must be positive")
