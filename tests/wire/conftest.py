"""Fixtures of the wire's tests."""

from collections.abc import Iterator

import pytest
from support.both import Both
from support.fault_server import FaultServer


@pytest.fixture(autouse=True)
def at_once(short_waits: None) -> None:
    """Wait for no second try in any of these tests."""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server that plays scripts."""
    with FaultServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    """Each test that asks for this runs with both clients."""
    return Both(request.param)
