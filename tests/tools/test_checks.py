"""A schema of others is checked against in bounded time, and fetches nothing."""

import contextlib
import os
import subprocess
import sys
import time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.dialects import problems
from support.scripts import Scripted, call, calls

from kimikit.errors import BadInput, BadTool
from kimikit.schema.for_hosts import PARTS, accepted
from kimikit.tools import Tool, checks, run
from kimikit.tools import tool as function_tool
from kimikit.types import Reply

STRING = {"type": "string"}


def of(**properties):
    return {"type": "object", "properties": properties}


def made(schema):
    return Tool.from_schema("t", "Does.", schema, lambda **given: given)


def seconds(work):
    start = time.thread_time()
    work()
    return time.thread_time() - start


EXPONENTIAL = ["^(a+)+$", "(a|a)*$", "^(a|aa)+$", r"(\w+\s?)*$", "(.*)*(.*)*(.*)*x$"]


@pytest.mark.parametrize("pattern", EXPONENTIAL)
@pytest.mark.parametrize("where", ["pattern", "patternProperties"])
def test_a_pattern_is_matched_in_linear_time(pattern, where):
    text = "a" * 50_000 + "!"
    if where == "pattern":
        tool, given = made(of(a={"type": "string", "pattern": pattern})), {"a": text}
    else:
        tool = made({"type": "object", "patternProperties": {pattern: STRING}})
        given = {text: 1}

    def bind():
        with contextlib.suppress(BadInput):
            tool.bind(given)

    assert seconds(bind) < 5, "the engine of Python would not end"


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        (r"^\p{L}+$", "Ünï", "a1"),
        (r"^\p{Lu}\d$", "Ä1", "ä1"),
        (r"^[\d\-]+$", "1-2", "a"),
        (r"^[[\]]$", "[", "x"),
        (r"^\u00e9$", "é", "e"),
        (r"^\/a\/$", "/a/", "a"),
        (r"^\d$", "1", "٣"),
        (r"^\w$", "a", "é"),
        (r"^[^\s&&~~]+$", "a", "&"),
        ("b", "abc", "ac"),
        (r"^(?<year>\d{4})$", "2026", "26"),
        ("^(?:a|b)$", "a", "c"),
        (r"^a\.b$", "a.b", "axb"),
        ("", "", None),
    ],
)
def test_patterns_mean_what_they_mean_in_javascript(pattern, fits, not_):
    tool = made(of(a={"type": "string", "pattern": pattern}))
    assert problems(tool.schema["function"]["parameters"]) == []
    assert tool.bind({"a": fits}) == {"a": fits}
    if not_ is not None:
        with pytest.raises(BadInput, match="does not match"):
            tool.bind({"a": not_})


@pytest.mark.parametrize(
    "pattern", [r"(?=a)b", r"(a)\1", "(", "[", "a{1,99999999}", "\\"]
)
def test_what_no_linear_engine_takes_is_left_to_its_author(pattern):
    tool = made(of(a={"type": "string", "pattern": pattern}))
    assert tool.bind({"a": "a" * 10_000}) == {"a": "a" * 10_000}
    sent = tool.schema["function"]["parameters"]["properties"]["a"]
    assert "pattern" not in sent
    assert sent["description"] == f"It must match the pattern {pattern}"


def test_a_schema_of_references_that_double_is_bounded():
    parts = {f"a{i}": of(x={"$ref": f"#/$defs/a{i + 1}"}, y={"$ref": f"#/$defs/a{i + 1}"})
             for i in range(40)}  # fmt: skip
    schema = {**of(a={"$ref": "#/$defs/a0"}), "$defs": {**parts, "a40": STRING}}

    def count(node):
        return 1 + sum(map(count, node.values())) if isinstance(node, dict) else 0

    assert count(accepted(schema).schema) < 20 * PARTS
    tool = made(schema)
    assert problems(tool.schema["function"]["parameters"]) == []
    assert tool.bind({"a": {"x": {"y": {}}}})
    with pytest.raises(BadInput, match="not of type 'object'"):
        tool.bind({"a": {"x": {"y": 3}}})


def test_alternatives_that_double_are_not_tried_for_ever():
    parts = {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
    schema = {**of(a={"$ref": "#/$defs/a0"}), "$defs": {**parts, "a40": STRING}}
    with pytest.raises(BadInput, match="too involved to be checked"):
        made(schema).bind({"a": 3})


def test_what_is_nested_without_end_is_refused():
    deep = STRING
    for _ in range(3_000):
        deep = of(x=deep)
    with pytest.raises(BadTool, match="no schema for a tool"):
        made(deep)
    tool = made({**of(), "additionalProperties": {"$ref": "#"}})
    value = {}
    for _ in range(3_000):
        value = {"x": value}
    with pytest.raises(BadInput, match="nested too deeply"):
        tool.bind(value)
    with pytest.raises(BadInput, match="nested too deeply"):
        made(
            {**of(a={"$ref": "#/$defs/a"}), "$defs": {"a": {"$ref": "#/$defs/a"}}}
        ).bind({"a": 1})


def test_a_schema_deeper_than_hosts_take_ends_in_words():
    deep = STRING
    for _ in range(30):
        deep = of(x=deep)
    tool = made(deep)
    assert problems(tool.schema["function"]["parameters"]) == []


def test_many_problems_are_told_in_part():
    schema = {"type": "object", "additionalProperties": STRING}
    with pytest.raises(BadInput) as caught:
        made(schema).bind({f"k{i}": i for i in range(1_000)})
    assert str(caught.value).count(" - at ") == 10


@pytest.mark.parametrize("digits", [5_000, 100_000])
def test_a_number_of_very_many_digits_is_an_error_for_the_model(digits):
    asked = calls(call("t", 0))
    number = "9" * digits
    piece = asked.tool_calls[0]
    piece = msgspec.structs.replace(piece, arguments=f'{{"a": {number}}}')
    asked = msgspec.structs.replace(asked, tool_calls=(piece,))
    done = run(
        Scripted(asked, Reply(text="ok")), "go", [made(of(a={"type": "integer"}))]
    )
    assert done.stop_reason == "done"
    assert repr(done)
    assert done._repr_html_()


def test_mending_takes_out_what_makes_it_no_schema():
    assert checks.mended({"type": "object", "properties": {"a": {"title": None}}}) == {
        "type": "object", "properties": {"a": {}},
    }  # fmt: skip
    assert checks.mended({"properties": 3, "required": ["a", 1]}) == {"required": ["a"]}
    assert checks.mended([1]) == {}
    fine = of(a={"type": "integer", "exclusiveMinimum": True, "minimum": 0})
    assert checks.mended(fine) == fine


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
)  # fmt: skip
TYPES = st.sampled_from(
    ["string", "integer", "number", "boolean", "null", "object", "array", "file", ""]
)
NAMES = st.sampled_from(["a", "b", "required", "anyOf", "$ref", "type", "properties"])
REFS = st.sampled_from(
    ["#", "#/", "#/$defs/a", "#/definitions/a", "#/properties/a", "#a", "a", "##", "#/%",
     "#/$defs/a~1b", "http://127.0.0.1:9/a", "", "#/$defs/a/items/0", "urn:x"]
)  # fmt: skip


def schemas(inner):
    named = st.dictionaries(NAMES, inner, max_size=3)
    some = st.lists(inner, max_size=3)
    words = {
        "type": TYPES | st.lists(TYPES, max_size=2),
        "properties": named, "$defs": named, "definitions": named,
        "patternProperties": named, "items": inner | some, "prefixItems": some,
        "additionalItems": inner, "additionalProperties": inner, "anyOf": some,
        "oneOf": some, "allOf": some, "not": inner, "required": st.lists(NAMES) | JUNK,
        "$ref": REFS, "$id": REFS, "$anchor": st.just("a"), "$dynamicRef": REFS,
        "enum": st.lists(JUNK, max_size=3), "const": JUNK, "default": JUNK,
        "minimum": JUNK, "exclusiveMinimum": JUNK, "maxLength": JUNK, "title": JUNK,
        "pattern": st.text("^$a(b|)*+\\[]", max_size=5), "format": JUNK,
        "description": JUNK, "uniqueItems": JUNK, "$schema": REFS,
    }  # fmt: skip
    return st.fixed_dictionaries({}, optional=words) | JUNK


@settings(suppress_health_check=list(HealthCheck))
@given(
    st.recursive(JUNK, schemas, max_leaves=6),
    st.dictionaries(NAMES, st.recursive(JUNK, lambda i: st.dictionaries(NAMES, i))),
)
def test_any_schema_is_adapted_or_refused_by_name(schema, given_):
    if not isinstance(schema, dict):
        schema = of(a=schema)
    for one in (checks.mended(schema), schema):
        try:
            tool = made(one)
        except BadTool:
            continue
        assert problems(tool.schema["function"]["parameters"]) == []
        with contextlib.suppress(BadInput):
            tool.bind(given_)


@pytest.mark.parametrize("named", ["#/", "http://x"])
def test_a_reference_to_nothing_beside_one_to_the_whole_is_told(named):
    """The error of a library came out of the call."""
    tool = made({"type": "object", "$dynamicRef": named, "$ref": "#"})
    with pytest.raises(BadInput, match="their schema refers to"):
        tool.bind({"a": [1]})


@pytest.mark.parametrize(
    "part", [{}, {"type": "string"}, {"type": ["string", "null"]}, {"items": {}}]
)
def test_an_enum_without_values_is_not_sent_and_still_holds(part):
    tool = made(of(a={**part, "enum": []}))
    sent = tool.schema["function"]["parameters"]
    assert problems(sent) == []
    assert "enum" not in str(sent)
    with pytest.raises(BadInput):
        tool.bind({"a": "x"})
    assert problems(accepted({"properties": {}, "enum": []}).schema) == []


@pytest.mark.parametrize("value", [{}, {"b": 1}, [1]])
@pytest.mark.parametrize("more", [[], ["x"], [None, 1]])
def test_an_enum_of_objects_or_arrays_is_told_in_words(value, more):
    tool = made(of(a={"enum": [value, *more]}))
    sent = tool.schema["function"]["parameters"]
    assert problems(sent) == []
    told = f"It must be one of {msgspec.json.encode([value]).decode()}"
    assert told in str(sent)
    tool.bind({"a": value})
    with pytest.raises(BadInput):
        tool.bind({"a": {"c": 2}})


def test_a_schema_of_many_alternatives_of_many_properties_is_bounded():
    wide = {f"p{i}": STRING for i in range(2_000)}
    schema = {"type": "object", "properties": wide,
              "anyOf": [{"required": [f"p{i}"]} for i in range(2_000)]}  # fmt: skip
    assert seconds(lambda: accepted(schema)) < 5


def test_thousands_of_wrong_arguments_are_told_in_part():
    @function_tool
    def take(a: int, b: int = 0) -> int:
        """Take."""

    with pytest.raises(BadInput, match="and 1981 more") as caught:
        take.bind({f"x{i}" * 50: i for i in range(2_000)})
    assert len(str(caught.value)) < 5_000


IRI = """
import sys
from kimikit.tools.checks import validator
assert validator({"type": "string"}).is_valid("x")
assert "rfc3987_syntax" not in sys.modules, "it takes 3 s to import"
from jsonschema import FormatChecker
assert FormatChecker().conforms("good", "iri")
assert not FormatChecker().conforms("bad", "iri")
assert "rfc3987_syntax" in sys.modules
"""


def test_what_only_the_format_iri_needs_is_loaded_when_it_is_checked(tmp_path):
    stands_in = (
        "def is_valid_syntax(rule, text): return (rule, text) == ('iri', 'good')"
    )
    (tmp_path / "rfc3987_syntax.py").write_text(stands_in)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    env = {**os.environ, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", IRI], env=env, check=True)


@function_tool
def note(title: str, tags: list[str] = [], prices: dict[str, float] | None = None):  # noqa: B006
    """Write a note."""


NOTE = made(
    of(title=STRING, tags={"type": "array", "items": STRING},
       prices=of(tea={"type": "number"}))
)  # fmt: skip


@pytest.mark.parametrize("tool", [note, NOTE], ids=["function", "schema"])
@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"tags": '["a", "b"]'}, {"tags": ["a", "b"]}),
        ({"prices": ' {"tea": 1.5}'}, {"prices": {"tea": 1.5}}),
        ({"title": '["a"]'}, {"title": '["a"]'}),
        ({"title": '{"a": 1}', "tags": "[]"}, {"title": '{"a": 1}', "tags": []}),
        ({"tags": '["a"]', "prices": "{}"}, {"tags": ["a"], "prices": {}}),
    ],
)
def test_a_list_or_an_object_in_quotes_is_read_where_it_fits(tool, sent, read):
    """Kimi K2 writes them so now and then, and the next answer is paid for."""
    sent, read = ({"title": "x", **one} for one in (sent, read))
    assert tool.bind(sent) == read


@pytest.mark.parametrize("tool", [note, NOTE], ids=["function", "schema"])
@pytest.mark.parametrize(
    "wrong",
    [{"tags": "[1]"}, {"tags": "[a]"}, {"tags": '{"a": 1}'}, {"prices": "[]"},
     {"tags": "[" * 100_000}, {"tags": '["a"]', "prices": '{"tea": "x"}'}],
)  # fmt: skip
def test_what_does_not_fit_without_quotes_either_is_refused(tool, wrong):
    with pytest.raises(BadInput, match="do not fit"):
        tool.bind({"title": "x", **wrong})
