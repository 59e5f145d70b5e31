"""A random Llama of two layers whose tokens are letters, for tests of what runs on real engines."""

from __future__ import annotations

from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n.:#{}\\+-*/="


def tiny_llama(folder: Path, *, context: int = 512, seed: int = 5) -> Path:
    """Write the model and its tokenizer into a folder; returns it."""
    import tokenizers
    import torch
    import transformers

    pieces = ["<end>", *LETTERS, "ab", "the", "th"]
    vocabulary = {token: i for i, token in enumerate(pieces)}
    merges = [("a", "b"), ("t", "h"), ("th", "e")]
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    core.decoder = tokenizers.decoders.Fuse()
    core.add_special_tokens(["<end>"])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.5,
        eos_token_id=0,
        bos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder
