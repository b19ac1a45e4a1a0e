"""A progress bar on a terminal moves; in a file or a pipe it writes a line now and then."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.echo import EchoHost

from kimikit import Kimi
from kimikit.display import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, moves: int = 100
) -> str:
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress.progress_bar(total=moves, desc="sweep", **progress.ANSWERS) as bar:
        for done in range(moves):
            progress.move(bar, done, note="$0.01")
            progress.move(bar, done, note="$0.02")
    return stderr.getvalue()


def test_what_is_over_soon_writes_nothing_into_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert drawn(monkeypatch, io.StringIO()) == ""


def test_a_long_wait_is_seen_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_S", 0.0)
    log = drawn(monkeypatch, io.StringIO(), moves=2)
    assert "1/2" in log
    assert "$0.02" in log
    assert "\r" not in log, "which a file does not draw over"
    assert all(line.startswith("sweep: ") for line in log.splitlines())
    assert log.endswith("\n")


def test_bars_in_one_another_move_nothing_in_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "LOG_S", 0.0)
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    with progress.progress_bar(total=2, desc="outer") as outer:
        for _ in progress.slowly("ab", "inner"):
            outer.update(1)
    lines = log.getvalue().split("\n")
    assert not re.search(r"[\r\x1b]", log.getvalue())
    assert {line[:5] for line in lines} == {"outer", "inner", ""}
    assert lines.index("") == len(lines) - 1, "no line is empty"


def test_a_terminal_shows_a_bar_at_once_and_not_each_of_many_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = drawn(monkeypatch, Terminal(), moves=20_000)
    assert "0/20000" in shown
    assert 1 < shown.count("\r") < 2_000, "tqdm draws ten times per second"


class Bare:
    """What has ``write`` alone, as objects have that write into a log."""

    def write(self, text: str) -> None: ...


class Gone(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"none": lambda: None, "bare": Bare, "gone": Gone, "closed": closed}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("stderr", lambda kimi: kimi.map(["a"]).texts[0]),
        ("stderr", lambda kimi: kimi.map(["a"], progress=False).texts[0]),
        ("stdout", lambda kimi: kimi.chat("a").text),
        ("stdout", lambda kimi: kimi.race("a", models=["m"]).replies["m"].text),
    ],
    ids=["bar", "no bar", "answer", "race"],
)
def test_a_stream_that_cannot_be_written_costs_no_answer(
    name: str,
    ask: Callable[[Kimi], str],
    stream: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        EchoHost().running() as host,
        Kimi(base_url=host.base_url, api_key="k", model="m") as kimi,
    ):
        monkeypatch.setattr(sys, name, stream())
        try:
            assert ask(kimi) == "Re: a"
        finally:
            monkeypatch.undo()
