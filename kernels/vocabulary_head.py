"""Log-probabilities of labels within the whole vocabulary, without a matrix of logits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .arguments import check_hidden, check_rows, check_width
from .configs import VOCABULARY_ROWS, VocabularyConfig, family, vocabulary_config
from .dispatch import (
    KernelArgumentError,
    Route,
    UseKernels,
    architecture,
    choose,
    misalignments,
    obstacles,
    on_device_of,
)
from .label_head import MOST_LABELS
from .toolchain import INTERPRETED, jit, tl, triton

__all__ = ["label_logprob", "label_logprob_route", "launch", "reference"]

#: Rows and tokens whose logits the torch path holds at a time: 32 MB of float32.
_ROWS_AT_A_TIME, _TOKENS_AT_A_TIME = 1024, 8192


@jit("num_picked", "num_rows", "num_tokens", "tiles_per_split")
def vocabulary_partial_kernel(
    hidden_ptr: tl.tensor,
    hidden_stride: tl.tensor,
    rows_ptr: tl.tensor,
    weight_ptr: tl.tensor,
    weight_stride: tl.tensor,
    labels_ptr: tl.tensor,
    tops_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    num_picked: tl.tensor,
    num_rows: tl.tensor,
    num_tokens: tl.tensor,
    tiles_per_split: tl.tensor,
    WIDTH: tl.constexpr,
    LABELS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
    INTERPRETED: tl.constexpr,
) -> None:
    """Maximum and sum of exponentials over one part of the vocabulary, for BLOCK_N picked rows.

    Tiles of rows are the fast axis of the grid, so that they share the weights in the cache. The
    logit of a label is written by the one program that meets it.
    """
    index = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    split = tl.program_id(1)
    inside = index < num_picked
    row = tl.load(rows_ptr + index, mask=inside, other=0).to(tl.int64)
    known = inside & (row >= 0) & (row < num_rows)
    # Finite, so that differences of two of them are no NaN; below each logit that counts.
    top = tl.full([BLOCK_N], -3.0e38, tl.float32)
    total = tl.zeros([BLOCK_N], tl.float32)
    end = tl.minimum((split + 1) * tiles_per_split * BLOCK_V, num_tokens)
    for start in range(split * tiles_per_split * BLOCK_V, end, BLOCK_V):
        token = start + tl.arange(0, BLOCK_V)
        exists = token < num_tokens
        logits = tl.zeros([BLOCK_N, BLOCK_V], tl.float32)
        for h in range(0, WIDTH, BLOCK_H):
            column = h + tl.arange(0, BLOCK_H)
            x_mask = known[:, None]
            w_mask = exists[:, None]
            if WIDTH % BLOCK_H:
                x_mask = x_mask & (column < WIDTH)[None, :]
                w_mask = w_mask & (column < WIDTH)[None, :]
            x = tl.load(
                hidden_ptr + row[:, None] * hidden_stride + column[None, :],
                mask=x_mask,
                other=0.0,
            )
            w = tl.load(
                weight_ptr + token.to(tl.int64)[:, None] * weight_stride + column[None, :],
                mask=w_mask,
                other=0.0,
            )
            if INTERPRETED:  # its products of bfloat16 are wrong
                x = x.to(tl.float32)
                w = w.to(tl.float32)
            logits = tl.dot(x, tl.trans(w), logits)
        for k in range(LABELS):
            label = tl.load(labels_ptr + index * LABELS + k, mask=inside, other=-1).to(tl.int32)
            hit = tl.sum(tl.where(token[None, :] == label[:, None], logits, 0.0), 1)
            here = inside & (label >= start) & (label < tl.minimum(start + BLOCK_V, num_tokens))
            hit = tl.where(known, hit, float("nan"))
            tl.store(logits_ptr + index * LABELS + k, hit, mask=here)
        logits = tl.where(exists[None, :], logits, float("-inf"))
        new_top = tl.maximum(top, tl.max(logits, 1))
        part_sum = tl.sum(tl.exp(logits - new_top[:, None]), 1)
        total = total * tl.exp(top - new_top) + part_sum
        top = new_top
    tl.store(tops_ptr + split * num_picked + index, top, mask=inside)
    tl.store(sums_ptr + split * num_picked + index, total, mask=inside)


@jit("num_picked", "num_tokens", "num_splits")
def vocabulary_finish_kernel(
    labels_ptr: tl.tensor,
    tops_ptr: tl.tensor,
    sums_ptr: tl.tensor,
    logits_ptr: tl.tensor,
    out_ptr: tl.tensor,
    num_picked: tl.tensor,
    num_tokens: tl.tensor,
    num_splits: tl.tensor,
    LABELS: tl.constexpr,
    BLOCK_L: tl.constexpr,
    BLOCK_Q: tl.constexpr,
) -> None:
    """Combine the parts of one picked row, in one order: the same bits each time."""
    index = tl.program_id(0)
    split = tl.arange(0, BLOCK_Q)
    computed = split < num_splits
    top = tl.load(tops_ptr + split * num_picked + index, mask=computed, other=-3.0e38)
    total = tl.load(sums_ptr + split * num_picked + index, mask=computed, other=0.0)
    highest = tl.max(top, 0)
    normaliser = highest + tl.log(tl.sum(total * tl.exp(top - highest), 0))
    k = index * LABELS + tl.arange(0, BLOCK_L)
    asked = tl.arange(0, BLOCK_L) < LABELS
    label = tl.load(labels_ptr + k, mask=asked, other=-1)
    exists = asked & (label >= 0) & (label < num_tokens)
    logit = tl.load(logits_ptr + k, mask=exists, other=float("nan"))
    tl.store(out_ptr + k, logit - normaliser, mask=asked)


def reference(hidden: Tensor, rows: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """The operation in torch, for labels [S, L]; holds a small part of the logits at a time."""
    parts = (
        slice(start, start + _ROWS_AT_A_TIME)
        for start in range(0, max(len(rows), 1), _ROWS_AT_A_TIME)
    )
    return torch.cat([_logprobs(hidden[rows[part]], weight, labels[part]) for part in parts])


def _logprobs(picked: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    sums = [
        _product(picked, weight[start : start + _TOKENS_AT_A_TIME]).logsumexp(-1)
        for start in range(0, len(weight), _TOKENS_AT_A_TIME)
    ]
    normaliser = torch.stack(sums).logsumexp(0)
    normaliser = torch.where(normaliser < torch.inf, normaliser, torch.nan)  # as log_softmax has it
    logits = torch.einsum("sh,slh->sl", picked.float(), weight[labels].float())
    return logits - normaliser[:, None]


def _product(picked: Tensor, weight: Tensor) -> Tensor:
    # Logits rounded to bfloat16 would be off by up to 2 ** -8 of themselves.
    if picked.is_cuda and picked.dtype == weight.dtype != torch.float32:
        return torch.mm(picked, weight.t(), out_dtype=torch.float32)
    return picked.float() @ weight.float().t()


def launch(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    config: VocabularyConfig,
    out: Tensor,
) -> None:
    """Run both kernels as they are, for labels [S, L]; checks nothing."""
    picked, asked = labels.shape
    if not picked:
        return
    tiles = -(-len(weight) // config.block_v)
    per_split = -(-tiles // config.splits)
    tops = hidden.new_empty((config.splits, picked), dtype=torch.float32)
    sums = torch.empty_like(tops)
    logits = torch.empty_like(out)
    with on_device_of(hidden):
        vocabulary_partial_kernel[(-(-picked // config.block_n), config.splits)](
            hidden,
            hidden.stride(0),
            rows,
            weight,
            weight.stride(0),
            labels,
            tops,
            sums,
            logits,
            picked,
            len(hidden),
            len(weight),
            per_split,
            WIDTH=hidden.shape[1],
            LABELS=asked,
            BLOCK_N=config.block_n,
            BLOCK_V=config.block_v,
            BLOCK_H=config.block_h,
            INTERPRETED=INTERPRETED,
            num_warps=config.num_warps,
            num_stages=config.num_stages,
            enable_fp_fusion=True,
        )
        vocabulary_finish_kernel[(picked,)](
            labels,
            tops,
            sums,
            logits,
            out,
            picked,
            len(weight),
            config.splits,
            LABELS=asked,
            BLOCK_L=triton.next_power_of_2(asked),
            BLOCK_Q=triton.next_power_of_2(config.splits),
            num_warps=4,
            num_stages=1,
            enable_fp_fusion=True,
        )


def label_logprob(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    use_kernels: UseKernels = "auto",
) -> Tensor:
    """Return log P(label | everything before) over the whole vocabulary, at the picked rows.

    ``log_softmax(hidden[rows] @ weight.T)[:, labels]`` without its [S, V] logits. The products are
    summed in float32 and not rounded; the sums over parts of the vocabulary are combined in one
    order, without locks or atomics, so that the same call gives the same bits.

    Parameters
    ----------
    hidden : Tensor of float32, float16 or bfloat16, [T, H]
    rows : Tensor of int32 or int64, [S]
        In [0, T), as in `step_reward`.
    weight : Tensor, [V, H]
        The output embedding; it has no bias here.
    labels : Tensor of int32 or int64, [L] or [S, L]
        Token ids in [0, V), the same for each row or its own; 1 to 8 of them. A GPU is not waited
        for to check the range: there the kernel gives such a label NaN.
    use_kernels : {"auto", "triton", "torch"}

    Returns
    -------
    Tensor of float32, [S, L]
        Natural logarithms; NaN in the whole row if a logit is NaN or +inf.

    Raises
    ------
    KernelArgumentError
        An argument has the wrong shape, dtype, device or range.
    KernelUnavailableError
        "triton" was asked for and cannot be had.

    Examples
    --------
    >>> import torch
    >>> hidden, rows = torch.ones(1, 1), torch.tensor([0])
    >>> logprobs = label_logprob(hidden, rows, torch.zeros(4, 1), torch.tensor([3]))
    >>> round(logprobs.exp().item(), 3)
    0.25
    """
    route = label_logprob_route(hidden, rows, weight, labels, use_kernels=use_kernels)
    labels = labels.expand(len(rows), labels.shape[-1]).contiguous()
    if route.backend == "torch":
        return reference(hidden, rows, weight, labels)
    out = hidden.new_empty(labels.shape, dtype=torch.float32)
    config = vocabulary_config(architecture(hidden.device), len(rows))
    launch(hidden, rows, weight, labels, config, out)
    return out


def label_logprob_route(
    hidden: Tensor,
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    use_kernels: UseKernels = "auto",
) -> Route:
    """Return what `label_logprob` would run for these arguments, and why."""
    check_hidden(hidden)
    check_rows(rows, hidden)
    if weight.ndim != 2 or not len(weight):
        raise KernelArgumentError(
            f"weight has shape {tuple(weight.shape)}: it must be [vocabulary, width]"
        )
    check_width("weight", weight, hidden)
    _check_labels(labels, rows, weight)
    return choose(use_kernels, _against(hidden, rows, weight))


def _check_labels(labels: Tensor, rows: Tensor, weight: Tensor) -> None:
    shape = tuple(labels.shape)
    fits = labels.ndim == 1 or (labels.ndim == 2 and shape[0] == len(rows))
    if not fits or not 1 <= shape[-1] <= MOST_LABELS:
        raise KernelArgumentError(
            f"labels has shape {shape}: it must be [L] or [{len(rows)}, L] with L from 1 to "
            f"{MOST_LABELS}"
        )
    if labels.dtype not in (torch.int32, torch.int64) or labels.device != weight.device:
        raise KernelArgumentError(
            f"labels is {labels.dtype} on {labels.device}: it must be int32 or int64 on "
            f"{weight.device}"
        )
    if labels.device.type == "cpu" and labels.numel():
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= len(weight):
            raise KernelArgumentError(
                f"labels holds {low if low < 0 else high}: weight has the rows 0 to "
                f"{len(weight) - 1}"
            )


def _against(hidden: Tensor, rows: Tensor, weight: Tensor) -> Iterator[str]:
    yield from obstacles(hidden, weight)
    yield from misalignments("hidden", hidden)
    yield from misalignments("weight", weight)
    if hidden.dtype != weight.dtype:
        yield f"hidden is {hidden.dtype} and weight {weight.dtype}"
    if hidden.dtype == torch.float32:
        yield "tensor cores would round float32 to TF32"
    if len(rows) > VOCABULARY_ROWS:
        yield f"{len(rows)} rows are more than {VOCABULARY_ROWS}: a GEMM is ahead there"
    arch = architecture(hidden.device)
    if family(arch) is None:
        yield f"there is no configuration for {arch}"
