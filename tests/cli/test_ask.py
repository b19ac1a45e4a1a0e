"""``kimikit ask`` in pipes: what goes in, and the answer alone comes out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, plain, sse

from kimikit import BadInput
from kimikit.cli.ask import asked

pytestmark = pytest.mark.usefixtures("clean_environment")
OK = sse(*text("Blue", " it is."), chunk("stop"), DONE)


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        yield server


def run(
    server: FaultServer, *words: str, piped: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command at a host of this test's own."""
    code = (
        "import sys; from kimikit.wire import hosts; import msgspec;"
        "known = hosts.profiles(); name = 'vllm';"
        f"known[name] = msgspec.structs.replace(known[name], base_url={server.url!r},"
        "model='m'); from kimikit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "ask", "--host", "vllm", *words],
        input=piped,
        capture_output=True,
        env=dict(os.environ),
        check=False,
        timeout=300,
    )


def test_only_the_answer_goes_to_standard_output(server: FaultServer) -> None:
    server.play(OK)
    done = run(server, "Which", "colour?", "-s", "Summarise.", "-T", "0", "-m", "x",
               "--max-tokens", "9", piped="\ufeffMy nötes\n".encode())  # fmt: skip
    assert done.stdout == b"Blue it is.\n"
    assert b"vllm" in done.stderr  # the footer
    sent = server.requests[0].json
    said = [m["content"] for m in sent["messages"]]
    assert said == ["Summarise.", "Which colour?\n\nMy nötes"]
    assert (sent["temperature"], sent["model"], sent["max_tokens"]) == (0, "x", 9)


def test_json_is_one_object_on_one_line(server: FaultServer) -> None:
    server.play(sse(*text("a\nb\x1b[31m"), chunk("length"), DONE))
    done = run(server, "Hi", "--json")
    found = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert (found["text"], found["finish_reason"], found["host"]) == (
        "a\nb",
        "length",
        "vllm",
    )
    assert found["cost_usd"] is None
    assert found["usage"]["completion_tokens"] > 0


def test_an_error_goes_to_standard_error(server: FaultServer) -> None:
    server.play(plain({"error": {"message": "no such model"}}, 400))
    done = run(server, "Hi")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no such model" in done.stderr


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ("caf\u00e9 \u6708".encode("utf-16"), "caf\u00e9 \u6708"),  # PowerShell's `>`
        ("\ufeffcaf\u00e9".encode("utf-16-be"), "caf\u00e9"),
        ("caf\u00e9".encode("latin-1"), None),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3", None),
    ],
)
def test_what_is_piped_in_is_asked_as_it_is_or_refused(
    data: bytes, seen: str | None
) -> None:
    given = io.TextIOWrapper(io.BytesIO(data))
    if seen is None:
        with pytest.raises(BadInput, match=r"no text in UTF-8: .* at byte .*iconv"):
            asked("Sum up.", given)
    else:
        assert asked("Sum up.", given) == f"Sum up.\n\n{seen}"


@pytest.mark.skipif(os.name == "nt", reason="words are Unicode there")
def test_words_of_a_command_are_no_halves_of_letters() -> None:
    def as_c(data: bytes) -> str:  # as Python reads words where the locale is C
        return data.decode(sys.getfilesystemencoding(), "surrogateescape")

    assert asked(as_c("caf\u00e9".encode()), None) == "caf\u00e9"
    halves = "caf\u00e9".encode().decode("ascii", "surrogateescape")
    assert asked(halves, None) == "caf\u00e9"
    with pytest.raises(BadInput, match=r"The prompt is no text in UTF-8"):
        asked(as_c(b"caf\xe9"), None)


def test_what_is_asked() -> None:
    assert asked("  a b ", None) == "a b"
    assert asked("", io.StringIO(" piped\n")) == "piped"
    for nothing in (None, io.StringIO(" \n")):
        with pytest.raises(BadInput, match=r"nothing to ask.*pipe it in"):
            asked("", nothing)
