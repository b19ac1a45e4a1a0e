"""The rate limiter on an event loop."""

import asyncio

import pytest

from kimikit.runner import RateLimiter


def test_calls_begin_in_the_order_in_which_they_ask():
    async def main():
        limiter, order = RateLimiter(1), []

        async def call(i):
            async with limiter:
                order.append(i)
                await asyncio.sleep(0)

        await asyncio.gather(*map(call, range(20)))
        return order

    assert asyncio.run(main()) == list(range(20))


def test_one_call_begins_per_turn_of_the_loop():
    """Their answers then come one after another too, and not all at once."""

    async def main():
        limiter, turns, begun = RateLimiter(50), [0], []

        async def call():
            async with limiter:
                begun.append(turns[0])
                await asyncio.sleep(0.01)

        calls = [asyncio.create_task(call()) for _ in range(10)]
        while len(begun) < 10:
            turns[0] += 1
            await asyncio.sleep(0)
        await asyncio.gather(*calls)
        return begun

    begun = asyncio.run(main())
    assert len(begun) == len(set(begun)) == 10


def test_a_refusal_halves_the_calls_at_once_and_answers_bring_them_back():
    limiter = RateLimiter(8)
    limiter.slow(0.001, "")
    assert limiter.allowed == 4
    for _ in range(60):
        limiter.succeed()
    assert limiter.allowed == 8


@pytest.mark.parametrize(
    ("words", "ceiling", "distance_s"),
    [
        ("request reached organization max RPM: 3", 8, 20),
        ("max concurrency: 1, please try again", 1, 0),
        ("slow down", 8, 0),
    ],
)
def test_the_limits_that_a_host_names_are_kept(words, ceiling, distance_s):
    limiter = RateLimiter(8)
    limiter.slow(0.001, words)
    assert (limiter.ceiling, limiter.distance_s) == (ceiling, distance_s)


def test_a_cancelled_wait_gives_its_turn_to_the_next():
    async def main():
        limiter = RateLimiter(1)
        async with limiter:
            first = asyncio.create_task(limiter.__aenter__())
            second = asyncio.create_task(limiter.__aenter__())
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 5)

    asyncio.run(main())


def test_a_turn_that_comes_as_its_wait_is_cancelled_is_given_back():
    async def main():
        limiter = RateLimiter(1)
        async with limiter:
            waiting = asyncio.create_task(limiter.__aenter__())
            await asyncio.sleep(0)
        waiting.cancel()  # its turn has come in the same step
        await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(5), limiter:
            pass

    asyncio.run(main())


def test_so_many_per_minute_are_so_far_apart():
    async def main():
        limiter, starts = RateLimiter(8, rpm=6000), []
        loop = asyncio.get_running_loop()

        async def call():
            async with limiter:
                starts.append(loop.time())

        await asyncio.gather(*(call() for _ in range(5)))
        return starts

    starts = asyncio.run(main())
    assert starts[-1] - starts[0] >= 4 * 0.01 * 0.99


def test_refusals_of_one_wave_count_once():
    limiter = RateLimiter(16)
    for _ in range(10):
        limiter.slow(5.0, "")
    assert limiter.allowed == 8


def test_with_one_call_left_it_is_the_distance_that_grows_and_shrinks():
    limiter = RateLimiter(1)
    for _ in range(3):
        limiter._calm_at = 0.0
        limiter.slow(0.001, "")
    assert limiter.allowed == 1
    assert limiter.distance_s == pytest.approx(0.4)
    for _ in range(30):
        limiter.succeed()
    assert limiter.distance_s == 0.0


def test_limits_that_a_host_has_told_stay():
    limiter = RateLimiter(8)
    limiter.slow(0.001, "Your account request reached organization max RPM: 3")
    limiter.slow(0.001, "reached organization max concurrency: 1, please try again")
    for _ in range(30):
        limiter.succeed()
    assert limiter.distance_s == 20
    assert (limiter.ceiling, limiter.allowed) == (1, 1)


def test_no_more_calls_are_under_way_than_are_allowed():
    async def main():
        limiter, active, most = RateLimiter(8), 0, 0
        for _ in range(2):
            limiter._calm_at = 0.0
            limiter.slow(0.001, "")

        async def call():
            nonlocal active, most
            async with limiter:
                active += 1
                most = max(most, active)
                await asyncio.sleep(0.001)
                active -= 1

        await asyncio.gather(*(call() for _ in range(40)))
        return most

    assert asyncio.run(main()) == 2
