"""Sequences in flight: bounded, oldest problem first, and none lost when waiters are cancelled."""

from __future__ import annotations

import asyncio

from rtsearch_fast.search.sequences import Sequences


def test_slots_when_full_let_the_oldest_problem_go_first():
    order = []

    async def main() -> None:
        sequences = Sequences(4)  # and one more, so that the engine's queue is never empty

        async def work(name: str, size: int, age: float) -> None:
            async with sequences.slot(size, age):
                order.append(name)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        await asyncio.gather(
            work("first", 5, 9), work("young", 3, 3), work("old", 3, 1), work("middle", 2, 2)
        )

    asyncio.run(main())
    assert order == ["first", "old", "middle", "young"]


def test_slot_when_larger_than_the_limit_goes_alone():
    running = []

    async def main() -> None:
        sequences = Sequences(2)

        async def work(size: int) -> None:
            async with sequences.slot(size, 0):
                running.append(size)
                assert sum(running) <= 3 or running == [10]
                await asyncio.sleep(0)
                running.remove(size)

        await asyncio.gather(work(2), work(10), work(1))

    asyncio.run(main())


async def use(sequences: Sequences) -> None:
    async with sequences.slot(5, 0):
        pass


def test_slots_when_waiters_and_holders_are_cancelled_are_given_back():
    async def main() -> None:
        sequences = Sequences(4)
        started = asyncio.Event()

        async def hold() -> None:
            async with sequences.slot(5, 0):
                started.set()
                await asyncio.Event().wait()

        holder = asyncio.ensure_future(hold())
        await started.wait()
        waiters = [asyncio.ensure_future(hold()) for _ in range(3)]
        await asyncio.sleep(0)
        started.clear()
        waiters[0].cancel()
        holder.cancel()  # its room passes to the second waiter, which is cancelled before it runs
        await asyncio.sleep(0)
        waiters[1].cancel()
        await asyncio.gather(holder, *waiters[:2], return_exceptions=True)
        await asyncio.wait_for(started.wait(), 1)
        waiters[2].cancel()
        await asyncio.gather(waiters[2], return_exceptions=True)
        await asyncio.wait_for(use(sequences), 1)

    asyncio.run(main())
