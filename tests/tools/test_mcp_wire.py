"""What a server of MCP says besides, and what it is given as."""

import contextlib
import json
import logging
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from support.scripts import Scripted, call, calls
from support.serving import serving

from kimikit.errors import BadInput, KimiError
from kimikit.tools import run
from kimikit.tools.mcp import mcp_tools
from kimikit.types import Reply

SERVER = Path(__file__).with_name("raw_mcp_server.py")
GOOD = {"name": "good", "description": "Works.", "inputSchema": {"type": "object"}}


def opened(timeout_s=60, **conf):
    conf = json.dumps({"tools": [GOOD], **conf})
    return mcp_tools(sys.executable, SERVER, conf, timeout_s=timeout_s)


def line(text):
    result = '{"content": [{"type": "text", "text": "TEXT"}]}'.replace("TEXT", text)
    return '{"jsonrpc": "2.0", "id": ID, "result": RESULT}'.replace("RESULT", result)


@pytest.mark.parametrize(
    "printed",
    ["Listening\n", "\n\n[1]\nnull\n", '{"not": "a message"}\n', "caf\xe9 \xff\n"],
)
def test_what_a_server_prints_between_messages_is_no_trouble(printed, capfd):
    with opened(printed=printed) as tools:
        assert json.loads(tools[0]())["name"] == "good"
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (r"cut \ud83d", "cut ?"),
        (r"\ude00 \ud83d\ude00", "? \U0001f600"),
        ("caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_letters_that_are_none_cost_no_answer(text, told):
    with opened(line=line(text), timeout_s=20) as tools:
        assert tools[0]() == told


def test_a_line_that_is_no_message_is_quoted():
    quoted = pytest.raises(RuntimeError, match=r'not answer.* words: {"jsonrpc": "2')
    with opened(line='{"jsonrpc": "2.0", "id"', timeout_s=3) as tools, quoted:
        tools[0]()


def test_who_listens_to_the_log_of_mcp_still_hears_it(caplog):
    with caplog.at_level(logging.ERROR, "mcp"), opened(printed="odd\n"):
        assert "Failed to parse" in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"message": "full", "data": {"disk": 1}}, r'^full: {"disk":1}\.$'),
        ({"message": ""}, r"^MCPError\.$"),
    ],
)
def test_an_error_is_told_with_what_is_known_of_it(error, told):
    raised = pytest.raises(RuntimeError, match=told)
    with opened(error={"code": -32000, **error}) as tools, raised:
        tools[0]()


def test_a_page_that_comes_again_ends_the_list():
    pages = [[GOOD], [{**GOOD, "name": "second"}], []]
    with pytest.warns(UserWarning, match="same name"):
        tools = opened(pages=pages, last_page=1, timeout_s=20)
    with tools:
        assert [one.name for one in tools] == ["good", "second"]


def test_what_json_has_not_keeps_its_meaning():
    result = {"content": [], "structuredContent": {"x": float("nan")}}
    with opened(result=result) as tools:
        assert tools[0]() == '{"x":"nan"}'


def test_tools_of_a_closed_connection_are_refused_before_anything_is_asked():
    with opened() as tools:
        kept = tools[0]
    tools.close()
    client = Scripted(calls(call("good")), Reply(text="ok"))
    with pytest.raises(BadInput, match=r"is closed\. Use its tools inside"):
        run(client, "go", tools)
    with pytest.raises(BadInput, match="is closed"):
        kept()
    assert client.requests == []


def test_paths_and_numbers_are_arguments():
    with mcp_tools(Path(sys.executable), SERVER, json.dumps({"tools": [GOOD]}),
                   env={"PORT": 3}) as tools:  # fmt: skip
        assert len(tools) == 1


@pytest.mark.parametrize(
    ("args", "options", "said"),
    [
        ((3,), {}, "3 is no MCP server. Give a command and each"),
        ((["python", "x"],), {}, "is no MCP server"),
        (({"command": "python"},), {}, "is no MCP server"),
        (("python", None), {}, "are no texts"),
        (("python",), {"env": {"A": None}}, "are no texts"),
        (("python",), {"env": "A=1"}, "are no texts"),
        ((object(), "x"), {}, "no command with arguments"),
        (("http://x.test/mcp", "x"), {}, "takes neither arguments"),
        (("HTTP://x.test/mcp",), {"env": {"KEY": "x"}}, "takes neither"),
        (("python",), {"headers": {"a": "b"}}, "Only a server at a URL"),
        (("python",), {"timeout_s": 0}, "timeout_s is 0"),
        (("python",), {"timeout_s": "5"}, "timeout_s is '5'"),
        (("python",), {"timeout_s": float("nan")}, "timeout_s is nan"),
        (("python",), {"timeout_s": float("inf")}, "timeout_s is inf"),
    ],
)
def test_what_cannot_be_reached_is_refused_at_once(args, options, said):
    with pytest.raises(BadInput, match=said):
        mcp_tools(*args, **options)


def test_a_whole_command_line_is_told_apart():
    with pytest.raises(KimiError, match="each of its arguments by itself"):
        mcp_tools(f"{sys.executable} server.py")


@contextlib.contextmanager
def over_http(answer):
    """Serve MCP over HTTP: ``answer`` gives status and text of a call."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            version = (asked.get("params") or {}).get("protocolVersion")
            results = {
                "initialize": {"protocolVersion": version, "capabilities": {},
                               "serverInfo": {"name": "x", "version": "1"}},
                "tools/list": {"tools": [GOOD]},
            }  # fmt: skip
            status, text = answer(self.headers)
            if asked["method"] == "tools/call":
                result = {"content": [{"type": "text", "text": text}]}
            else:
                result = results.get(asked["method"])
            said = {"jsonrpc": "2.0", "id": asked.get("id"), "result": result}
            if result is None:
                said["error"] = {"code": -32601, "message": "no"}
                del said["result"]
            self.send_response(status)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            if status == 200:
                self.wfile.write(f"data: {json.dumps(said)}\n\n".encode())

        def log_message(self, *_):
            pass

    with serving(Handler) as url:
        yield f"{url}/mcp"


def test_headers_are_sent_and_their_lack_is_told_with_what_to_do():
    def answer(headers):
        return (200 if headers["authorization"] == "Bearer k" else 401), "in"

    with over_http(answer) as url:
        with mcp_tools(url, headers={"Authorization": "Bearer k"}) as tools:
            assert tools[0]() == "in"
        with pytest.raises(KimiError, match=r"HTTP 401 Unauthorized\)\. Give its key"):
            mcp_tools(url, timeout_s=10)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_the_status_of_a_call_that_fails_is_told(status):
    answers = [200]
    with (
        over_http(lambda _: (answers[0], "x" * 3_000_000)) as url,
        mcp_tools(url) as tools,
    ):
        assert len(tools[0]()) == 3_000_000
        answers[0] = status
        with pytest.raises(RuntimeError, match=f"HTTP {status} "):
            tools[0]()
