"""The event loop of virtual time: its clock, its order, its end."""

from __future__ import annotations

import asyncio
import time

import pytest

from rtsearch_fast.engine.simulator.virtual_time import run
from rtsearch_fast.errors import EngineError


def now() -> float:
    return asyncio.get_running_loop().time()


def test_run_when_coroutines_sleep_wakes_them_in_the_order_of_their_timers() -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *delays: float) -> None:
        for delay in delays:
            await asyncio.sleep(delay)
            woken.append((name, now()))

    async def main() -> float:
        await asyncio.gather(sleeper("a", 3.0, 4.0), sleeper("b", 5.0), sleeper("c", 0.5, 0.5))
        return now()

    assert run(main()) == 7.0
    assert woken == [("c", 0.5), ("c", 1.0), ("a", 3.0), ("b", 5.0), ("a", 7.0)]


def test_run_when_hours_pass_takes_hardly_any_processor_time() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(3600)
        return now()

    started = time.monotonic()
    assert run(main()) == pytest.approx(3_600_000)
    assert time.monotonic() - started < 3600  # it did not sleep once


def test_run_when_a_timeout_strikes_cancels_at_its_time() -> None:
    async def main() -> float:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(100), timeout=2.5)
        return now()

    assert run(main()) == 2.5


def test_run_when_nothing_is_left_to_wait_for_raises() -> None:
    cleaned = []

    async def main() -> None:
        try:
            await asyncio.sleep(1.5)
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned.append(True)

    with pytest.raises(
        EngineError, match=r"at 1\.5 s of virtual time.*timers and other coroutines"
    ):
        run(main())
    assert cleaned


def test_run_when_the_coroutine_raises_passes_it_on_and_ends_the_other_tasks() -> None:
    cancelled = []

    async def other() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            cancelled.append(now())
            raise

    async def main() -> None:
        task = asyncio.ensure_future(other())
        await asyncio.sleep(1)
        assert not task.done()
        raise ValueError("over")

    with pytest.raises(ValueError, match="over"):
        run(main())
    assert cancelled == [1.0]


def test_run_when_inside_a_running_loop_refuses() -> None:
    async def inner() -> None:
        pass

    async def main() -> None:
        run(inner())

    with pytest.raises(EngineError, match="outside of coroutines"):
        run(main())


def test_run_when_repeated_starts_again_at_zero() -> None:
    async def main() -> list[float]:
        times = [now()]
        await asyncio.sleep(1)
        return [*times, now()]

    assert run(main()) == run(main()) == [0.0, 1.0]
