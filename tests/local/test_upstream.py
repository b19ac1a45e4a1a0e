"""``kimikit serve --upstream``: batches in front of a server that has none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.echo import EchoHost
from support.fault_server import FaultServer, plain
from support.serving import serving

from kimikit import HostError, Kimi
from kimikit.cli import main
from kimikit.local.upstream import Upstream

TEXTS = [f"prompt {n}" for n in range(5)]


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start the command in front of an address; return what it prints to connect by."""
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path / "runtime"))
    running: list[subprocess.Popen[str]] = []

    def start(url: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "kimikit", "serve", "--upstream", url]
        started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        running.append(started)
        assert started.stdout is not None
        lines = [started.stdout.readline() for _ in range(4)]
        assert url in lines[0]
        base_url, api_key = (line.split("=")[1].strip() for line in lines[1:3])
        return {"base_url": base_url, "api_key": api_key, "model": "m"}

    yield start
    for each in running:
        each.terminate()
        each.communicate()


def test_batches_are_asked_of_the_server_and_all_else_passes_through_until_it_is_away(
    front: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIMIKIT_UPSTREAM_KEY", "upstream-key-1")
    refused: list[str] = []

    def answer(text: str) -> Any:
        if text == "prompt 2" and not refused:
            refused.append(text)
            return 429, {"error": {"message": "slow down"}}
        return f"Re: {text}"

    with EchoHost(answer).running() as server:
        kimi = Kimi(**front(server.base_url), show=False, max_retries=0)
        job = kimi.map(TEXTS, via="batch", max_tokens=6, poll_s=0.1)
        assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
        assert sorted(server.asked) == sorted([*TEXTS, "prompt 2"])
        assert "stream" not in server.requests[0]
        live = kimi.chat("live")  # streamed, word by word
        assert (live.text, live.first_token_s is not None) == ("Re: live", True)
    with pytest.raises(HostError, match="does not answer"):
        kimi.chat("hello")
    kimi.close()


def test_what_the_upstream_says_is_kept_in_one_line_of_json() -> None:
    import asyncio

    with FaultServer() as server:
        server.play(plain(b'{\n "choices": []\n}'))
        server.play(plain(b"<html>\n", 404, kind="text/html"))
        upstream = Upstream(server.url)

        async def run() -> list[tuple[int, bytes]]:
            return [await upstream.line("/v1/chat/completions", b"{}") for _ in "ab"]

        good, bad = asyncio.run(run())
        assert good == (200, b'{"choices":[]}')
        assert bad[0] == 404
        assert b"<html>" in bad[1]
        assert b"\n" not in bad[1]
        assert server.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("127.0.0.1:8000", "http://"),
        ("ftp://kimi:s3cret@a", "http://"),
        ("http://a:99999", "http://"),
        ("http://[::1", "http://"),
        ("http://kimi:s3cret@127.0.0.1:9", "KIMIKIT_UPSTREAM_KEY"),
        ("http://127.0.0.1:9/v1?key=s3cret", "KIMIKIT_UPSTREAM_KEY"),
    ],
)
def test_no_address_is_refused(
    given: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--upstream", given]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "s3cret" not in said


@pytest.mark.parametrize("asked", [[], ["--upstream", "http://127.0.0.1:9"]])
def test_nothing_is_asked_at_once_never(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *asked, "--concurrency", "0"]) == 1
    assert "--concurrency is 0" in capsys.readouterr().err


@pytest.mark.parametrize("told", ["\xb2", "\xb2.5", "1" * 400, "nan", "-5", "soon"])
def test_a_wait_that_is_no_number_is_none(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        upstream._ready_at = 0.0

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with FaultServer() as server:
        busy = plain(b"{}", 429, "retry-after: *")
        server.play(busy.replace(b"*", told.encode("latin-1")))
        server.play(plain(b'{"choices": []}'))
        upstream = Upstream(server.url)
        found = asyncio.run(upstream.line("/v1/chat/completions", b"{}"))
    assert found == (200, b'{"choices":[]}')
    assert waited
    assert max(waited) <= 1.0


def test_addresses_pass_as_they_are_and_silence_is_told(front: Any) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "silent" in self.path:
                return
            said = f"{self.path} {self.headers['host']}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler) as url:
        place = url.removeprefix("http://")
        asked = front(f"{url}/v1")
        head = {"Authorization": f"Bearer {asked['api_key']}"}
        with httpx.Client(base_url=asked["base_url"], headers=head) as http:
            for path in (
                "models/moonshotai%2FKimi-K2",
                "models/a%20b%E6%96%87?x=%20",
                "v1/models/a%2Fb",
            ):
                told = http.get(f"{asked['base_url']}/{path}").text
                assert told == f"/v1/{path.removeprefix('v1/')} {place}"
            silent = http.get("silent")
    assert silent.status_code == 502
    assert "it hung up without an answer" in silent.text
