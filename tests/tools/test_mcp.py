"""Tools of MCP servers are tools like others."""

import builtins
import contextlib
import gzip
import io
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.scripts import Scripted, call, calls
from support.serving import serving

from kimikit.errors import BadInput, KimiError, MissingDependency
from kimikit.tools import run
from kimikit.tools.mcp import mcp_tools
from kimikit.types import Reply

SERVER = Path(__file__).with_name("mcp_server.py")


@pytest.fixture(scope="module")
def tools():
    with mcp_tools(sys.executable, str(SERVER)) as made:
        yield made


def test_a_started_server_works_in_a_run_and_ends_with_it(tools):
    assert [one.name for one in tools] == ["add", "wipe", "draw", "die", "doze"]
    assert len(tools) == 5
    assert tools[1].confirm
    assert not tools[0].confirm
    client = Scripted(
        calls(call("add", 0, a=1, b=2), call("add", 1, a="x"), call("draw", 2)),
        Reply(text="3"),
    )
    done = run(client, "go", tools)
    added, wrong, drawn = done.steps[0].results
    assert added.text == "3"
    assert wrong.failed == "arguments"
    assert drawn.text == "A picture, which is shown to the user."
    assert "data:image/png;base64,iVBOR" in done._repr_html_()


def test_what_a_server_reports_as_error_is_one(tools):
    with pytest.raises(RuntimeError, match="wipe"):
        tools[1](name="x")


def test_a_server_in_this_process_needs_no_start():
    sys.path.insert(0, str(SERVER.parent))
    try:
        from mcp_server import server
    finally:
        sys.path.pop(0)
    before = set(threading.enumerate())
    with mcp_tools(server) as made:
        assert made[0](a=2, b=3) == "5"
    made_since = set(threading.enumerate()) - before
    for thread in made_since:
        thread.join(5)  # its loop tells it to end, and does not wait for it
    assert not any(thread.is_alive() for thread in made_since)


def test_what_is_no_server_says_so():
    with pytest.raises(KimiError, match="MCP server /bin/false gave no tools: Conn"):
        mcp_tools("/bin/false", timeout_s=5)
    with pytest.raises(KimiError, match="gave no tools: All connection attempts"):
        mcp_tools("http://127.0.0.1:9/mcp")
    with pytest.raises(BadInput, match="no server"):
        mcp_tools("")


@contextlib.contextmanager
def answering(head, body):
    """Serve one answer to whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            assert self.headers["accept-encoding"] == "identity"
            self.send_response(200)
            for name, value in {"content-length": len(body), **head}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with serving(Handler) as url:
        yield f"{url}/mcp"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"content-encoding": "gzip"}, r"packs its answers \(gzip\)"),
        ({"content-encoding": "gzip, br"}, "packs its answers"),
        ({"content-length": 10**12}, "1,000,000,000,000 bytes"),
    ],
)
def test_an_answer_over_http_that_would_swell_is_not_read(head, said):
    """A megabyte of gzip can be gigabytes."""
    bomb = gzip.compress(bytes(5_000_000))
    kind = {"content-type": "application/json"}
    with (
        answering({**kind, **head}, bomb) as url,
        pytest.raises(KimiError, match=said),
    ):
        mcp_tools(url, timeout_s=10)


def test_a_server_over_http_gives_its_tools():
    code = (
        f"import sys; sys.path.insert(0, {str(SERVER.parent)!r})\n"
        "from mcp_server import server\nimport socket, uvicorn\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True)\n"
        "uvicorn.Server(uvicorn.Config(server.streamable_http_app(),"
        " log_level='error')).run([s])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        port = process.stdout.readline().strip()
        try:
            with mcp_tools(f"http://127.0.0.1:{port}/mcp") as made:
                assert made[0](a=1, b=2) == "3"
        finally:
            process.kill()


def test_a_server_that_fails_is_quoted(tools):
    with pytest.raises(KimiError, match="No module named 'nothere'"):
        mcp_tools(sys.executable, "-c", "import nothere")
    with mcp_tools(sys.executable, str(SERVER)) as dying:
        with pytest.raises(RuntimeError, match=r"closed\. Its last words: disk full"):
            dying[3]()
        with pytest.raises(RuntimeError, match="Connection closed"):
            dying[0](a=1, b=2)
    assert tools[0](a=1, b=2) == "3", "the other connection is its own"


def test_a_program_that_never_answers_is_left_and_ended(tmp_path, monkeypatch):
    # It is given 2 s to end by itself, where its input is closed.
    name = "mcp.client.stdio.PROCESS_TERMINATION_TIMEOUT"
    monkeypatch.setattr(name, 0.1, raising=False)
    place = tmp_path / "pid"
    code = f"import os, time; open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KimiError, match="did not answer in time"):
        mcp_tools(sys.executable, "-c", code, timeout_s=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


def test_a_call_may_take_only_its_time(tools, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tools, "_timeout_s", 0.1)
        with pytest.raises(RuntimeError, match="did not answer in time"):
            tools[4]()
    assert tools[0](a=1, b=2) == "3"


def test_a_server_starts_where_standard_error_is_no_file(monkeypatch):
    """As in a kernel under pytest, whose stream has no file number."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with mcp_tools(sys.executable, str(SERVER)) as made:
        assert made[0](a=1, b=2) == "3"


def test_without_the_package_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "mcp":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependency, match=r"pip install .*mcp"):
        mcp_tools("x")
