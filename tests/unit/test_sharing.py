"""Looks that are shared: who may be given which."""

import asyncio

import pytest

from activities.sharing import Shared


class Looks:
    """A look that ends when it is told to; each has a number."""

    def __init__(self) -> None:
        self.begun = 0
        self.gates: list[asyncio.Future[None]] = []

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]
        return number


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_question_is_answered_by_a_look_that_began_after_it() -> None:
    shared: Shared[str, int] = Shared()
    looks = Looks()
    early = [asyncio.create_task(shared.ask("ring", looks)) for _ in range(3)]
    await turns()
    assert looks.begun == 1, "three questions before the look, one look"
    late = [asyncio.create_task(shared.ask("ring", looks)) for _ in range(3)]
    await turns()
    assert looks.begun == 1, "the next look waits for the first"
    looks.gates[0].set_result(None)
    assert await asyncio.gather(*early) == [1, 1, 1]
    await turns()
    looks.gates[1].set_result(None)
    assert await asyncio.gather(*late) == [2, 2, 2]
    again = asyncio.create_task(shared.ask("ring", looks))
    await turns()
    looks.gates[2].set_result(None)
    assert await again == 3


async def test_keys_do_not_wait_for_each_other() -> None:
    shared: Shared[str, int] = Shared()
    looks = Looks()
    tasks = [asyncio.create_task(shared.ask(key, looks)) for key in ("a", "b")]
    await turns()
    assert looks.begun == 2
    for gate in looks.gates:
        gate.set_result(None)
    assert sorted(await asyncio.gather(*tasks)) == [1, 2]


async def test_a_cancelled_asker_takes_the_look_from_nobody() -> None:
    shared: Shared[str, int] = Shared()
    looks = Looks()
    gone, stays = (asyncio.create_task(shared.ask("ring", looks)) for _ in range(2))
    await turns()
    gone.cancel()
    await turns()
    looks.gates[0].set_result(None)
    assert await stays == 1


async def test_an_error_is_told_to_all_and_the_next_look_is_made_all_the_same() -> None:
    shared: Shared[str, int] = Shared()

    async def fails() -> int:
        raise ValueError("no answer")

    async def works() -> int:
        return 7

    for told in await asyncio.gather(*(shared.ask("ring", fails) for _ in range(2)), return_exceptions=True):
        assert isinstance(told, ValueError)
    assert await shared.ask("ring", works) == 7
    with pytest.raises(ValueError, match="no answer"):
        await shared.ask("ring", fails)
