"""vLLM in this process. All that is known of its Python interface stands in this file.

vLLM runs on an event loop of its own, on a thread of its own, so the engine can be used from any
loop, and from one after the other; the model itself runs in processes that vLLM starts.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import accumulate, count
from pathlib import Path
from typing import Any

from ..aio import together
from ..errors import AnswerFormatError, EngineError, InvalidArgumentError
from .protocol import CompletionRequest, EngineStats, FinishReason, LabelLogprobs, Sample, seed_runs
from .server.settings import find_vllm

__all__ = ["VllmEngine"]


class VllmEngine:
    """Runs a causal language model with vLLM in this process; implements `Engine`.

    A program that makes one must guard its main part with ``if __name__ == "__main__"``, since
    vLLM starts processes that import it again.

    Parameters
    ----------
    model : str or path
        A model folder, or a name that vLLM can find.
    max_sequences : int
        Most sequences generated at once.
    block_tokens : int, optional
        Size of a block of the prefix cache; None takes what suits a tree search: small blocks, as
        each request computes anew what lies behind its last full block.
    **engine_args
        Passed to vLLM's ``AsyncEngineArgs``, e.g. ``dtype="float32"``, ``tensor_parallel_size=2``.

    Raises
    ------
    MissingExtraError
        vLLM is not installed, or its version is not supported.
    EngineError
        vLLM cannot start the model.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        max_sequences: int = 128,
        block_tokens: int | None = None,
        **engine_args: Any,
    ) -> None:
        if max_sequences < 1:
            raise InvalidArgumentError(f"max_sequences={max_sequences}: must be at least 1")
        find_vllm()
        self.max_sequences = max_sequences
        self.stats = EngineStats()
        folder = Path(model)
        self.name = folder.resolve().name if folder.is_dir() else str(model)
        self._numbers = count()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"vllm {self.name}", daemon=True
        )
        self._thread.start()
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        try:
            self._submit(self._start(str(model), block_tokens, engine_args)).result()
        except Exception as error:
            self._end_loop()
            raise EngineError(
                f"vLLM cannot start {self.name}: {type(error).__name__}: {_first_line(error)} "
                "(the reason is often further up, in what vLLM printed)"
            ) from error

    async def complete(self, request: CompletionRequest) -> list[Sample]:
        """Draw the samples of a request; see `Engine.complete`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if request.max_tokens < 1:
            raise InvalidArgumentError(f"max_tokens is {request.max_tokens}: it must be at least 1")
        prompt = request.prompt
        tokens = self._encode(prompt) if isinstance(prompt, str) else list(prompt)

        async def run(seed: int, number: int) -> list[Sample]:
            params = SamplingParams(
                n=number,
                seed=seed,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                stop=list(request.stop),
                logprobs=0,  # of the token itself
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            output = await self._generate(tokens, params)
            if len(output.outputs) != number:
                raise AnswerFormatError(
                    f"{self.name}: {number} samples were asked for, {len(output.outputs)} came"
                )
            return [_sample(part) for part in sorted(output.outputs, key=lambda part: part.index)]

        # greedy samples are all the same, but each is asked for: vLLM refuses n > 1 of them
        greedy = request.temperature == 0
        runs = [(seed, 1) for seed in request.seeds] if greedy else seed_runs(request.seeds)
        parts = await self._call(together(run(*r) for r in runs))
        return [sample for part in parts for sample in part]

    async def label_logprobs(
        self, prompts: Sequence[str], labels: tuple[str, ...]
    ) -> list[LabelLogprobs]:
        """Return the log-probability of each label after each prompt; see the protocol."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        ids = [self._label_token(label) for label in labels]
        if not ids:
            return [()] * len(prompts)

        async def one(prompt: str) -> LabelLogprobs:
            params = SamplingParams(
                max_tokens=1,
                temperature=0.0,
                logprob_token_ids=ids,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            output = await self._generate(self._encode(prompt), params)
            (found,) = output.outputs[0].logprobs
            return tuple(found[token].logprob for token in ids)

        found: list[LabelLogprobs] = await self._call(together(map(one, prompts)))
        return found

    async def aclose(self) -> None:
        """End vLLM and its processes; calls still awaited fail."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._end)

    # --- the thread of vLLM ---------------------------------------------------------------

    async def _start(
        self, model: str, block_tokens: int | None, engine_args: dict[str, Any]
    ) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        on_cpu = current_platform.is_cpu()
        settings: dict[str, Any] = {
            "max_num_seqs": self.max_sequences,
            "enable_prefix_caching": True,
            "block_size": block_tokens or (32 if on_cpu else 16),
            **engine_args,
        }
        if on_cpu:
            # Compilation takes minutes and gains little; and there vLLM dies of a seeded request
            # whose prompt is computed in pieces, so a batch must hold the longest prompt.
            length = settings.setdefault("max_model_len", 4096)
            settings = {
                "enforce_eager": True,
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": max(length, 2048),
                **settings,
            }
        self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **settings))
        self._tokenizer = self._engine.get_tokenizer()
        self._context = int(self._engine.model_config.max_model_len)

    async def _generate(self, tokens: list[int], params: Any) -> Any:
        """One request to its end. Cancelling it aborts the request in vLLM."""
        from vllm.v1.engine.exceptions import EngineDeadError

        if not tokens:
            raise EngineError("the prompt is empty: give the model at least one token to continue")
        if len(tokens) + params.max_tokens > self._context:
            # vLLM would quietly generate less
            raise EngineError(
                f"the prompt has {len(tokens)} tokens and max_tokens is {params.max_tokens}, but "
                f"{self.name} has a context of {self._context}: shorten the prompt, lower "
                "max_tokens or limit the depth of the search"
            )
        request_id = f"rtsearch-{next(self._numbers)}"
        final = None
        answers = self._engine.generate({"prompt_token_ids": tokens}, params, request_id)
        try:
            async for answer in answers:
                final = answer
        except EngineDeadError:
            raise EngineError(
                f"vLLM died under {self.name}; what was finished before is kept: start again, and "
                "go on with --resume"
            ) from None
        except ValueError as error:  # vLLM's way to refuse a request
            raise EngineError(f"{self.name}: {_first_line(error)}") from None
        if final is None or not final.finished:
            raise AnswerFormatError(f"{self.name}: vLLM gave no answer")
        stats = self.stats
        self.stats = replace(
            stats,
            prompt_tokens=stats.prompt_tokens + len(tokens),
            cached_tokens=stats.cached_tokens + (final.num_cached_tokens or 0),
            generated_tokens=stats.generated_tokens
            + sum(len(part.token_ids) for part in final.outputs),
        )
        return final

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        if self._closed:
            work.close()
            raise EngineError(f"engine {self.name} was closed")
        return await asyncio.wrap_future(self._submit(work))

    def _end(self) -> None:
        async def shut_down() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            self._engine.shutdown()
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._submit(shut_down()).result()
        self._end_loop()
        del self._engine

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- tokens ---------------------------------------------------------------------------

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _label_token(self, label: str) -> int:
        tokens = self._encode(label)
        if len(tokens) != 1:
            raise EngineError(
                f"label {label!r} is {len(tokens)} tokens of {self.name}: choose a label that is "
                "one token (a leading space may matter)"
            )
        return tokens[0]


def _sample(part: Any) -> Sample:
    reason: FinishReason = "length"
    if part.finish_reason == "stop":
        reason = "stop" if isinstance(part.stop_reason, str) else "eos"
    elif part.finish_reason != "length":
        raise AnswerFormatError(f"vLLM ended a sample by {part.finish_reason!r}")
    logprobs = [entry[token] for entry, token in zip(part.logprobs, part.token_ids, strict=True)]
    ends = accumulate(len(logprob.decoded_token or "") for logprob in logprobs)
    return Sample(
        text=part.text,
        num_tokens=len(part.token_ids),
        finish_reason=reason,
        logprob=min(sum(logprob.logprob for logprob in logprobs), 0.0),
        ends=tuple(min(end, len(part.text)) for end in ends),
        token_ids=tuple(part.token_ids),
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
