"""What a training will take of each GPU, worked out from the sizes alone.

Bytes of a parameter are those of its dtype; Adam keeps two more numbers for each trainable
parameter, Muon one (ZeRO, arXiv 1910.02054, section 3.1, without its float32 copies: here weights
are either float32 themselves or have no copy). FSDP divides all three by the number of GPUs and
gathers a layer at a time (PyTorch FSDP, arXiv 2304.11277, section 3.2); two are there at once.

Activations follow Korthikanti et al. (arXiv 2205.05198, section 4.1), counted anew for the layer
of a Llama in transformers with an attention that does not keep its s x s matrix: `_layer_bytes`
lists the tensors. With checkpointing a layer keeps its input, and one layer at a time all the rest
(their section 5). TRL computes logits tile by tile, so there is no batch x vocabulary matrix.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ..errors import EngineError, InvalidArgumentError
from .data import DPO, PROCESS, RANKING, REWARD, SFT, Columns, read_rows
from .models import adapter_size, fresh_config
from .settings import DpoSettings, RewardSettings, TrainSettings

__all__ = ["Plan", "activation_bytes", "plan"]

_GIB = 2**30
#: Rows of the tiles in which TRL computes logits, and numbers it keeps for each logit.
_TILE, _TILE_COPIES = 256, 2
#: CUDA's context, communication buffers, and what the allocator cannot use. Our own guess.
_RESERVE = 2 * _GIB


@dataclass(frozen=True)
class Plan:
    """Sizes of a training.

    Attributes
    ----------
    name : str
        The trainer.
    parameters, trainable : int
    tokens_per_step : int
        At most, over all GPUs.
    memory : mapping of str to float
        Bytes on each GPU, by what takes them.
    notes : tuple of str
        What else was found.
    """

    name: str
    parameters: int
    trainable: int
    gpus: int
    tokens_per_step: int
    memory: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """Bytes on each GPU."""
        return sum(self.memory.values())

    def render(self) -> str:
        """Return a table."""
        share = self.trainable / self.parameters
        lines = [
            ("parameters", f"{self.parameters:,}"),
            ("trainable", f"{self.trainable:,} ({share:.2%})"),
            ("GPUs", str(self.gpus)),
            ("tokens a step, at most", f"{self.tokens_per_step:,}"),
            *((f"GiB of {name}", f"{size / _GIB:.2f}") for name, size in self.memory.items()),
            ("GiB a GPU, estimated", f"{self.total / _GIB:.2f}"),
        ]
        width = max(len(name) for name, _ in lines)
        table = [f"{name:<{width}}  {value:>16}" for name, value in lines]
        return "\n".join([f"train {self.name}, dry run", *table, *self.notes])


def plan(name: str, settings: TrainSettings) -> Plan:
    """Work out sizes and memory of a training, without weights.

    Parameters
    ----------
    name : {"sft", "dpo", "reward", "process"}
    settings : TrainSettings

    Raises
    ------
    DataError, EngineError, InvalidArgumentError
        Template, data or sizes cannot be used. Data that are not there yet are no fault.
    """
    _check_template(name, settings)
    config = _config(settings)
    model = _meta_model(name, settings, config)
    full = sum(weight.numel() for weight in model.parameters())
    adapters = 0 if settings.lora is None else adapter_size(model, settings)
    trainable = adapters or full
    if settings.max_length > config.max_position_embeddings:
        raise InvalidArgumentError(
            f"max_length={settings.max_length}: the model has {config.max_position_embeddings} "
            "positions"
        )
    gpus = settings.fsdp or int(os.environ.get("WORLD_SIZE", "1"))
    shards = settings.fsdp or 1
    width = 2 if settings.dtype == "bfloat16" else 4
    # adapters are float32 whatever the model is
    trained_width = 4 if adapters else width
    batch = settings.batch_size * (2 if _is_paired(settings) else 1)
    memory: dict[str, float] = {
        "weights": (full * width + adapters * 4) / shards,
        "gradients": trainable * trained_width / shards,
        "optimizer states": _states(model, settings, trainable) * trained_width / shards,
    }
    if isinstance(settings, DpoSettings) and settings.lora is None:
        memory["reference model"] = full * width / shards
    if settings.fsdp:
        compute = 2 if settings.is_mixed or settings.dtype == "bfloat16" else 4
        memory["gathered layers"] = 2 * _largest_unit(model) * compute
    memory["activations"] = activation_bytes(config, settings, batch)
    if name in ("sft", "dpo") or _is_generative(settings):
        memory["logits"] = _TILE * config.vocab_size * 4 * _TILE_COPIES
    memory["reserve"] = _RESERVE
    return Plan(
        name,
        full + adapters,
        trainable,
        gpus,
        batch * settings.gradient_accumulation * gpus * settings.max_length,
        memory,
        tuple(_data_notes(name, settings, gpus)),
    )


def activation_bytes(config: Any, settings: TrainSettings, batch: int) -> float:
    """Bytes that a forward pass keeps for the backward pass of `batch` texts of full length."""
    tokens = batch * settings.max_length
    stream = 2 if settings.dtype == "bfloat16" else 4
    layer = _layer_bytes(config, stream, 4 if settings.dtype == "float32" else 2)
    layers = config.num_hidden_layers
    if settings.gradient_checkpointing:
        return float(tokens * (layers * config.hidden_size * stream + layer))
    return float(tokens * layers * layer)


def _layer_bytes(config: Any, stream: int, width: int) -> float:
    """Bytes a token that one layer keeps.

    `stream` are the bytes of a number between the layers, `width` those of one in a product. Norms
    compute in float32. Autocast copies what goes into a product, once for each.
    """
    hidden, inner, heads = (
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
    )
    keys = hidden // heads * config.num_key_value_heads
    norms = 2 * (4 + stream) * hidden  # input in float32, normalised output
    # of queries, keys and values; of gate and up
    inputs = (2 if stream == width else 5) * width * hidden
    attention = width * (hidden + 2 * keys) + width * hidden + 4 * heads  # q, k, v; output; norms
    mlp = width * 4 * inner  # gate, its activation, up, their product
    return float(norms + inputs + attention + mlp)


def _config(settings: TrainSettings) -> Any:
    sizes = settings.new or settings.config
    if sizes is not None:
        return fresh_config(sizes, sizes.vocab_size or 1024)
    if settings.model is None:
        raise InvalidArgumentError(
            "model=None: give a model to start from, or sizes of a new one (new)"
        )
    if not Path(settings.model).is_dir():
        raise InvalidArgumentError(
            f"model={settings.model!r} is no folder here: give its sizes (config), as its "
            "config.json has them"
        )
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(
            settings.model, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise EngineError(f"{settings.model} has no readable config.json: {reason}") from None


def _meta_model(name: str, settings: TrainSettings, config: Any) -> Any:
    """The model without its weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    with torch.device("meta"):
        if name in ("sft", "dpo") or _is_generative(settings):
            return AutoModelForCausalLM.from_config(config)
        config.num_labels = 1
        return AutoModelForSequenceClassification.from_config(config)


def _states(model: Any, settings: TrainSettings, trainable: int) -> int:
    """Numbers that the optimizer keeps."""
    if settings.optimizer == "adamw":
        return 2 * trainable
    if settings.lora is not None:
        return trainable  # all adapters are matrices
    from .optim import is_hidden

    hidden = sum(w.numel() for name, w in model.named_parameters() if is_hidden(name, w))
    return 2 * trainable - int(hidden)


def _largest_unit(model: Any) -> int:
    """Parameters of a layer, or of the embedding if that is larger: what FSDP gathers at once."""
    layer = sum(weight.numel() for weight in model.model.layers[0].parameters())
    return int(max(layer, model.get_input_embeddings().weight.numel()))


def _is_generative(settings: TrainSettings) -> bool:
    return isinstance(settings, RewardSettings) and settings.kind == "generative"


def _is_paired(settings: TrainSettings) -> bool:
    return isinstance(settings, DpoSettings) or (
        isinstance(settings, RewardSettings) and settings.kind == "ranking"
    )


def _check_template(name: str, settings: TrainSettings) -> None:
    from ..policy.prompt import PromptTemplate
    from ..reward.question import JudgeTemplate
    from ..reward.stepwise import ProcessTemplate

    if name in ("sft", "dpo"):
        PromptTemplate.load(settings.template)
    elif name == "process":
        ProcessTemplate.load(settings.template, settings.step_tag)  # type: ignore[attr-defined]
    else:
        JudgeTemplate.load(settings.template)


def _data_notes(name: str, settings: TrainSettings, gpus: int) -> list[str]:
    """What can be told of the data; they may be made later."""
    columns: dict[str, Columns] = {"sft": SFT, "dpo": DPO, "reward": REWARD, "process": PROCESS}
    wanted = RANKING if _is_paired(settings) else columns[name]
    notes = [
        f"{path}: not there yet, so not checked" for path in settings.data if not path.exists()
    ]
    if not settings.data:
        notes.append("no data: give JSONL files")
    if notes:
        return notes
    rows = len(read_rows(settings.data, wanted))
    each = settings.batch_size * settings.gradient_accumulation * gpus
    steps = settings.max_steps or ceil(rows / each * settings.epochs)
    return [f"{rows} rows, {steps} steps of {each} examples"]
