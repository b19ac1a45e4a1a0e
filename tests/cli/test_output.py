"""What commands do where standard output is gone, full, closed or of few letters."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, sse

from kimikit.cli import main
from kimikit.wire import hosts

pytestmark = pytest.mark.usefixtures("clean_environment")


class Broken(io.StringIO):
    """A stream that fails at each write, as Linux says it."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


FULL = OSError(28, "No space left on device")
GONE = BrokenPipeError(32, "Broken pipe")
COMMANDS = [["usage"], ["completion", "bash"], ["ask", "Hi", "--json"], ["ask", "Hi"]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with FaultServer() as server:
        server.play(sse(*text("Blé – \U0001f600"), chunk("stop"), DONE))
        monkeypatch.setattr(sys, "stdin", None)
        monkeypatch.setattr(
            hosts, "_running_address", lambda name: server.url if name else None
        )
        yield server


def run(words: list[str]) -> int:
    return main([*words, "--host", "vllm", "-m", "m"] if words[0] == "ask" else words)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("error", [FULL, GONE], ids=["full", "gone"])
def test_an_output_that_fails_is_told_once_and_is_no_success(
    words: list[str],
    error: OSError,
    server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(error))
        assert run(words) == 1
    told = capsys.readouterr().err
    assert ("not be written: No space left on device. Send it" in told) == (
        error is FULL
    )
    if words == ["ask", "Hi"]:
        assert "vllm" in told, "the answer is paid for, and its footer stands there"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_letters_that_an_output_has_none_of_are_written_out(
    words: list[str], server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
        assert run(words) == 0
        shown = written.getvalue().decode("ascii")
    if "--json" in words:
        assert json.loads(shown)["text"] == "Blé – \U0001f600"
    elif words[0] == "ask":
        assert shown == "Bl\\xe9 \\u2013 \\U0001f600\n"


@pytest.mark.parametrize("words", [["usage"], ["ask", "Hi"]], ids=" ".join)
def test_a_closed_output_is_nobodys(
    words: list[str], server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert run(words) == 0
        sys.stdout.close()


def test_a_file_that_is_not_there_is_no_fault_of_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recording", "show", str(tmp_path / "none")]) == 1
    assert "output could not" not in capsys.readouterr().err
