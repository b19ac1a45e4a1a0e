"""How a host's refusals slow the crew, and how it recovers."""

import asyncio

import pytest

from kimikit.sweeps.lanes import Pace


def test_a_refusal_halves_the_calls_at_once_and_successes_bring_them_back():
    pace = Pace(8, None)
    pace.slow(0.001, "")
    assert pace.allowed == 4
    for _ in range(40):
        pace.succeed()
    assert pace.allowed == 8


def test_refusals_of_one_wave_count_once():
    pace = Pace(16, None)
    for _ in range(10):
        pace.slow(5.0, "")
    assert pace.allowed == 8


def test_with_one_call_left_it_is_the_distance_that_grows_and_shrinks():
    pace = Pace(1, None)
    for _ in range(3):
        pace._calm_at = 0.0
        pace.slow(0.001, "")
    assert pace.allowed == 1
    assert pace.distance_s == pytest.approx(0.4)
    for _ in range(30):
        pace.succeed()
    assert pace.distance_s == 0.0


def test_a_host_that_tells_its_limits_is_believed():
    pace = Pace(8, None)
    pace.slow(0.001, "Your account request reached organization max RPM: 3")
    assert pace.distance_s == 20
    assert pace.ceiling == 8
    pace.slow(0.001, "reached organization max concurrency: 1, please try again")
    assert pace.ceiling == 1
    assert pace.allowed == 1
    for _ in range(30):
        pace.succeed()
    assert pace.distance_s == 20
    assert pace.allowed == 1


def test_no_more_calls_are_under_way_than_are_allowed():
    async def cell() -> list[int]:
        pace, at_once = Pace(8, None), []
        for _ in range(2):
            pace._calm_at = 0.0
            pace.slow(0.001, "")

        async def worker() -> None:
            for _ in range(5):
                await pace.turn()
                with pace.call():
                    at_once.append(pace._active)
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(worker() for _ in range(8)))
        return at_once

    at_once = asyncio.run(cell())
    assert len(at_once) == 40
    assert max(at_once) == 2


def test_a_turn_that_is_not_used_holds_nobody_up():
    """The last call leaves workers that wait: they must not end one a distance."""

    async def cell() -> None:
        pace = Pace(8, 60)
        await asyncio.wait_for(asyncio.gather(*(pace.turn() for _ in range(8))), 1)
        with pace.call():
            held = asyncio.create_task(pace.turn())
            await asyncio.sleep(0.001)
        assert not held.done()
        held.cancel()

    asyncio.run(cell())
