"""What calls under way may cost is set aside."""

import asyncio
from decimal import Decimal

from kimikit.runner.costs import CostLimit

ONE = Decimal(1), Decimal(3)
UNKNOWN = None, None


def test_the_first_calls_are_taken_at_the_most_they_can_cost():
    async def main():
        costs = CostLimit(Decimal(5))
        assert await costs.admit(ONE)
        assert await costs.admit(ONE)
        third = asyncio.create_task(costs.admit(ONE))
        await asyncio.sleep(0)
        assert not third.done()
        costs.pay(ONE, Decimal(1))
        costs.end(ONE)
        assert await asyncio.wait_for(third, 5)

    asyncio.run(main())


def test_a_call_of_unknown_cost_goes_alone_until_one_is_known():
    async def main():
        costs = CostLimit(Decimal(5))
        assert await costs.admit(UNKNOWN)
        second = asyncio.create_task(costs.admit(UNKNOWN))
        await asyncio.sleep(0)
        assert not second.done()
        costs.pay(UNKNOWN, Decimal(3))
        costs.end(UNKNOWN)
        assert not await asyncio.wait_for(second, 5)  # 3 + 3 is more than 5

    asyncio.run(main())
