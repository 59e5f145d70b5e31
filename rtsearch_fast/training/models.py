"""The model and the tokenizer that a training starts from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..engine.embedded import EMBEDDED_MODELS, embedded_model
from ..errors import EngineError, InvalidArgumentError
from .settings import Architecture, TrainSettings

__all__ = ["adapter_size", "fresh_config", "load_model", "load_tokenizer", "train_tokenizer"]

END = "<|endoftext|>"
PAD = "<|pad|>"
#: GPT-2's, but each digit alone.
PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
#: Control tokens in a template: each is one token for a tokenizer that is trained for it.
_CONTROL = re.compile(r"<\|[a-z_]+\|>")


def load_tokenizer(settings: TrainSettings, template: str, texts: Iterable[str]) -> Any:
    """Return the tokenizer that is named, the model's, or one that is trained on `texts`.

    Parameters
    ----------
    settings : TrainSettings
    template : str
        The prompt's text, whose control tokens a trained tokenizer knows.
    texts : iterable of str
        Read only if a tokenizer is trained.

    Raises
    ------
    EngineError
        There is no such tokenizer.
    """
    from transformers import AutoTokenizer

    if settings.tokenizer is None and settings.new is not None:
        control = dict.fromkeys([*_CONTROL.findall(template), *settings.special_tokens])
        return train_tokenizer(
            texts, settings.new.vocab_size or 1024, tuple(control), settings.vocabulary
        )
    source = settings.tokenizer or _source(settings)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, local_files_only=Path(source).is_dir(), trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"tokenizer of {source} cannot be loaded: {_first_line(error)}") from None
    if not tokenizer.is_fast:
        raise EngineError(
            f"tokenizer of {source} has no tokenizer.json: it does not tell where tokens lie"
        )
    if tokenizer.eos_token_id is None:
        raise EngineError(f"tokenizer of {source} has no eos_token: set it in its folder")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    special: tuple[str, ...] = (),
    vocabulary: tuple[str, ...] = (),
    pieces: str = PIECES,
) -> Any:
    """Train a byte-level BPE tokenizer; digits stand alone, so that numbers of any length are read.

    Parameters
    ----------
    texts : iterable of str
    vocab_size : int
        Most tokens; a small set of texts gives fewer.
    special : tuple of str
        Further control tokens.
    vocabulary : tuple of str
        Words that become one token each, however rare in the texts.
    pieces : str
        Regular expression of what is never merged with its neighbours.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD, *special],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )

    def words() -> Iterator[str]:
        size = 0
        for text in texts:
            size += len(text)
            yield text
        for word in vocabulary:  # more often than any pair of the texts
            for _ in range(size // 8000 + 1):
                yield f"{word}\n" * 1000

    tokenizer.train_from_iterator(words(), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


def fresh_config(sizes: Architecture, vocab_size: int, tokenizer: Any = None) -> Any:
    """Return a `LlamaConfig` of these sizes."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.intermediate_size,
        num_hidden_layers=sizes.num_hidden_layers,
        num_attention_heads=sizes.num_attention_heads,
        num_key_value_heads=sizes.num_key_value_heads,
        max_position_embeddings=sizes.max_position_embeddings,
        tie_word_embeddings=sizes.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        rms_norm_eps=sizes.rms_norm_eps,
        bos_token_id=None,
        eos_token_id=None if tokenizer is None else tokenizer.eos_token_id,
        pad_token_id=None if tokenizer is None else tokenizer.pad_token_id,
    )


def load_model(settings: TrainSettings, tokenizer: Any, head: str = "CausalLM", **more: Any) -> Any:
    """Return the model to train: loaded, or with fresh weights that follow from the seed.

    Parameters
    ----------
    settings : TrainSettings
    tokenizer : PreTrainedTokenizerFast
    head : {"CausalLM", "SequenceClassification", "TokenClassification"}
    more
        Of the configuration, e.g. ``num_labels``.

    Raises
    ------
    EngineError
        The model cannot be loaded.
    """
    import torch
    import transformers

    dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    loader: Any = getattr(transformers, f"AutoModelFor{head}")
    if settings.new is not None:
        count = len(tokenizer)
        size = settings.new.vocab_size
        if settings.tokenizer is None or size is None:
            size = count
        elif size < count:
            raise InvalidArgumentError(
                f"new vocab_size={size}: the tokenizer has {count} tokens: leave it out"
            )
        config = fresh_config(settings.new, size, tokenizer)
        for name, value in more.items():
            setattr(config, name, value)
        torch.manual_seed(settings.seed)
        model = loader.from_config(config, dtype=dtype)
    else:
        model = _loaded(loader, settings, tokenizer, dtype, more)
    if settings.lora is not None:
        adapter_size(model, settings)  # PEFT passes over names that it does not find
    return model


def _loaded(
    loader: Any, settings: TrainSettings, tokenizer: Any, dtype: Any, more: dict[str, Any]
) -> Any:
    source = _source(settings)
    try:
        model = loader.from_pretrained(
            source,
            dtype=dtype,
            local_files_only=Path(source).is_dir(),
            use_safetensors=True,
            trust_remote_code=False,
            **more,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise EngineError(f"{source} cannot be loaded as a model: {_first_line(error)}") from None
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id
    return model


def adapter_size(model: Any, settings: TrainSettings) -> int:
    """Return how many numbers the adapters hold: rank * (inputs + outputs) for each matrix.

    Raises
    ------
    InvalidArgumentError
        The model has no matrix of one of the names.
    """
    assert settings.lora is not None
    sizes: dict[str, int] = dict.fromkeys(settings.lora.targets, 0)
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last in sizes and hasattr(module, "in_features"):
            sizes[last] += settings.lora.rank * (module.in_features + module.out_features)
    if unknown := [name for name, size in sizes.items() if not size]:
        raise InvalidArgumentError(
            f"lora.targets={settings.lora.targets!r}: the model has no such matrix as {unknown[0]}"
        )
    return sum(sizes.values())


def _source(settings: TrainSettings) -> str:
    if settings.model is None:
        raise InvalidArgumentError("model=None: give a model to start from, or sizes of a new one")
    if settings.model in EMBEDDED_MODELS:
        return str(embedded_model(settings.model))
    return settings.model


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
