"""Random reward models of two layers: every kind of head, over tokenizers with real ones' traps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Control tokens that the formats spell out.
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<extra_0>",
    "[PRM]",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
_TEXT = "Step What is the Answer system user assistant 0123456789 +-*/=.:\n{}\\boxed ки"


def stored(text: str) -> str:
    """A text as byte-level vocabularies spell it."""
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return str(level.pre_tokenize_str(text)[0][0])


def byte_level() -> Any:
    r"""A tokenizer as Qwen and Llama 3 have it: ".\n", " +" and " \n\n\n\n\n" are tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*| ?\p{L}+|\s*[\r\n]+|\s+(?!\S)|\s+"
    pieces = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()))
    merges = []
    for word in map(stored, (" \n\n\n\n\n", " ки", ".\n", "\n\n", " +", " -")):
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                merges.append((word[: end - 1], word[end - 1]))
                pieces[word[:end]] = None
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    core = Tokenizer(models.BPE(vocabulary, merges))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")


def sentence_piece() -> Any:
    """A tokenizer as Mistral has it: a blank is a part of the word that follows."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<unk>", "<s>", "</s>", *dict.fromkeys("▁" + _TEXT.replace(" ", "")), "."]
    pieces = list(dict.fromkeys([*pieces, "▁+", "▁-", "▁к", "▁ки"]))
    merges = [("▁", "+"), ("▁", "-"), ("▁", "к"), ("▁к", "и")]
    core = Tokenizer(
        models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", fuse_unk=True)
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    core.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def tiny_reward(
    folder: Path, kind: str, tokenizer: Any, *, seed: int = 3, family: str = "Qwen2", **config: Any
) -> Path:
    """Write a model and its tokenizer into a folder; returns it.

    Parameters
    ----------
    kind : {"CausalLM", "TokenClassification", "SequenceClassification", "ProcessReward", "v_head"}
        The last two are a causal model's weights with another head among them.
    """
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.5,
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    known = getattr(transformers, f"{family}Config")(**settings | config)
    bare = kind in ("ProcessReward", "v_head")
    model = getattr(transformers, f"{family}For{'CausalLM' if bare else kind}")(known)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if bare:
        file = folder / "model.safetensors"
        weights = load_file(file)

        def layer(name: str, outputs: int) -> None:
            weights[f"{name}.weight"] = torch.randn(outputs, known.hidden_size) / 4
            weights[f"{name}.bias"] = torch.randn(outputs) / 4

        if kind == "v_head":
            layer("v_head.summary", 1)
        else:
            del weights["lm_head.weight"]
            layer("score.0", known.hidden_size)
            layer("score.2", 2)
        save_file(weights, file, metadata={"format": "pt"})
    return folder


def hidden64(folder: Path, tokens: list[int]) -> Any:
    """The last hidden states of transformers' own model, in float64: Tensor [tokens, size]."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).last_hidden_state[0]


def weights64(folder: Path) -> dict[str, Any]:
    """The stored weights in float64."""
    from safetensors.torch import load_file

    return {name: value.double() for name, value in load_file(folder / "model.safetensors").items()}
