"""The parts of the in-process engine that make a batch of many samples one call."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from rtsearch_fast.engine.batching.attend import attend, unseen  # noqa: E402
from rtsearch_fast.engine.batching.packed_model import PackedModel, Span  # noqa: E402
from rtsearch_fast.engine.batching.sampling import TextStream, choose_tokens  # noqa: E402
from rtsearch_fast.engine.batching.shelves import shelf_length  # noqa: E402
from rtsearch_fast.engine.batching.threads import torch_threads  # noqa: E402
from rtsearch_fast.engine.protocol import CompletionRequest, Sample  # noqa: E402
from rtsearch_fast.engine.transformers import TransformersEngine  # noqa: E402

VOCABULARY = 300


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory: pytest.TempPathFactory):
    """Write a random Llama whose tokens are numbers."""

    def make(hidden: int, kv_heads: int) -> Path:
        folder = tmp_path_factory.mktemp("models") / f"llama{hidden}"
        words = {str(i): i for i in range(VOCABULARY)}
        core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="0"))
        core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="1").save_pretrained(
            folder
        )
        torch.manual_seed(hidden)
        config = transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=2,
            num_attention_heads=hidden // 32,
            num_key_value_heads=kv_heads,
            max_position_embeddings=512,
            initializer_range=0.2,
            eos_token_id=1,
            bos_token_id=2,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        return folder

    return make


def tokens(count: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(3, VOCABULARY), k=count))


def draw(
    engine: TransformersEngine, *requests: CompletionRequest, at_once: bool = True
) -> list[Sequence[Sample]]:
    async def main() -> list[Sequence[Sample]]:
        if at_once:
            return list(await asyncio.gather(*map(engine.complete, requests)))
        return [await engine.complete(request) for request in requests]

    return asyncio.run(main())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("hidden", "kv_heads"), [(64, 2), (96, 1), (128, 4), (192, 6), (192, 2)])
def test_samples_when_their_company_changes_are_the_same(
    make_folder, hidden: int, kv_heads: int, dtype: str
) -> None:
    engine = TransformersEngine(make_folder(hidden, kv_heads), dtype=dtype, max_batch=100)
    shared = tokens(120, seed=0)
    # Lengths on both sides of the shelves' ends, some cached and some not.
    requests = [
        CompletionRequest(
            shared[: 40 * (i % 4)] + tokens(1 + 5 * i, seed=i), (i,), 5 + i, top_p=1 - i % 2 / 10
        )
        for i in range(40)
    ]
    together = draw(engine, *requests)
    probes = range(0, 40, 7)
    asked = engine.stats.cached_tokens
    warm = draw(engine, *(requests[i] for i in probes), at_once=False)
    assert engine.stats.cached_tokens > asked
    engine._batcher.cache.clear()
    alone = draw(engine, *(requests[i] for i in probes), at_once=False)
    engine._batcher.cache.clear()
    backwards = draw(engine, *reversed(requests * 2))[::-1]
    asyncio.run(engine.aclose())
    assert alone == warm == [together[i] for i in probes]
    assert together == backwards[:40] == backwards[40:]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_when_a_prompt_comes_in_pieces_are_the_same(make_folder, dtype: str) -> None:
    model = PackedModel(make_folder(128, 4), dtype=dtype, device="cpu", min_rows=200)
    prompt = tokens(150, seed=3)
    with torch_threads(model.threads):
        whole = Span(prompt, 0, model.no_kv(), True)
        expected = model.forward([whole])
        for cuts in ((0, 1, 150), (0, 64, 96, 150), (0, 31, 33, 149, 150)):
            kv = model.no_kv()
            for start, stop in pairwise(cuts):
                other = Span(tokens(7, seed=stop), 0, model.no_kv(), False)
                span = Span(prompt[start:stop], start, kv, stop == 150)
                logprobs = model.forward([other, span])
                kv = span.kv
            assert torch.equal(logprobs, expected)
            assert torch.equal(kv[:, :, :, :150], whole.kv[:, :, :, :150])


# --- attention ---------------------------------------------------------------


def test_attention_when_calls_do_not_agree_is_one_call_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    query, keys, values = (torch.randn(5, 2, n, 16) for n in (3, 40, 40))
    mask = unseen(torch.tensor([[7, 8, 9]] * 5), 40, 4, torch.float32)
    together = attend(query, keys, values, mask, 0.3)
    monkeypatch.setattr("rtsearch_fast.engine.batching.attend._agree", lambda *_: False)
    apart = attend(query, keys, values, mask, 0.3)
    scores = query @ keys.transpose(2, 3) * 0.3 + mask
    torch.testing.assert_close(apart, scores.softmax(-1) @ values)
    torch.testing.assert_close(apart, together)


def test_mask_hides_what_is_later_and_what_is_outside_the_window() -> None:
    mask = unseen(torch.tensor([[2], [0]]), 4, None, torch.float32)
    assert (mask == 0).tolist() == [[[[True, True, True, False]]], [[[True, False, False, False]]]]
    mask = unseen(torch.tensor([[2]]), 4, 2, torch.float32)
    assert (mask == 0).tolist() == [[[[False, True, True, False]]]]


# --- shelves -----------------------------------------------------------------


def test_lengths_of_shelves_when_positions_grow_waste_little() -> None:
    for length in range(1, 3000):
        room = shelf_length(length)
        assert length <= room <= max(length + 31, length * 5 / 4)
        assert room % 32 == 0 and shelf_length(room) == room


def test_places_when_others_leave_keep_their_keys(make_folder) -> None:
    model = PackedModel(make_folder(64, 2), dtype="float32", device="cpu", min_rows=8)
    shelves = model.new_shelves()
    dice = random.Random(1)
    kept = []
    for step in range(60):
        layers, two, heads, _, size = model.no_kv().shape
        source = torch.full((layers, two, heads, 40, size), float(step))
        kept.append((shelves.place(41, source, 40), float(step)))
        if dice.random() < 0.5:
            kept.pop(dice.randrange(len(kept)))[0].drop()
        if kept:
            dice.choice(kept)[0].grow(dice.randrange(42, 200))
    for place, value in kept:
        held = place.shelf.kv[:, :, place.index]
        assert place.shelf.places[place.index] is place
        assert (held[:, :, :, :40] == value).all() and (held[:, :, :, 40:] == 0).all()


# --- text, sampling, threads -------------------------------------------------


def test_texts_when_pieces_are_remembered_are_the_same() -> None:
    alphabet = ["a", "b ", "€".encode()[:1], "€".encode()[1:], "é".encode(), b"\xff"]
    pieces = [piece.encode() if isinstance(piece, str) else piece for piece in alphabet]

    def decode(ids: list[int]) -> str:
        return b"".join(pieces[i] for i in ids).decode(errors="replace")

    remembered: dict[int, str] = {}
    for seed in range(300):
        dice = random.Random(seed)
        ids = dice.choices(range(len(pieces)), k=12)
        slow = TextStream(decode, ids[:3], ("b a",))
        fast = TextStream(decode, ids[:3], ("b a",), remembered)
        for token in ids[3:]:
            assert slow.push(token) == fast.push(token)
            assert slow.text == fast.text
        assert slow.finish() == fast.finish()
        assert slow.text == fast.text
    assert remembered == {0: "a", 1: "b ", 4: "é"}


@pytest.mark.parametrize("size", [50, 3000])
def test_nucleus_when_rows_are_together_is_that_of_each_alone(size: int) -> None:
    torch.manual_seed(size)
    flat_and_steep = torch.tensor([0.1, 1.0, 5.0] * 10)[:, None]
    logprobs = (torch.randn(30, size) * flat_and_steep).log_softmax(-1)
    uniforms = torch.rand(30).tolist()
    together = choose_tokens(logprobs, uniforms, 0.9, 0.95)
    rows = zip(logprobs, uniforms, strict=True)
    assert together == [choose_tokens(row[None], [u], 0.9, 0.95)[0] for row, u in rows]


def test_threads_when_set_for_one_thread_stay_as_they_are_for_others() -> None:
    before = torch.get_num_threads()
    inside, started = [], []

    def work() -> None:
        with torch_threads(before + 1):
            inside.append(torch.get_num_threads())
            other = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
            other.start()
            other.join()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before + 1]
    assert started == [before]
    assert torch.get_num_threads() == before
