"""A model's tokenizer, as this package uses it: nothing is added, and nothing is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import EngineError, MissingExtraError

__all__ = ["Tokens"]


class Tokens:
    """Text to tokens and back.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    name : str
        The model's, for messages.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self.name = name

    @classmethod
    def load(cls, folder: str | Path) -> Tokens:
        """Read the tokenizer of a model folder, and not its weights.

        Raises
        ------
        EngineError
            The folder holds no tokenizer.
        MissingExtraError
            transformers is not installed.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise MissingExtraError(
                'a tokenizer in this process needs: pip install "rtsearch-fast[hf]"'
            ) from error
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().split("\n")[0]
            raise EngineError(f"{folder} has no tokenizer that can be read: {reason}") from error
        return cls(tokenizer, Path(folder).resolve().name)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, special ones included."""
        return str(
            self._tokenizer.decode(
                tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def of_label(self, label: str) -> int:
        """The token of a label.

        Raises
        ------
        EngineError
            The label is not one token.
        """
        tokens = self.encode(label)
        if len(tokens) != 1:
            pieces = [self.decode([token]) for token in tokens]
            raise EngineError(
                f"label {label!r} is {len(tokens)} tokens of {self.name}, {pieces}: "
                "choose a label that is one token (a leading space may matter)"
            )
        return tokens[0]
