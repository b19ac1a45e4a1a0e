"""A sweep on the real local model: temperature does what it should."""

import time

from kimikit import local
from kimikit.sweeps import sweep
from kimikit.wire import hosts
from kimikit.wire.client import AsyncClient


def test_the_local_model_varies_more_at_1_2_than_at_0(local_host: local.Running):
    """Three temperatures, eight answers each, in under two minutes on two cores."""

    def make(_: str | None) -> AsyncClient:
        return AsyncClient(
            hosts.resolve("local", base_url=local_host.base_url),
            model=local_host.model,
            api_key=local_host.api_key,
        )

    start = time.monotonic()
    found = sweep(
        make,
        "Name a colour.",
        temperature=[0, 0.6, 1.2],
        repeats=8,
        max_tokens=8,
        progress=False,
    )
    assert time.monotonic() - start < 120
    assert len(found.replies) == 24
    assert found.verdict.changed is True
    assert found.verdict.gain.low > 0
    first, *_, last = found.summary()
    assert last["diversity_low"] > first["diversity_high"]
    assert found.stand_in
    assert "local stand-in, not Kimi" in str(found)
    assert found.recommended.temperature is None
