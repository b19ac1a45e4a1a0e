"""A quota that is used up for today ends what asks, a rate that passes does not."""

import pytest
from support.sweeps import FakeClient

from kimikit.errors import RateLimited
from kimikit.sweeps import sweep
from kimikit.types import Host
from kimikit.wire.faults import is_used_up

USED_UP = [
    "Your account reached organization TPD rate limit, current: 1500000, limit: 1500000",
    "Rate limit reached for model kimi-k2 on tokens per day (TPD): Limit 500000",
    "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000",
    "Quota exceeded for GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "you have used up your daily free allocation of 10,000 neurons",
    "Monthly quota exceeded",
    "您的账户已达到每日请求上限",
]
PASSING = [
    "Your account reached organization max RPM: 6000, please try again after 1 seconds",
    "max organization concurrency: 1",
    "Rate limit reached on requests per min (RPM): Limit 6000; requests per day: 100",
    "Too many requests",
    "The engine is currently overloaded",
    "",
]


@pytest.mark.parametrize("words", USED_UP)
def test_a_used_up_quota_ends_the_sweep_at_its_first_sign(words):
    def refuse(prompt, **params):
        raise RateLimited("Too many.", "Wait.", host_message=words)

    assert is_used_up(words)
    fake = FakeClient(refuse)
    with pytest.raises(RateLimited) as caught:
        sweep(lambda _: fake, "q", temperature=[0, 1], repeats=10, progress=False)
    assert len(fake.asked) == 1
    assert len(caught.value.sweep.trials) == 1
    assert "name=" in str(caught.value.__notes__)


@pytest.mark.parametrize("words", PASSING)
def test_a_rate_that_passes_is_waited_for(words):
    said = iter([True])

    def refuse_once(prompt, **params):
        if next(said, False):
            raise RateLimited("Too many.", "Wait.", host_message=words,
                              retry_after_s=0.01)  # fmt: skip
        return "blue"

    assert not is_used_up(words)
    fake = FakeClient(refuse_once)
    found = sweep(lambda _: fake, "q", repeats=3, concurrency=1, progress=False)
    assert [r.text for r in found.replies] == ["blue"] * 3


def test_a_short_wait_that_the_host_names_is_believed_at_first():
    left = [2]

    def refuse_twice(prompt, **params):
        left[0] -= 1
        if left[0] >= 0:
            raise RateLimited("Too many.", "Wait.", retry_after_s=0.01,
                              host_message="tokens per day (TPD), try again in 10ms")  # fmt: skip
        return "blue"

    fake = FakeClient(refuse_twice)
    found = sweep(lambda _: fake, "q", repeats=2, concurrency=1, progress=False)
    assert len(found.replies) == 2


def test_another_host_goes_on():
    def refuse(prompt, **params):
        raise RateLimited("Too many.", "Wait.", host_message="requests per day")

    clients = {
        name: FakeClient(answer, host=Host(name=name, base_url=f"https://{name}.test"))
        for name, answer in (("groq", refuse), ("together", lambda p, **k: "blue"))
    }
    found = sweep(lambda name: clients[name], "q", host=["groq", "together"],
                  repeats=5, progress=False)  # fmt: skip
    assert len(found.replies) == 5
    assert any("roq has no quota left" in note for note in found.notes)
