"""One odd tool of a server never hides the others, and what a tool gave is told whole."""

import base64
import json
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.dialects import problems
from support.scripts import Scripted, call, calls

from kimikit.errors import BadInput
from kimikit.tools import run
from kimikit.tools.mcp import mcp_tools
from kimikit.types import Reply

SERVER = str(Path(__file__).with_name("raw_mcp_server.py"))
STRING = {"type": "string"}
D7 = {"$schema": "http://json-schema.org/draft-07/schema#"}
D4 = {"$schema": "http://json-schema.org/draft-04/schema#"}
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAA"
    "BJRU5ErkJggg=="
)


def of(**properties):
    return {"type": "object", "properties": properties}


GOOD = {"name": "good", "description": "Works.", "inputSchema": of(q=STRING)}
POINT = of(x={"type": "number"})


def opened(*tools, **conf):
    conf = json.dumps({"tools": [GOOD, *tools], **conf})
    return mcp_tools(sys.executable, SERVER, conf, timeout_s=120)


def odd(schema, name="odd", **more):
    return {"name": name, "description": "Odd.", "inputSchema": schema, **more}


ODD = {
    # what is offered, arguments that fit, arguments that do not
    "a reference to a property": (
        {**of(a=POINT, b={"$ref": "#/properties/a"}), **D7},
        {"b": {"x": 1}}, {"b": {"x": "one"}},
    ),
    "a reference into a tuple": (
        {**of(p={"type": "array", "items": [POINT, POINT]},
              q={"$ref": "#/properties/p/items/1"}), **D7},
        {"q": {"x": 1}}, {"q": {"x": "one"}},
    ),
    "a recursive part": (
        {**of(block={"$ref": "#/$defs/block"}),
         "$defs": {"block": of(kids={"type": "array",
                                     "items": {"$ref": "#/$defs/block"}})}},
        {"block": {"kids": [{"kids": [{"kids": [{"kids": []}]}]}]}},
        {"block": {"kids": [{"kids": [{"kids": [{"kids": 3}]}]}]}},
    ),
    "a root that holds itself": (
        of(kids={"type": "array", "items": {"$ref": "#"}}, n={"type": "integer"}),
        {"kids": [{"kids": [], "n": 1}]}, {"kids": [{"n": "one"}]},
    ),
    "parts that hold each other": (
        {**of(a={"$ref": "#/definitions/a"}),
         "definitions": {"a": of(b={"$ref": "#/definitions/b"}),
                         "b": of(a={"$ref": "#/definitions/a"})}, **D7},
        {"a": {"b": {"a": {}}}}, {"a": {"b": {"a": 1}}},
    ),
    "an escape in a pointer": (
        {**of(s={"$ref": "#/$defs/a~1b%20c~0"}), "$defs": {"a/b c~": STRING}},
        {"s": "x"}, {"s": 1},
    ),
    "an anchor": (
        {**of(s={"$ref": "#it"}), "$defs": {"a": {"$anchor": "it", **STRING}}},
        {"s": "x"}, {"s": 1},
    ),
    "an id": (
        {**of(s={"$ref": "https://example.org/s.json#/$defs/a"}),
         "$id": "https://example.org/s.json", "$defs": {"a": STRING}},
        {"s": "x"}, {"s": 1},
    ),
    "a tuple of draft 7": (
        {**of(p={"type": "array", "items": [{"type": "number"}, STRING]}), **D7},
        {"p": [1, "a"]}, {"p": ["a", 1]},
    ),
    "a tuple of draft 7 that does not say so": (
        of(p={"type": "array", "items": [{"type": "number"}, STRING]}),
        {"p": [1, "a"]}, {"p": ["a", 1]},
    ),
    "exclusive bounds of draft 4": (
        of(ttl={"type": "integer", "exclusiveMinimum": True, "minimum": 0}),
        {"ttl": 1}, {"ttl": 0},
    ),
    "draft 4 by its name": (
        {**of(a={"type": "integer", "exclusiveMaximum": False, "maximum": 3}), **D4},
        {"a": 3}, {"a": 4},
    ),
    "a draft that nobody knows": (
        {**of(a=STRING), "$schema": "http://example.org/own#"}, {"a": "x"}, {"a": 1},
    ),
    "a property called required": (
        of(required={"type": "boolean"}, title=STRING),
        {"required_": True, "title": "x"}, {"required_": "maybe"},
    ),
    "a nested one, and one that looks like it": (
        of(q={"type": "object", "required": ["anyOf"],
              "properties": {"anyOf": STRING, "anyOf_": STRING}}),
        {"q": {"anyOf__": "a", "anyOf_": "b"}}, {"q": {"anyOf_": "b"}},
    ),
    "a pattern of JavaScript": (
        of(a={"type": "string", "pattern": "^\\p{L}+$"}), {"a": "é"}, {"a": "1"},
    ),
    "a pattern with a slash and a class": (
        of(a={"type": "string", "pattern": "^[\\w[&]+\\/\\d$"}), {"a": "a[/1"}, {"a": "/"},
    ),
    "a look-ahead, which only the server can check": (
        of(a={"type": "string", "pattern": "^(?=.*\\d).+$"}), {"a": "1"}, {"a": 1},
    ),
    "a title of null": (
        of(a={"type": "string", "title": None, "description": None}), {"a": "x"},
        {"a": 1},
    ),
    "a type of its own": (of(a={"type": "file"}, b=STRING), {"a": 1}, {"b": 1}),
    "a property that is a text": (of(a="a text", b=STRING), {"a": 1}, {"b": 1}),
    "required of draft 3": (
        of(a={"type": "string", "required": True}), {"a": "x"}, {"a": 1},
    ),
    "no type": ({"properties": {"a": STRING}}, {"a": "x"}, {"a": 1}),
    "nothing at all": ({}, {"a": 1}, None),
    "a nullable root": (
        {**of(a=STRING), "type": ["object", "null"]}, {"a": "x"}, {"a": 1},
    ),
    "alternatives": (
        {"oneOf": [of(a=STRING), {"$ref": "#/definitions/b"}],
         "definitions": {"b": {**of(b=STRING), "required": ["b"]}}, **D7},
        {"a": 1, "b": "x"}, {"a": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "fits", "wrong"), ODD.values(), ids=ODD)
def test_an_odd_schema_is_adapted_and_still_checked(schema, fits, wrong):
    with opened(odd(schema)) as tools:
        assert [one.name for one in tools] == ["good", "odd"]
        assert tools.left_out == {}
        made = tools[1]
        parameters = made.schema["function"]["parameters"]
        assert problems(parameters) == []
        sent = json.loads(made.function(**made.bind(fits)))["arguments"]
        assert json.dumps(sent).replace("_", "") == json.dumps(fits).replace("_", "")
        assert "required_" not in sent
        if wrong is not None:
            with pytest.raises(BadInput, match="do not fit"):
                made.bind(wrong)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("admin.tools.list", "admin_tools_list"),
        ("files/read file", "files_read_file"),
        ("naïve", "na_ve"),
        ("x" * 70, "x" * 55 + "_"),
        ("文件", "___"),
    ],
)
def test_a_name_that_hosts_refuse_is_mapped_and_mapped_back(name, sent):
    with opened(odd(of(a=STRING), name)) as tools:
        made = tools[1]
        assert made.name.startswith(sent)
        assert len(made.name) <= 64
        client = Scripted(calls(call(made.name, 0, a="x")), Reply(text="ok"))
        (result,) = run(client, "go", tools).steps[0].results
        assert json.loads(result.text)["name"] == name


def test_names_that_become_the_same_stay_apart():
    with opened(odd(of(), "a.b"), odd(of(), "a_b"), odd(of(), "a/b")) as tools:
        names = [one.name for one in tools]
        assert len(set(names)) == 4
        assert [json.loads(one())["name"] for one in tools[1:]] == ["a.b", "a_b", "a/b"]


HOPELESS = {
    "a list of arguments": (odd({"type": "array", "items": STRING}), "an object"),
    "an address": (odd(of(a={"$ref": "http://127.0.0.1:9/a"})), "nothing is fetched"),
    "a file": (odd(of(a={"$ref": "file:///etc/passwd"})), "nothing is fetched"),
    "nowhere": (odd(of(a={"$ref": "#/$defs/none"})), "refers to nothing"),
    "no name": (odd(of(), ""), "no name"),
    "the same name": (odd(of(), "good"), "same name"),
}


@pytest.mark.parametrize(("tool", "why"), HOPELESS.values(), ids=HOPELESS)
def test_the_one_that_cannot_be_used_is_left_out_and_named(tool, why):
    with pytest.warns(UserWarning, match="has a tool that cannot be used") as told:
        tools = opened(tool)
    with tools:
        assert [one.name for one in tools] == ["good"]
        assert why in tools.left_out[tool["name"]]
        assert repr(tool["name"]) in str(told[0].message)


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "odd", "description": 3, "inputSchema": of(a=STRING)},
        {"name": "odd", "inputSchema": None},
        {"name": "odd", "inputSchema": of(a=STRING), "annotations": "none"},
        {"name": "odd"},
        {"name": "odd", "inputSchema": {"type": "object"}, "outputSchema": []},
    ],
)
def test_a_tool_that_the_client_of_mcp_refuses_does_not_hide_the_others(tool):
    with opened(tool) as tools:
        assert [one.name for one in tools] == ["good", "odd"]
        assert json.loads(tools[0](q="x"))["arguments"] == {"q": "x"}
        assert json.loads(tools[1]())["name"] == "odd"


def test_pages_are_read_to_the_last():
    pages = [[GOOD], [odd({}, "second")], [{"name": "third"}]]
    with opened(pages=pages) as tools:
        assert [one.name for one in tools] == ["good", "second", "third"]


def test_a_result_that_its_schema_does_not_fit_is_told_anyway():
    tool = odd(of(), outputSchema={**of(n={"type": "integer"}), "required": ["n"]})
    result = {"content": [{"type": "text", "text": "none"}], "structuredContent": {}}
    with opened(tool, result=result) as tools:
        assert tools[1]().startswith("none")


def text(words):
    return {"type": "text", "text": words}


def file(**resource):
    return {"type": "resource", "resource": {"uri": "repo://README", **resource}}


def in_base64(data):
    return base64.b64encode(data).decode()


RESULTS = {
    "a file beside a receipt": (
        [text("downloaded"), file(mimeType="text/plain", text="SECRET 42")],
        ["downloaded", "SECRET 42", "repo://README"],
    ),
    "a file alone": ([file(text="SECRET 42")], ["SECRET 42"]),
    "a text in base64": (
        [file(mimeType="text/csv", blob=in_base64(b"a,b"))], ["a,b"],
    ),
    "a file of bytes": (
        [file(mimeType="application/zip", blob=in_base64(b"PK\3\4"))],
        ["application/zip", "4 bytes", "left out"],
    ),
    "a link": (
        [{"type": "resource_link", "uri": "file:///a.txt", "name": "a.txt",
          "description": "The log."}],
        ["a.txt", "file:///a.txt", "The log.", "not read"],
    ),
    "text and a picture": (
        [text("Page is https://x.test"),
         {"type": "image", "data": PNG, "mimeType": "image/png"}],
        ["https://x.test", "A picture, which is shown"],
    ),
    "a JPEG": (
        [{"type": "image", "data": in_base64(b"\xff\xd8\xff\xe0"), "mimeType": "image/jpeg"}],
        ["A picture of the type image/jpeg, which is shown"],
    ),
    "a drawing": (
        [{"type": "image", "data": in_base64(b"<svg/>"), "mimeType": "image/svg+xml"}],
        ["A picture of the type image/svg+xml, 6 bytes, which is left out"],
    ),
    "sound": (
        [{"type": "audio", "data": in_base64(b"RIFF0000WAVE"), "mimeType": "audio/wav"}],
        ["audio/wav", "12 bytes", "left out"],
    ),
    "what is no base64": (
        [{"type": "image", "data": "?", "mimeType": "image/png"}], ["cannot be decoded"],
    ),
    "nothing": ([], ["(no content)"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "wanted"), RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("failed", [False, True])
def test_everything_that_a_call_gave_is_told(content, wanted, failed):
    if failed and not content:
        wanted = ["the server reported an error"]
    with opened(result={"content": content, "isError": failed}) as tools:
        client = Scripted(calls(call("good", 0)), Reply(text="ok"))
        done = run(client, "go", tools)
    (result,) = done.steps[0].results
    assert [part for part in wanted if part not in result.text] == []
    assert bool(result.failed) == failed
    shown = "which is shown" in result.text and not failed
    assert ('src="data:image/' in done._repr_html_()) == shown


def test_what_is_structured_is_told_once():
    data = {"result": {"n": 1}}
    same = {"content": [text('{"n": 1}')], "structuredContent": data}
    with opened(result=same) as tools:
        assert tools[0]() == '{"n": 1}'
    with opened(result={"content": [text("see")], "structuredContent": data}) as tools:
        assert tools[0]() == 'see\n{"result":{"n":1}}'
    with opened(result={"content": [], "structuredContent": data}) as tools:
        assert tools[0]() == '{"result":{"n":1}}'


def test_nothing_is_fetched_for_a_schema():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "string"}')

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a"
    schemas = [
        {**of(x={"$ref": url}), "$defs": {"a": STRING}},
        {**of(x={"$ref": "a"}), "$id": url.removesuffix("a")},
        {"$schema": url, **of(x=STRING)},
        {"allOf": [{"$ref": url}], **of()},
        {"$dynamicRef": url, **of()},
        of(x={"not": {"$ref": url}}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened(*(odd(one, f"odd{i}") for i, one in enumerate(schemas))) as tools:
            for made in tools:
                try:
                    made.bind({"x": "hi"})
                except BadInput:
                    continue
    server.shutdown()
    server.server_close()
    assert asked == []


def test_escapes_of_a_terminal_are_not_passed_on(tmp_path):
    code = "import sys; sys.stderr.write('\\x1b]0;owned\\x07bad\\x1b[2J'); sys.exit(1)"
    with pytest.raises(Exception, match="Its last words: bad") as caught:
        mcp_tools(sys.executable, "-c", code)
    assert "\x1b" not in str(caught.value)
