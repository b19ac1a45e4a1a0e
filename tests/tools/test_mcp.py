"""Tools of MCP servers are tools like others."""

import builtins
import io
import os
import sys
import threading
from pathlib import Path

import pytest
from support.scripts import Scripted, call, calls

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


def test_a_server_that_fails_is_quoted(tools):
    with pytest.raises(KimiError, match="No module named 'nothere'"):
        mcp_tools(sys.executable, "-c", "import nothere")
    with mcp_tools(sys.executable, str(SERVER)) as dying:
        with pytest.raises(RuntimeError, match=r"closed\. Its last words: disk full"):
            dying[3]()
        with pytest.raises(RuntimeError, match="Connection closed"):
            dying[0](a=1, b=2)
    assert tools[0](a=1, b=2) == "3", "the other connection is its own"


def test_a_program_that_never_answers_is_left_and_ended(tmp_path):
    place = tmp_path / "pid"
    code = f"import os, time; open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KimiError, match="did not answer in time"):
        mcp_tools(sys.executable, "-c", code, timeout_s=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


def test_a_call_may_take_only_its_time():
    with mcp_tools(sys.executable, str(SERVER)) as made:
        made._timeout_s = 1.5  # a busy machine takes longer than that to start it
        with pytest.raises(RuntimeError, match="did not answer in time"):
            made[4]()
        assert made[0](a=1, b=2) == "3"


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
