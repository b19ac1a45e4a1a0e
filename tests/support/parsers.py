"""What servers' own parsers of Kimi's output are tested with, and what it means here.

Kinds of input that the public suites of vLLM (``kimi_k2`` and ``kimi_k3``, tools and
reasoning), SGLang and llama.cpp hold, in words of our own. A server without a parser,
or with another one, streams them as text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SB, SE = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CB, CE, AB = "<|tool_call_begin|>", "<|tool_call_end|>", "<|tool_call_argument_begin|>"
OPEN, CLOSE, SEP = "<|open|>", "<|close|>", "<|sep|>"
TURN = f"{CLOSE}message{SEP}"


def k2(*calls: str, begin: str = SB, end: str = SE) -> str:
    """Return a section of K2."""
    return f"{begin}{''.join(calls)}{end}"


def one(id_: str, arguments: str, end: str = CE) -> str:
    """Return a call of K2."""
    return f"{CB}{id_}{AB}{arguments}{end}"


def k3(*calls: str, end: str = f"{CLOSE}tools{SEP}") -> str:
    """Return a section of K3."""
    return f"{OPEN}tools{SEP}{''.join(calls)}{end}"


def tag(
    tool: str, *arguments: str, index: int = 1, end: str = f"{CLOSE}call{SEP}"
) -> str:
    """Return a call of K3."""
    return f'{OPEN}call tool="{tool}" index="{index}"{SEP}{"".join(arguments)}{end}'


def arg(key: str, kind: str, value: str, end: str = f"{CLOSE}argument{SEP}") -> str:
    """Return an argument of K3."""
    return f'{OPEN}argument key="{key}" type="{kind}"{SEP}{value}{end}'


def within(name: str, text: str) -> str:
    """Return a channel of K3."""
    return f"{OPEN}{name}{SEP}{text}{CLOSE}{name}{SEP}"


def tool(
    name: str, required: tuple[str, ...] = (), **properties: str
) -> dict[str, Any]:
    """Return a tool; the properties are types by name."""
    types = {key: {"type": kind} for key, kind in properties.items()}
    schema = {"type": "object", "properties": types, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


READ = tool("read_file", ("path",), path="string")
CITY = tool("weather", ("city",), city="string", unit="string")
NEWS = tool("news", ("topic",), topic="string", days="integer")
RUN = tool("python", code="string", n="number", flag="boolean", opts="object")
NONE = tool("now")
TOOLS = (READ, CITY, NEWS, RUN, NONE, tool("mcp__docs__search-all", path="string"))

OSLO = one("functions.weather:0", '{"city": "Oslo"}')
ROME = one("functions.weather:1", '{"city": "Rome"}')
TOLD_OSLO = ("weather", {"city": "Oslo"})
TOLD_ROME = ("weather", {"city": "Rome"})
CODE = tag("python", arg("code", "string", "1 + 1"))
TOLD_CODE = ("python", {"code": "1 + 1"})
NESTED = '{"opts": {"a": {"b": [1, {"c": "}"}], "d": null}}, "flag": true}'
TOLD_NESTED = (
    "python",
    {"opts": {"a": {"b": [1, {"c": "}"}], "d": None}}, "flag": True},
)
HTML = '{"code": "<div class=\\"x\\">a < b</div>"}'
LONG = "x" * 20_000


class Parsed(NamedTuple):
    """One input, and what must come of it; calls are names with their arguments."""

    name: str
    text: str
    shown: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    thought: str = ""
    tools: tuple[dict[str, Any], ...] = TOOLS
    finish: str = "stop"
    channel: str = "content"


def _p(name: str, text: str, shown: str = "", *calls: Any, **more: Any) -> Parsed:
    return Parsed(name, text, shown, calls, **more)


PLAIN = (
    _p("text alone", "This is a test", "This is a test"),
    _p(
        "text of several lines",
        "Hello, world!\nWhat's up?",
        "Hello, world!\nWhat's up?",
    ),
    _p("a lone angle bracket at the end", "normal text <", "normal text <"),
    _p("a heart at the end", "I like it <3", "I like it <3"),
    _p("HTML in the text", "<b>a</b> < c", "<b>a</b> < c"),
    _p("a pipe operator of F#", "a <| b <| c", "a <| b <| c"),
    _p("a comparison before a pipe", "1 <|2", "1 <|2"),
)

K2_CALLS = (
    _p("one call", k2(OSLO), "", TOLD_OSLO),
    _p("two calls", k2(OSLO, ROME), "", TOLD_OSLO, TOLD_ROME),
    _p(
        "three calls of three tools",
        k2(
            OSLO,
            one("functions.news:1", '{"topic": "ai"}'),
            one("functions.now:2", "{}"),
        ),
        "",
        TOLD_OSLO,
        ("news", {"topic": "ai"}),
        ("now", {}),
    ),
    _p("text before", "I'll look. " + k2(OSLO), "I'll look. ", TOLD_OSLO),
    _p("text before, glued", "Looking:" + k2(OSLO), "Looking:", TOLD_OSLO),
    _p("text after", k2(OSLO) + " Done", " Done", TOLD_OSLO),
    _p("text before and after", "a " + k2(OSLO) + " b", "a  b", TOLD_OSLO),
    _p(
        "text between two sections",
        "Prefix:" + k2(OSLO) + " Now next: " + k2(ROME),
        "Prefix: Now next: ",
        TOLD_OSLO,
        TOLD_ROME,
    ),
    _p("two sections back to back", k2(OSLO) + k2(ROME), "", TOLD_OSLO, TOLD_ROME),
    _p("three sections", k2(OSLO) + k2(ROME) + k2(OSLO), "", TOLD_OSLO, TOLD_ROME),
    _p(
        "blanks and line ends between all parts",
        f'Go. {SB} {CB}\nfunctions.weather:0 {AB} {{"city": "Oslo"}} {CE} {SE}',
        "Go. ",
        TOLD_OSLO,
    ),
    _p(
        "mixed spacing",
        f"{SB} {CB} functions.now:0 {AB} {{}} {CE}{CB}functions.weather:1{AB}"
        f'{{"city": "Rome"}}{CE} {SE}',
        "",
        ("now", {}),
        TOLD_ROME,
    ),
    _p(
        "the singular section marker",
        k2(OSLO, begin=SB.replace("calls", "call"), end=SE.replace("calls", "call")),
        "",
        TOLD_OSLO,
    ),
    _p(
        "noise after the section begins",
        f"Ok. {SB} spurious {OSLO}{SE}",
        "Ok. ",
        TOLD_OSLO,
    ),
    _p(
        "no prefix before the name",
        k2(one("weather:0", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p(
        "no number after the name",
        k2(one("functions.weather", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p("the bare name", k2(one("weather", '{"city": "Oslo"}')), "", TOLD_OSLO),
    _p(
        "a name with hyphens",
        k2(one("functions.mcp__docs__search-all:0", '{"path": "/d"}')),
        "",
        ("mcp__docs__search-all", {"path": "/d"}),
    ),
    _p(
        "a number of the conversation",
        k2(one("functions.weather:17", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p(
        "arguments of several lines",
        k2(one("functions.weather:0", '{\n  "city": "Oslo"\n}')),
        "",
        TOLD_OSLO,
    ),
    _p("nested arguments", k2(one("functions.python:0", NESTED)), "", TOLD_NESTED),
    _p(
        "HTML in arguments",
        k2(one("functions.python:0", HTML)),
        "",
        ("python", {"code": '<div class="x">a < b</div>'}),
    ),
    _p("empty arguments", k2(one("functions.now:0", "{}")), "", ("now", {})),
    _p(
        "arguments that end in an array",
        k2(one("functions.python:0", '{"opts": [1, 2]}')),
        "",
        ("python", {"opts": [1, 2]}),
    ),
    _p(
        "arguments that end in a number",
        k2(one("functions.python:0", '{"n": 42}')),
        "",
        ("python", {"n": 42}),
    ),
    _p(
        "arguments that end in null",
        k2(one("functions.python:0", '{"n": null}')),
        "",
        ("python", {"n": None}),
    ),
    _p(
        "arguments that end in true",
        k2(one("functions.python:0", '{"flag": true}')),
        "",
        ("python", {"flag": True}),
    ),
    _p(
        "backslashes in arguments",
        k2(one("functions.read_file:0", '{"path": "C:\\\\Users\\\\a\\nb"}')),
        "",
        ("read_file", {"path": "C:\\Users\\a\nb"}),
    ),
    _p(
        "other scripts in arguments",
        k2(one("functions.weather:0", '{"city": "東京 é"}')),
        "",
        ("weather", {"city": "東京 é"}),
    ),
    _p(
        "escaped scripts in arguments",
        k2(one("functions.weather:0", '{"city": "\\u6771"}')),
        "",
        ("weather", {"city": "東"}),
    ),
    _p(
        "20,000 characters of arguments",
        k2(one("functions.python:0", f'{{"code": "{LONG}"}}')),
        "",
        ("python", {"code": LONG}),
    ),
    _p(
        "a comma too many",
        k2(one("functions.weather:0", '{"city": "Oslo",}')),
        "",
        TOLD_OSLO,
    ),
    _p("an empty section", f"Hm. {SB}{SE}", "Hm. "),
    _p("a section of blanks, and text after", f"{SB}   {SE} Done", " Done"),
    _p("no section around the call", "So: " + OSLO, "So: ", TOLD_OSLO),
    _p("a section that never ends", SB + OSLO, "", TOLD_OSLO),
    _p(
        "only the end of the call is missing",
        SB + one("functions.weather:0", '{"city": "Oslo"}', end=""),
        "",
        TOLD_OSLO,
    ),
    _p(
        "the whole tail is missing, no section",
        one("functions.weather:0", '{"city": "Oslo"}', end=""),
        "",
        TOLD_OSLO,
    ),
    _p(
        "two calls without any end",
        one("functions.weather:0", '{"city": "Oslo"}', end="")
        + one("functions.weather:1", '{"city": "Rome"}', end=""),
        "",
        TOLD_OSLO,
        TOLD_ROME,
    ),
    _p("blanks before the section", "   \n\n  " + k2(OSLO), "", TOLD_OSLO),
)

K2_IDS = (
    _p(
        "a bare counter, one tool",
        k2(one("3", '{"query": "x"}')),
        "",
        ("weather", {"query": "x"}),
        tools=(CITY,),
    ),
    _p(
        "a counter with a colon, one tool",
        k2(one(":3", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
        tools=(CITY,),
    ),
    _p(
        "a prefix and a counter",
        k2(one("functions.:0", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p(
        "no id at all, one tool",
        k2(one("", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
        tools=(CITY,),
    ),
    _p(
        "a bare counter, one schema fits",
        k2(one("0", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p(
        "a bare counter, all of a schema",
        k2(one("0", '{"city": "a", "unit": "b"}')),
        "",
        ("weather", {"city": "a", "unit": "b"}),
    ),
    _p(
        "two bare counters",
        k2(one("0", '{"city": "Oslo"}'), one("1", '{"topic": "ai"}')),
        "",
        TOLD_OSLO,
        ("news", {"topic": "ai"}),
    ),
    _p("an id of OpenAI's", k2(one("call_9fA2", '{"city": "Oslo"}')), "", TOLD_OSLO),
    _p(
        "an id of vLLM's",
        k2(one("chatcmpl-tool-1f3c", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p(
        "an id of Anthropic's", k2(one("toolu_01Xy", '{"city": "Oslo"}')), "", TOLD_OSLO
    ),
    _p(
        "a UUID",
        k2(one("4f6b2c1e-8a7d-4e55-9c3b-0123456789ab", '{"city": "Oslo"}')),
        "",
        TOLD_OSLO,
    ),
    _p("a bare counter, no schema fits", k2(one("0", '{"other": "x"}')), ""),
    _p("a bare counter, two schemas fit", k2(one("0", '{"path": "/d"}')), ""),
    _p(
        "a bare counter, the type is another",
        k2(one("0", '{"topic": "a", "days": "b"}')),
        "",
    ),
    _p("a bare counter, nothing in it", k2(one("0", "{}")), ""),
    _p("a bare counter, no tools", k2(one("5", '{"x": 1}')), "", tools=()),
    _p(
        "an id that cannot be read, then a good call",
        "So: " + k2(one("weird@id", '{"city": "Oslo"}')) + k2(ROME),
        "So: ",
        TOLD_ROME,
    ),
    _p(
        "a name that is not offered, then good ones",
        k2(OSLO, one("functions.hack:1", '{"x": 1}'), ROME),
        "",
        TOLD_OSLO,
        TOLD_ROME,
    ),
    _p(
        "a name that is not offered, one tool",
        k2(one("functions.hack:1", '{"city": "x"}')),
        "",
        tools=(CITY,),
    ),
    _p(
        "a name with a dot before its number",
        k2(one("functions.weather.0", '{"city": "x"}'), ROME),
        "",
        TOLD_ROME,
    ),
    _p("no tools were offered", k2(OSLO), "", tools=()),
)

K2_MARKERS = (
    _p("a lone end of a section", f"normal text{SE}", "normal text"),
    _p("a lone end of a section, and text", f"{SE} Done", " Done"),
    _p("a lone end of a call", f"text{CE}more", "textmore"),
    _p("a lone begin of arguments", f"text{AB}more", "textmore"),
    _p("a begin and an end that do not fit", f"leaked{SB}{CE}content", "leakedcontent"),
    _p("all markers and nothing else", SB + CB + AB + CE + SE, ""),
    _p("a begin alone at the end", f"Let me see. {SB}", "Let me see. "),
    _p("begins alone at the end", f"Let me see. {SB}{CB}", "Let me see. "),
    _p("noise and a begin at the end", f"Go. {SB} noise {CB}", "Go. "),
    _p("half a marker at the end", "Hello<|tool_calls_sec", "Hello"),
    _p("an id and no more", f"Hm. {SB}{CB}functions.weather:0", "Hm. "),
    _p("a section that holds no call", f"so{SB}tool call data", "sotool call data"),
    _p("the end of the turn", "Hello.<|im_end|>", "Hello."),
    _p("the end of the turn, and a line end", "Hello.<|im_end|>\n", "Hello.\n"),
    _p("the end of the turn in the middle", "Hello.<|im_end|>More", "Hello.More"),
    _p("the end of the turn twice", "Hi<|im_end|><|im_end|>", "Hi"),
    _p("the end of the turn after a call", k2(OSLO) + "<|im_end|>", "", TOLD_OSLO),
    _p(
        "a sentence that names the end of the turn",
        "It ends with <|im_end|> then.",
        "It ends with <|im_end|> then.",
    ),
    _p(
        "a sentence that names a begin",
        f"A {CB} opens a call.",
        f"A {CB} opens a call.",
    ),
    _p("a begin in quotes", f'Send "{SB}" first.', f'Send "{SB}" first.'),
    _p(
        "a Chinese sentence that names a begin",
        f"用{CB}，然后写。",
        f"用{CB}，然后写。",
    ),
)

THINKING = (
    _p(
        "thinking and an answer",
        "<think>step by step</think>final",
        "final",
        thought="step by step",
    ),
    _p("thinking that is empty", "<think></think>final", "final"),
    _p(
        "thinking and a call",
        "<think>I need it.</think>" + k2(OSLO),
        "",
        TOLD_OSLO,
        thought="I need it.",
    ),
    _p(
        "thinking, text and a call",
        "<think>Hm.</think>So:" + k2(OSLO),
        "So:",
        TOLD_OSLO,
        thought="Hm.",
    ),
    _p(
        "thinking, text and two sections",
        "<think>Hm.</think>So:" + k2(OSLO) + k2(ROME),
        "So:",
        TOLD_OSLO,
        TOLD_ROME,
        thought="Hm.",
    ),
    _p(
        "a call inside thinking",
        "<think>Let me read." + k2(OSLO),
        "",
        TOLD_OSLO,
        thought="Let me read.",
    ),
    _p(
        "two calls inside thinking",
        "<think>Both." + k2(OSLO, ROME),
        "",
        TOLD_OSLO,
        TOLD_ROME,
        thought="Both.",
    ),
    _p(
        "calls inside thinking without any end",
        "<think>Both." + OSLO.removesuffix(CE) + ROME.removesuffix(CE),
        "",
        TOLD_OSLO,
        TOLD_ROME,
        thought="Both.",
    ),
    _p(
        "a call inside thinking that closes",
        "<think>a" + k2(OSLO) + "b</think>c",
        "c",
        TOLD_OSLO,
        thought="ab",
    ),
    _p(
        "text after a call inside thinking",
        "<think>a" + k2(OSLO) + "\n\nHere it is.",
        "Here it is.",
        TOLD_OSLO,
        thought="a",
    ),
    _p(
        "only the opening of the thinking came",
        " <think> so  Both are sunny.",
        "so  Both are sunny.",
    ),
    _p(
        "thinking cut at the length",
        "<think>so  Both",
        "",
        thought="so  Both",
        finish="length",
    ),
    _p(
        "thinking whose tag the host took",
        "I should look.</think>Here.",
        "Here.",
        thought="I should look.",
    ),
    _p("an answer of many closings", "<think>a</think>b</think>c", "bc", thought="a"),
    _p(
        "the answer names the tags",
        "<think>a</think>Use <think>x</think> so.",
        "Use <think>x</think> so.",
        thought="a",
    ),
    _p(
        "thinking that names a marker",
        f"<think>A {SB} comes first.</think>Yes.",
        "Yes.",
        thought=f"A {SB} comes first.",
    ),
    _p(
        "thinking with an example in code",
        f"<think>```\n{k2(OSLO)}\n```\n</think>Yes.",
        "Yes.",
        thought=f"```\n{k2(OSLO)}\n```\n",
    ),
    _p("half a closing at the end", "<think>Hm.</thin", "", thought="Hm."),
    _p(
        "a call in the host's reasoning",
        "Let me." + k2(OSLO),
        "",
        TOLD_OSLO,
        thought="Let me.",
        channel="reasoning_content",
    ),
    _p(
        "an opening in the host's reasoning",
        "<think>Hm.",
        "",
        thought="Hm.",
        channel="reasoning_content",
    ),
    _p(
        "tags in the host's reasoning",
        "<think>Hm.</think>",
        "",
        thought="Hm.",
        channel="reasoning",
    ),
    _p(
        "a lone end in the host's reasoning",
        f"Hm.{SE}",
        "",
        thought="Hm.",
        channel="reasoning",
    ),
)

K3_PARSED = (
    _p("K3: an answer", within("response", "hi there") + TURN, "hi there"),
    _p("K3: the end of a turn in pieces", f"Hello{TURN}", "Hello"),
    _p("K3: the end of a message too", f"Hello{TURN}<|end_of_msg|>", "Hello"),
    _p(
        "K3: thinking and an answer",
        within("think", "deep") + within("response", "yes") + TURN,
        "yes",
        thought="deep",
    ),
    _p(
        "K3: the host took the first tag",
        f"step{CLOSE}think{SEP}{OPEN}response{SEP}answer",
        "answer",
        thought="step",
    ),
    _p(
        "K3: the host took the tag of the answer",
        f"answer{CLOSE}response{SEP}",
        "answer",
    ),
    _p(
        "K3: a separator is missing",
        f"{OPEN}think{SEP}thought{CLOSE}think" + within("response", "reply"),
        "reply",
        thought="thought",
    ),
    _p(
        "K3: blanks inside the tags",
        f"{OPEN} response {SEP}answer{CLOSE} response {SEP}",
        "answer",
    ),
    _p(
        "K3: a message around all",
        f'{OPEN}message role="assistant"{SEP}' + within("response", "hi") + TURN,
        "hi",
    ),
    _p(
        "K3: the answer and a call",
        within("response", "On it.") + k3(CODE) + TURN,
        "On it.",
        TOLD_CODE,
    ),
    _p("K3: a call alone", k3(CODE) + TURN, "", TOLD_CODE),
    _p(
        "K3: thinking, an answer and a call",
        within("think", "a") + within("response", "b") + k3(CODE),
        "b",
        TOLD_CODE,
        thought="a",
    ),
    _p(
        "K3: an empty answer and a call",
        within("response", "") + k3(CODE),
        "",
        TOLD_CODE,
    ),
    _p(
        "K3: a call inside thinking",
        f"{OPEN}think{SEP}a" + k3(CODE) + TURN,
        "",
        TOLD_CODE,
        thought="a",
    ),
    _p(
        "K3: an answer inside thinking",
        f"{OPEN}think{SEP}a{OPEN}response{SEP}b{TURN}",
        "b",
        thought="a",
    ),
    _p("K3: thinking that never closes", f"{OPEN}think{SEP}It is 4.", "It is 4."),
    _p(
        "K3: two calls",
        k3(CODE, tag("python", arg("n", "number", "2"), index=2)),
        "",
        TOLD_CODE,
        ("python", {"n": 2}),
    ),
    _p(
        "K3: line ends between calls",
        k3("\n", CODE, "\n", tag("now", index=2)),
        "",
        TOLD_CODE,
        ("now", {}),
    ),
    _p(
        "K3: types",
        k3(
            tag(
                "python",
                arg("n", "number", "42"),
                arg("flag", "boolean", "true"),
                arg("code", "string", "raw"),
                arg("opts", "object", '{"a": [1, null]}'),
            )
        ),
        "",
        ("python", {"n": 42, "flag": True, "code": "raw", "opts": {"a": [1, None]}}),
    ),
    _p(
        "K3: an object that is no JSON stays text",
        k3(tag("python", arg("opts", "object", "{not json"))),
        "",
        ("python", {"opts": "{not json"}),
    ),
    _p(
        "K3: arguments as one object",
        k3(
            tag(
                "weather",
                f'{OPEN}json type="object"{SEP}{{"city": "Oslo"}}{CLOSE}json{SEP}',
            )
        ),
        "",
        TOLD_OSLO,
    ),
    _p(
        "K3: entities in names",
        k3(tag("a&amp;b&quot;c", arg("k&amp;q", "string", "say &quot;hi&quot;"))),
        "",
        ('a&b"c', {"k&q": "say &quot;hi&quot;"}),
        tools=(tool('a&b"c'),),
    ),
    _p(
        "K3: angle brackets in names",
        k3(tag("calc<beta", arg("foo<bar", "string", "raw"))),
        "",
        ("calc<beta", {"foo<bar": "raw"}),
        tools=(tool("calc<beta"),),
    ),
    _p(
        "K3: prefixes of markers in a text",
        k3(tag("python", arg("code", "string", "<|close|>arg <| x <|sep"))),
        "",
        ("python", {"code": "<|close|>arg <| x <|sep"}),
    ),
    _p(
        "K3: other scripts in a text",
        k3(tag("python", arg("code", "string", "héllo 世界 🚀 </"))),
        "",
        ("python", {"code": "héllo 世界 🚀 </"}),
    ),
    _p(
        "K3: a call without a name",
        k3(f'{OPEN}call index="1"{SEP}{CLOSE}call{SEP}', CODE),
        "",
        TOLD_CODE,
    ),
    _p("K3: a name that is not offered", k3(tag("hack"), CODE), "", TOLD_CODE),
    _p("K3: a section that never ends", k3(CODE, end=""), "", TOLD_CODE),
    _p("K3: no section around the call", "So: " + CODE, "So: ", TOLD_CODE),
    _p(
        "K3: only the end of the call is missing",
        k3(tag("python", arg("code", "string", "1 + 1"), end=""), end=""),
        "",
        TOLD_CODE,
    ),
    _p("K3: the turn ends in the section", k3(CODE, end="") + TURN, "", TOLD_CODE),
    _p("K3: a header cut off", "Hm. " + k3('<|open|>call tool="pyth', end=""), "Hm. "),
    _p(
        "K3: a header cut off after its attributes",
        f"{CLOSE}response{SEP}" + k3('<|open|>call tool="python" index="1"', end=""),
        "",
    ),
    _p(
        "K3: an argument cut off",
        k3(
            tag(
                "python", arg("code", "string", "print(1", end="<|close|>argu"), end=""
            ),
            end="",
        ),
        "",
        finish="length",
    ),
    *(
        _p(f"K3: the piece {piece} at the end", f"all done{piece}", "all done")
        for piece in (
            "<|open|>",
            "<|close|>",
            "<|close|>message",
            "<|close|>response",
            "<|open|>response",
            "<|close|>mess",
        )
    ),
    *(
        _p(
            f"K3: the piece {piece} ends thinking",
            f"{OPEN}think{SEP}deep{piece}",
            "",
            thought="deep",
        )
        for piece in ("<|close|>", "<|close|>think", "<|close|>think<|se")
    ),
    _p(
        "K3: a sentence with a tag in code",
        f"Write `{TURN}` at the end.",
        f"Write `{TURN}` at the end.",
    ),
)

BY_DESIGN = (
    # What is half-written is not called, though some servers hand it on.
    _p(
        "half a call at the end",
        SB + one("functions.weather:0", '{"city": ', end=""),
        "",
    ),
    _p(
        "a whole call cut at the length",
        SB + one("functions.weather:0", '{"city": "Oslo"}', end=""),
        "",
        finish="length",
    ),
    # A brace is not added: the model gets the error, and the call is not guessed.
    _p(
        "a brace is missing",
        k2(one("functions.weather:0", '{"city": "Oslo"'), ROME),
        "",
        ("weather", '{"city": "Oslo"'),
        TOLD_ROME,
    ),
    # Text that no tag marks as thinking is the answer.
    _p("thinking without any tag", "implicit reasoning", "implicit reasoning"),
)

PARSED = (*PLAIN, *K2_CALLS, *K2_IDS, *K2_MARKERS, *THINKING, *K3_PARSED, *BY_DESIGN)
