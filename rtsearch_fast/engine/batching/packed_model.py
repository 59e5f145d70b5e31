"""One forward pass over tokens of many sequences, packed side by side without padding.

A row's numbers must not depend on what else is in the pass, or a resumed run would not repeat
itself. The layers therefore see a plain list of tokens, filled up with dummies to one of a few
sizes that were *found* to give bit-equal rows here when the model was loaded (matrix products
choose their order of summation by shape). Attention has rules of its own, see `packed_attention`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EngineError, MissingExtraError
from .packed_attention import packed_attention
from .packed_pass import PackedPass, Span
from .shelves import Shelves
from .threads import torch_threads
from .tiles import keep_from_tiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..head import Head

__all__ = ["PackedModel", "Span", "quiet_transformers"]

_log = logging.getLogger(__name__)

_ATTENTION = "rtsearch_packed"

#: Parameters below which operations take microseconds, so that one thread computes them: a second
#: one gains little, and where the cores are busy each operation would wait for both.
_SMALL = 20_000_000


class PackedModel:
    """A causal model of transformers, and its tokenizer.

    Parameters
    ----------
    folder : path
    dtype : {"auto", "float32", "bfloat16"}
    device : str or None
    min_rows : int
        Tokens that must fit into one pass.
    head : callable, optional
        Given the tokenizer, loads a `Head`, whose outputs are what the model computes then. None is
        a language model.

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

    def __init__(
        self,
        folder: Path,
        *,
        dtype: str,
        device: str | None,
        min_rows: int,
        head: Callable[[Any], Head] | None = None,
    ) -> None:
        try:
            import torch
            from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
            from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
        except ImportError as error:
            raise MissingExtraError(
                'running a model in this process needs: pip install "rtsearch-fast[hf]"'
            ) from error
        keep_from_tiles()
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
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            self._head = None if head is None else head(self.tokenizer).to(self.device)
            kind = AutoModelForCausalLM if self._head is None else AutoModel
            # with a head, what is not read is looked at below
            with quiet_transformers(reports=self._head is None):
                loaded = kind.from_pretrained(
                    str(folder),
                    dtype=self.dtype,
                    attn_implementation=_ATTENTION,
                    local_files_only=True,
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
            self._model: Any = loaded[0]
        except EngineError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            reason = str(error).strip().split("\n")[0]
            raise EngineError(f"{folder} cannot be loaded as a language model: {reason}") from error
        torch.nn.Module.to(self._model, self.device)
        config = self._model.config.get_text_config()
        _check_weights(folder, self._head, config.hidden_size, loaded[1])
        self.context: int = config.max_position_embeddings
        self.eos = _end_tokens(self._model, self.tokenizer)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_size = getattr(config, "head_dim", None)
        head_size = head_size or config.hidden_size // config.num_attention_heads
        self._kv_shape = (config.num_hidden_layers, 2, heads, head_size)
        self._small = self._model.num_parameters() < _SMALL
        self.threads = 1 if self._small else torch.get_num_threads()
        with torch_threads(self.threads):
            self._sizes = self._equal_sizes(min_rows)
        self.max_rows = self._sizes[-1]

    @property
    def outputs(self) -> int:
        """Numbers that `forward` returns for a span."""
        head = self._head
        vocabulary: int = self._model.config.get_text_config().vocab_size
        return vocabulary if head is None else head.outputs

    def no_kv(self) -> Tensor:
        """Return the keys and values of a prompt of which none are known yet, see `Span`."""
        import torch

        layers, two, heads, head_size = self._kv_shape
        return torch.empty((layers, two, heads, 0, head_size), dtype=self.dtype, device=self.device)

    @property
    def head_route(self) -> str:
        """What computes the head, and why; "" is a model without one."""
        return "" if self._head is None else self._head.route(self.dtype)

    def new_shelves(self) -> Shelves:
        """Return shelves for the sequences in flight."""
        return Shelves(self._kv_shape, self.dtype, self.device)

    def forward(self, spans: Sequence[Span]) -> Tensor:
        """Run the model over all spans.

        Returns
        -------
        Tensor of float32, [spans that want logits, outputs]
            Log-probabilities of the token after each such span, or what the head tells of its last
            token.
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
        keep = torch.tensor(rows, device=self.device)
        with torch.inference_mode():
            found = self._model(
                input_ids=torch.tensor([tokens + [0] * fill], device=self.device),
                position_ids=torch.tensor([positions + [0] * fill], device=self.device),
                use_cache=False,
                packed_pass=PackedPass(spans, self.device),
                **({"logits_to_keep": keep} if self._head is None else {}),
            )
            if self._head is None:
                return torch.log_softmax(found.logits[0].float(), -1)[: len(last)]
            return self._head(found.last_hidden_state[0], keep)[: len(last)]

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
def quiet_transformers(*, reports: bool = True) -> Iterator[None]:
    """Load or save a model without progress bars, and maybe without reports on its weights."""
    from transformers.utils import logging as module

    told: Any = module
    shown, verbosity = told.is_progress_bar_enabled(), told.get_verbosity()
    told.disable_progress_bar()
    if not reports:
        told.set_verbosity_error()
    try:
        yield
    finally:
        told.set_verbosity(verbosity)
        if shown:
            told.enable_progress_bar()


def _check_weights(folder: Path, head: Head | None, hidden_size: int, info: dict[str, Any]) -> None:
    """Refuse weights that do not fit together: they would give numbers all the same."""
    missing = sorted(info["missing_keys"])
    if missing:
        raise EngineError(
            f"{folder} lacks the weights {', '.join(missing[:3])}: it is another kind of model "
            f"than {'a language model' if head is None else 'its config.json says'}"
        )
    if head is None:
        return
    if head.inputs != hidden_size:
        raise EngineError(
            f"{folder}: the head is for a hidden size of {head.inputs}, the model has {hidden_size}"
        )
    # a language model's own head may be there, too
    unread = set(info["unexpected_keys"]) - head.weights - {"lm_head.weight", "lm_head.bias"}
    if unread:
        raise EngineError(
            f"{folder} also holds the weights {', '.join(sorted(unread)[:3])}, which belong "
            "neither to the model of its config.json nor to a head of one or two layers: its "
            "scores would be others"
        )


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    found: set[int] = set()
    generation_config = getattr(model, "generation_config", None)  # without a head it has none
    for ids in (getattr(generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        found |= {ids} if isinstance(ids, int) else set(ids or ())
    return frozenset(found)
