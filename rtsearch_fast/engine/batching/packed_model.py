"""One forward pass over tokens of many sequences, packed side by side without padding.

A row's numbers must not depend on what else is in the pass, or a resumed run would not repeat
itself. The layers therefore see a plain list of tokens, filled up with dummies to one of a few
sizes that were *found* to give bit-equal rows here when the model was loaded (matrix products
choose their order of summation by shape). Attention has rules of its own, see `packed_attention`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EngineError, MissingExtraError
from .packed_attention import packed_attention
from .packed_pass import PackedPass, Span
from .shelves import Shelves
from .threads import torch_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["PackedModel", "Span", "quiet_transformers"]

_log = logging.getLogger(__name__)

_ATTENTION = "rtsearch_packed"

#: Parameters below which operations take microseconds, so that one thread computes them: a second
#: one gains little, and where the cores are busy each operation would wait for both.
_SMALL = 20_000_000


class PackedModel:
    """A causal language model of transformers, and its tokenizer.

    Parameters
    ----------
    folder : path
    dtype : {"auto", "float32", "bfloat16"}
    device : str or None
    min_rows : int
        Tokens that must fit into one pass.

    Attributes
    ----------
    tokenizer : PreTrainedTokenizerBase
    context : int
        Most positions of a sequence.
    eos : frozenset of int
    max_rows : int
        Most tokens in one pass.
    threads : int
        Threads of torch that `forward` must be called with, see `torch_threads`.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str | None, min_rows: int) -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
        except ImportError as error:
            raise MissingExtraError(
                'running a model in this process needs: pip install "rtsearch-fast[hf]"'
            ) from error
        if not (folder / "config.json").is_file():
            raise EngineError(
                f"{folder} is not a model folder (no config.json): pass the folder that "
                "save_pretrained wrote or a download made"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = _pick_dtype(dtype, self.device)
        ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, packed_attention)
        try:
            # Files of the folder only: no download, and no code that came with the weights.
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            with quiet_transformers():
                self._model: Any = AutoModelForCausalLM.from_pretrained(
                    str(folder),
                    dtype=self.dtype,
                    attn_implementation=_ATTENTION,
                    local_files_only=True,
                    use_safetensors=True,
                )
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            reason = str(error).strip().split("\n")[0]
            raise EngineError(f"{folder} cannot be loaded as a language model: {reason}") from error
        torch.nn.Module.to(self._model, self.device)
        config = self._model.config.get_text_config()
        self.context: int = config.max_position_embeddings
        self.eos = _end_tokens(self._model.generation_config, self.tokenizer)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_size = getattr(config, "head_dim", None)
        head_size = head_size or config.hidden_size // config.num_attention_heads
        self._kv_shape = (config.num_hidden_layers, 2, heads, head_size)
        self._small = self._model.num_parameters() < _SMALL
        self.threads = 1 if self._small else torch.get_num_threads()
        with torch_threads(self.threads):
            self._sizes = self._equal_sizes(min_rows)
        self.max_rows = self._sizes[-1]

    def no_kv(self) -> Tensor:
        """Return the keys and values of a prompt of which none are known yet, see `Span`."""
        import torch

        layers, two, heads, head_size = self._kv_shape
        return torch.empty((layers, two, heads, 0, head_size), dtype=self.dtype, device=self.device)

    def new_shelves(self) -> Shelves:
        """Return shelves for the sequences in flight."""
        return Shelves(self._kv_shape, self.dtype, self.device)

    def forward(self, spans: Sequence[Span]) -> Tensor:
        """Run the model over all spans.

        Returns
        -------
        Tensor of float32, [spans that want logits, vocabulary]
            Log-probabilities of the token after each such span.
        """
        import torch

        tokens: list[int] = []
        positions: list[int] = []
        last: list[int] = []
        for span in spans:
            tokens += span.tokens
            positions += range(span.start, span.start + len(span.tokens))
            if span.wants_logits:
                last.append(len(tokens) - 1)
        fill = self._fill(len(tokens))
        rows = last + [0] * self._fill(len(last)) if last else [0]
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor([tokens + [0] * fill], device=self.device),
                position_ids=torch.tensor([positions + [0] * fill], device=self.device),
                logits_to_keep=torch.tensor(rows, device=self.device),
                use_cache=False,
                packed_pass=PackedPass(spans, self.device),
            ).logits[0]
            return torch.log_softmax(logits.float(), -1)[: len(last)]

    def _fill(self, rows: int) -> int:
        return next(size for size in self._sizes if size >= rows) - rows

    def _equal_sizes(self, min_rows: int) -> tuple[int, ...]:
        """Return the sizes of a pass that all give the same bits, ascending.

        The largest is the reference; a size stays if its rows, in another order, equal the
        reference's. With none equal, only the largest is used: slower, and still exact.
        """
        import torch

        sizes = [8, 16, 32, 48, 64, 96, 128]
        if self._small:  # trying is cheap, and the more fits into a pass the better
            sizes += range(160, 513, 32)
        while sizes[-1] < min_rows:
            sizes.append(2 * sizes[-1])
        vocabulary = self._model.config.get_text_config().vocab_size
        tokens = [(7919 * i + 1) % vocabulary for i in range(sizes[-1])]

        def run(row_tokens: list[int]) -> Tensor:
            self._sizes = (len(row_tokens),)
            shelves = self.new_shelves()
            empty = self.no_kv()
            return self.forward(
                [Span([token], 0, shelves.place(1, empty, 0), True) for token in row_tokens]
            )

        reference = run(tokens)
        equal = []
        for size in sizes:
            half = size // 2
            rolled = run(tokens[half:size] + tokens[:half])
            if torch.equal(rolled, torch.cat([reference[half:size], reference[:half]])):
                equal.append(size)
        if sizes[-1] not in equal:
            _log.warning(
                "matrix products here depend on a row's place: samples will depend on their "
                "neighbours and resumed runs may differ"
            )
        return tuple(sorted({*equal, sizes[-1]}))


def _pick_dtype(name: str, device: torch.device) -> torch.dtype:
    import torch

    if name == "auto":
        # Without hardware support, bfloat16 on a CPU is emulated and far slower than float32.
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        fast = device.type == "cuda" or (device.type == "cpu" and supported())
        return torch.bfloat16 if fast else torch.float32
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in dtypes:
        raise EngineError(f'dtype is {name!r}: use "auto", "float32" or "bfloat16"')
    return dtypes[name]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Load or save a model without progress bars."""
    from transformers.utils import logging as module

    bars: Any = module
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _end_tokens(generation_config: Any, tokenizer: Any) -> frozenset[int]:
    found: set[int] = set()
    for ids in (getattr(generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        found |= {ids} if isinstance(ids, int) else set(ids or ())
    return frozenset(found)
