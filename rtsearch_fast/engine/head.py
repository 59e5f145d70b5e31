"""The head of a reward model: a few rows of weights on the last hidden state of single tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor

    from ..kernels.dispatch import UseKernels

__all__ = ["Head", "is_head"]

#: Weights of a head: of transformers' classifiers, of Qwen's reward models (two layers) and of
#: TRL's value head.
_HEAD = re.compile(r"(score|classifier|v_head(?:\.summary)?)(?:\.(0|2))?\.(weight|bias)")

#: Settings by which a model changes its logits after the output embedding.
_AFTER = ("final_logit_softcapping", "logit_scale", "logits_scaling")


def is_head(name: str) -> bool:
    """Whether weights of this name are of a head that `Head` reads."""
    return _HEAD.fullmatch(name) is not None


@dataclass(frozen=True)
class Head:
    """Linear layers with rectifiers between them, in float32 whatever the model computes in.

    Attributes
    ----------
    layers : tuple of (Tensor [outputs, inputs], Tensor [outputs] or None)
        Weights and biases.
    weights : frozenset of str
        The names of the tensors that were read.
    use_kernels : {"auto", "triton", "torch"}
        What computes the last layer, see `rtsearch_fast.kernels`.
    """

    layers: tuple[tuple[Tensor, Tensor | None], ...]
    weights: frozenset[str]
    use_kernels: UseKernels = "auto"

    @property
    def inputs(self) -> int:
        """The hidden size that the head is for."""
        return int(self.layers[0][0].shape[1])

    @property
    def outputs(self) -> int:
        """Numbers a token."""
        return int(self.layers[-1][0].shape[0])

    def __call__(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Return the head's numbers; nothing is computed for tokens that are not read.

        Parameters
        ----------
        hidden : Tensor [tokens, inputs]
        rows : Tensor of int64 [rows]
            The tokens that are read.

        Returns
        -------
        Tensor of float32 [rows, outputs]
        """
        import torch
        from torch.nn.functional import linear

        from ..kernels.label_head import MOST_LABELS, label_logits

        *inner, (weight, bias) = self.layers
        for inner_weight, inner_bias in inner:
            hidden = linear(hidden[rows].float(), inner_weight, inner_bias).relu()
            rows = torch.arange(len(rows), device=hidden.device)
        if self.outputs > MOST_LABELS:
            return linear(hidden[rows].float(), weight, bias)
        numbers: Tensor = label_logits(hidden, rows, weight, bias, use_kernels=self.use_kernels)
        return numbers

    def route(self, dtype: Any) -> str:
        """Tell what computes the last layer from hidden states of a dtype, and why."""
        import torch

        from ..kernels.label_head import MOST_LABELS, label_logits_route

        weight, bias = self.layers[-1]
        if self.outputs > MOST_LABELS:
            return f"torch: {self.outputs} outputs are more than the kernel's {MOST_LABELS}"
        dtype = torch.float32 if len(self.layers) > 1 else dtype
        hidden = torch.empty(1, weight.shape[1], dtype=dtype, device=weight.device)
        rows = torch.zeros(1, dtype=torch.int64, device=weight.device)
        route = label_logits_route(hidden, rows, weight, bias, use_kernels=self.use_kernels)
        return f"{route.backend}: {route.reason}"

    def to(self, device: Any) -> Head:
        """The head with its weights on a device."""
        moved = ((w.to(device), None if b is None else b.to(device)) for w, b in self.layers)
        return replace(self, layers=tuple(moved))

    @classmethod
    def load(cls, folder: Path) -> Head:
        """Read the head of a classifier, reward model or value model.

        Raises
        ------
        EngineError
            The folder holds no head, more than one, or one of another shape.
        """
        stored = _Stored(folder)
        return cls.of_weights(
            {key: stored.read(key) for key in stored.keys if is_head(key)}, str(folder)
        )

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor], where: str) -> Head:
        """Make a head of weights for which `is_head` holds, in float32.

        Raises
        ------
        EngineError
            As `load`; ``where`` names the model in it.
        """
        found = {key: match for key in weights if (match := _HEAD.fullmatch(key))}
        roots = sorted({match[1] for match in found.values()})
        if len(roots) != 1:
            have = f"the heads {', '.join(roots)}" if roots else "no head"
            raise EngineError(
                f"{where} holds {have}: a reward model has one of score.*, classifier.* or "
                "v_head.* (a language model is read by labels)"
            )
        numbers = sorted({match[2] or "" for match in found.values()})
        if numbers not in ([""], ["0", "2"]):
            raise EngineError(
                f"{where}: the head {roots[0]} has the layers {', '.join(numbers)}: only one "
                "layer, or two with a rectifier between them (0 and 2), can be read"
            )
        layers = []
        for number in numbers:
            stem = f"{roots[0]}.{number}" if number else roots[0]
            if f"{stem}.weight" not in weights:
                raise EngineError(f"{where} lacks the weights {stem}.weight")
            layers.append((weights[f"{stem}.weight"], weights.get(f"{stem}.bias")))
        return cls(tuple(layers), frozenset(found))

    @classmethod
    def of_labels(cls, folder: Path, tokens: Sequence[int]) -> Head:
        """Read the rows of a language model's output embedding that belong to tokens.

        Its numbers are the logits of these tokens; those of the others are never computed.

        Raises
        ------
        EngineError
            The model has no such rows, or changes its logits afterwards.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        after = [name for name in _AFTER if config.get(name) not in (None, 1, 1.0)]
        if after:
            raise EngineError(
                f"{folder} changes its logits by {', '.join(after)}: read its labels by "
                "TransformersEngine"
            )
        stored = _Stored(folder)
        tied = (key for key in stored.keys if key.endswith("embed_tokens.weight"))
        name = "lm_head.weight" if "lm_head.weight" in stored.keys else next(tied, None)
        if name is None:
            raise EngineError(
                f"{folder} has neither lm_head.weight nor embed_tokens.weight: it is no language "
                "model whose labels could be read"
            )
        rows = list(tokens)
        layer = (stored.read(name, rows=rows), stored.read("lm_head.bias", None, rows=rows))
        return cls((layer,), frozenset({"lm_head.weight", "lm_head.bias"}))


class _Stored:
    """The tensors of a folder, by name, in whichever file they are."""

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self.folder = folder
        self._files: dict[str, Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                self._files |= dict.fromkeys(tensors.keys(), file)
        if not self._files:
            raise EngineError(
                f"{folder} has no weights in safetensors files: other files are not opened, since "
                "loading them can run code; convert them"
            )

    @property
    def keys(self) -> set[str]:
        return set(self._files)

    def read(self, name: str, *default: None, rows: list[int] | None = None) -> Any:
        """Return a tensor in float32, or its rows; the default where there is none."""
        from safetensors import safe_open

        if name not in self._files:
            if default:
                return None
            raise EngineError(f"{self.folder} lacks the weights {name}")
        with safe_open(self._files[name], framework="pt") as tensors:
            if rows is None:
                return tensors.get_tensor(name).float()
            part = tensors.get_slice(name)
            import torch

            return torch.cat([part[row : row + 1] for row in rows]).float()
