"""Who may ask the API server when."""

from __future__ import annotations

import asyncio
import time

from odin.executors.kubernetes.pacing import Limiter, Lull, Turns


def test_f28_owners_take_turns_whoever_came_first() -> None:
    order: list[str] = []

    async def work(turns: Turns, owner: str) -> None:
        async with turns.turn(owner):
            order.append(owner)
            await asyncio.sleep(0)

    async def play() -> None:
        turns = Turns(1)
        await asyncio.gather(*(work(turns, owner) for owner in "aaaaaabbc"))

    asyncio.run(play())
    assert "".join(order) == "aabcabaaa"


def test_a_turn_that_is_given_up_is_not_lost() -> None:
    async def play() -> int:
        turns = Turns(1)
        async with turns.turn("a"):
            waiting = [asyncio.create_task(enter(turns)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        return sum(each == 1 for each in done)

    async def enter(turns: Turns) -> int:
        async with turns.turn("b"):
            return 1

    assert asyncio.run(play()) == 2


def test_it_is_calm_once_nothing_has_stirred_for_a_moment() -> None:
    async def play() -> float:
        lull = Lull(0.05)
        await lull.calm()
        lull.stir()
        waiting = asyncio.create_task(lull.calm())
        for _ in range(5):
            await asyncio.sleep(0.02)
            stirred = time.monotonic()
            lull.stir()
        await waiting
        return time.monotonic() - stirred

    assert asyncio.run(play()) >= 0.05


def test_f28_a_pause_holds_those_too_that_wait_already() -> None:
    async def play() -> list[float]:
        limiter = Limiter(100, 1)
        began = time.monotonic()

        async def call() -> float:
            await limiter.turn()
            return time.monotonic() - began

        calls = [asyncio.create_task(call()) for _ in range(5)]
        await asyncio.sleep(0)
        limiter.pause(0.2)
        return await asyncio.gather(*calls)

    waits = asyncio.run(play())
    assert sum(wait >= 0.2 for wait in waits) >= 4  # the first had its turn before
