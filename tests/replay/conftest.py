"""A server to record, and a hand that records and replays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.both import Both
from support.fault_server import FaultServer

from kimikit.replay import RecordingFile, Tape
from kimikit.wire import recorder


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


@pytest.fixture(autouse=True)
def at_once(short_waits: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(recorder, "_STOP_GRACE_S", 0.0)
    yield
    recorder.everywhere.clear()


Twice = Callable[[Callable[[Tape], Any]], tuple[Any, Any]]


@pytest.fixture
def twice(tmp_path: Path) -> Twice:
    """Do something while it is recorded, and again from the recording alone."""

    def run(what: Callable[[Tape], Any]) -> tuple[Any, Any]:
        path = tmp_path / "lesson.kimi"
        file = RecordingFile(path, new=True)
        first = what(Tape(file=file))
        file.close()
        return first, what(Tape(RecordingFile(path), speed=None))

    return run
