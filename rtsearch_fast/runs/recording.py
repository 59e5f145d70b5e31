"""Every answer of the models in a file, to repeat a run without them.

What is recorded is what the search sees: samples of a policy and judgements of a reward model,
whatever engine is behind them. So a replayed run is the same search, to its signature; and methods
that ask the same (best-of-N and majority draw the same solutions) ask the models once.

The file is JSONL, append-only: first lines that name the models, then one line an answer.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from types import TracebackType
from typing import Any

from ..bounds import bounded_lines
from ..errors import DataError, EngineError, RunStoreError
from ..policy.protocol import Policy, Sample, SampleRequest
from ..reward.protocol import Judgement, Reward, prefix_tokens

__all__ = ["RecordedPolicy", "RecordedReward", "Recording"]

_FORMAT = "rtsearch-recording-1"
#: Bytes that a compressed recording may stand for: a few of them unpack to any number.
_MAX_UNZIPPED = 4 << 30


class Recording:
    """A file of answers. Use it as a context manager.

    Parameters
    ----------
    path : path-like
        JSONL; a name that ends in ``.gz`` can be read, not added to.
    replay : bool
        Only read. The file must be there.

    Attributes
    ----------
    names : dict of str to dict
        What the file says of "policy" and "reward": their names, and what else belongs to them.
    num_answers : int
        Answers in the file.
    asked, known : int
        Answers that were asked of the models since it was opened, and those found in the file.
    """

    def __init__(self, path: str | os.PathLike[str], *, replay: bool = False) -> None:
        self.path = os.fspath(path)
        self.replay = replay
        self.names: dict[str, dict[str, Any]] = {}
        self.asked = self.known = 0
        self._answers: dict[str, Any] = {}
        self._fd = -1
        try:
            if not replay:
                self._open_for_writing()
            self._read()
        except OSError as error:
            self.close()
            raise RunStoreError(
                f"{self.path}: the recording cannot be opened ({error.strerror or error})"
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def num_answers(self) -> int:
        return len(self._answers)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def declare(self, role: str, entry: dict[str, Any]) -> None:
        """Say which model has a role; answers of another one are refused."""
        if role not in self.names:
            self.names[role] = entry
            self._append({"format": _FORMAT, "role": role, **entry})
        elif self.names[role] != entry:
            raise RunStoreError(
                f"{self.path} holds answers of the {role} {self.names[role]['name']!r}, not of "
                f"{entry['name']!r}: choose another file"
            )

    def get(self, key: str) -> Any:
        """The answer to a request; None if there is none."""
        found = self._answers.get(key)
        self.known += found is not None
        return found

    def add(self, key: str, answer: Any) -> Any:
        """Keep an answer. Of two to one request the first is kept, and returned."""
        self.asked += 1
        if key not in self._answers:
            self._answers[key] = answer
            self._append({"key": key, "answer": answer})
        return self._answers[key]

    def miss(self, what: str) -> EngineError:
        """The error of a request that the file has no answer to."""
        return EngineError(
            f"{self.path} has no answer to {what}: it was recorded with other settings, another "
            "seed, or not to the end; record again, or give a model"
        )

    def samples(self) -> Iterator[Sample]:
        """All samples of the policy, in the order in which they were recorded."""
        for answer in self._answers.values():
            if isinstance(answer[0], str):  # a judgement begins with its score
                yield _unpack(answer)

    def _open_for_writing(self) -> None:
        if self.path.endswith(".gz"):
            raise RunStoreError(f"{self.path}: compressed recordings can be replayed, not added to")
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunStoreError(f"{self.path}: another process is recording to it") from None

    def _read(self) -> None:
        zipped = self.path.endswith(".gz")
        opener: Any = gzip.open if zipped else open
        size = 0
        with opener(self.path, "rb") as file:
            for number, line in enumerate(bounded_lines(file, self.path), start=1):
                if not line.endswith(b"\n"):  # torn by a kill
                    if not self.replay:
                        os.ftruncate(self._fd, size)
                    break
                size += len(line)
                if zipped and size > _MAX_UNZIPPED:
                    raise DataError(
                        f"{self.path}: holds more than {_MAX_UNZIPPED >> 30} GiB when unpacked; "
                        "unpack it, and replay the plain file"
                    )
                try:
                    self._take(json.loads(line))
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    raise DataError(
                        f"{self.path}, line {number}: no line of a recording; delete it, or choose "
                        "another file"
                    ) from None

    def _take(self, entry: dict[str, Any]) -> None:
        if "key" in entry:
            self._answers.setdefault(entry["key"], entry["answer"])
        elif entry.pop("format") == _FORMAT:
            self.names[entry.pop("role")] = entry
        else:
            raise ValueError

    def _append(self, entry: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        line = json.dumps(entry, separators=(",", ":"), allow_nan=False)
        data = (line + "\n").encode("ascii")
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            raise RunStoreError(f"{self.path}: cannot write ({error.strerror})") from None
        if written < len(data):
            raise RunStoreError(f"{self.path}: cannot write all (is the disk full?)")


class RecordedPolicy:
    """A policy whose samples are in a recording, or get into it.

    Parameters
    ----------
    recording : Recording
    policy : Policy, optional
        Is asked for what the recording does not hold; None where there is nobody to ask.
    """

    def __init__(self, recording: Recording, policy: Policy | None = None) -> None:
        self._recording = recording
        self._policy = policy
        if policy is not None:
            recording.declare("policy", {"name": policy.name})
        self.name = _entry(recording, "policy")["name"]

    async def sample(self, request: SampleRequest) -> Sequence[Sample]:
        """Draw ``len(request.seeds)`` samples, in the order of the seeds."""
        recording = self._recording
        keys = [_sample_key(self.name, request, seed) for seed in request.seeds]
        found = [recording.get(key) for key in keys]
        missing = [i for i, answer in enumerate(found) if answer is None]
        if missing:
            if self._policy is None:
                raise recording.miss(
                    f"the sample with seed {request.seeds[missing[0]]} after {len(request.steps)} "
                    f"steps of the problem {request.problem[:60]!r}"
                )
            seeds = tuple(request.seeds[i] for i in missing)
            samples = await self._policy.sample(replace(request, seeds=seeds))
            if len(samples) != len(seeds):
                return samples  # who asked will complain
            for i, sample in zip(missing, samples, strict=True):
                found[i] = recording.add(keys[i], _pack(sample))
        return [_unpack(answer) for answer in found]

    async def aclose(self) -> None:
        if self._policy is not None:
            await self._policy.aclose()


class RecordedReward:
    """A reward model whose judgements are in a recording, or get into it.

    Parameters
    ----------
    recording : Recording
    reward : Reward, optional
        Is asked for what the recording does not hold; None where there is nobody to ask.
    """

    def __init__(self, recording: Recording, reward: Reward | None = None) -> None:
        self._recording = recording
        self._reward = reward
        if reward is not None:
            about = {"name": reward.name, "max_tokens": reward.max_tokens}
            if prefix_tokens(reward) != reward.max_tokens:
                about["prefix_tokens"] = prefix_tokens(reward)
            recording.declare("reward", about)
        entry = _entry(recording, "reward")
        self.name: str = entry["name"]
        self.max_tokens: int = entry["max_tokens"]
        self.prefix_tokens: int = entry.get("prefix_tokens", self.max_tokens)

    async def score(
        self, problem: str, solutions: Sequence[tuple[str, ...]]
    ) -> Sequence[Judgement]:
        """Judge solutions of one problem, in their order."""
        recording = self._recording
        keys = [_key(self.name, problem, steps) for steps in solutions]
        found = [recording.get(key) for key in keys]
        missing = [i for i, answer in enumerate(found) if answer is None]
        if missing:
            if self._reward is None:
                raise recording.miss(f"a judgement on the problem {problem[:60]!r}")
            judgements = await self._reward.score(problem, [solutions[i] for i in missing])
            if len(judgements) != len(missing):
                return judgements  # who asked will complain
            for i, judgement in zip(missing, judgements, strict=True):
                score = None if math.isnan(judgement.score) else judgement.score
                found[i] = recording.add(keys[i], [score, judgement.num_tokens])
        return [
            Judgement(math.nan if score is None else score, num_tokens)
            for score, num_tokens in found
        ]

    async def aclose(self) -> None:
        if self._reward is not None:
            await self._reward.aclose()


def _entry(recording: Recording, role: str) -> dict[str, Any]:
    try:
        return recording.names[role]
    except KeyError:
        raise DataError(f"{recording.path} is a recording without a {role}") from None


def _sample_key(name: str, request: SampleRequest, seed: int) -> str:
    return _key(
        name,
        request.problem,
        request.steps,
        request.max_tokens,
        request.temperature,
        request.top_p,
        request.stop,
        seed if request.temperature else None,  # greedy samples have no use for it
    )


def _key(*content: Any) -> str:
    text = json.dumps(content, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _pack(sample: Sample) -> list[Any]:
    """A sample as JSON; the ends of tokens as their lengths, which are short to write."""
    logprob = None if math.isnan(sample.logprob) else sample.logprob
    lengths = [end - begin for begin, end in pairwise((0, *sample.ends))]
    return [sample.text, sample.num_tokens, sample.finish_reason, logprob, lengths]


def _unpack(answer: list[Any]) -> Sample:
    text, num_tokens, finish_reason, logprob, lengths = answer
    return Sample(
        text=text,
        num_tokens=num_tokens,
        finish_reason=finish_reason,
        logprob=math.nan if logprob is None else logprob,
        ends=tuple(accumulate(lengths)),
    )
