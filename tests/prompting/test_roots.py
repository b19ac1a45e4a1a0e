"""An answer is read from its root, or not at all."""

import json
import secrets
from dataclasses import dataclass

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.prompting import FakeClient, answer
from support.work import seconds

from kimikit.errors import InvalidAnswer
from kimikit.prompting import find_json, structured
from kimikit.prompting.extract import find_fitting, json_roots


class Ticket(pydantic.BaseModel):
    """Each field has a default, so any object would do."""

    title: str | None = None
    user: dict | None = None
    tags: list[str] = []


@dataclass
class City:
    name: str
    people: int = 0


class Note(msgspec.Struct):
    title: str = ""
    parts: list[dict] = []


WHOLE = {"title": "Printer", "user": {"name": "Bo"}, "tags": ["a"]}
BROKEN = {
    "stray quotes": '{"title": "The "red" printer", "user": {"name": "Bo"}, "tags": ["a"]}',
    "trailing comma": '{"title": "Printer", "user": {"name": "Bo"}, "tags": ["a"],}',
    "raw newline": '{"title": "line 1\nline 2", "user": {"name": "Bo"}, "tags": ["a"]}',
    "single quotes": "{'title': 'Printer', 'user': {\"name\": \"Bo\"}}",
    "bare names": '{title: "Printer", user: {"name": "Bo"}}',
    "comment": '{"title": "Printer", // the red one\n "user": {"name": "Bo"}}',
    "missing comma": '{"title": "Printer" "user": {"name": "Bo"}}',
    "bracket in a text": '{"title": "}", "user": {"name": "Bo"},}',
    "python": '{"title": None, "user": {"name": "Bo"}}',
    "brace too few": '{"title": "Printer", "user": {"name": "Bo"}',
    "brace too many": '{"title": "P"}, "user": {"name": "Bo"}}',
    "in a list": '[{"title": "Printer", "user": {"name": "Bo"}},, {}]',
}


@pytest.mark.parametrize("around", ["%s", "```json\n%s\n```", "Here it is:\n%s\nDone."])
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("kind", [Ticket, Note])
def test_a_broken_root_goes_back_to_the_model_and_no_part_of_it_is_taken(
    kind, text, around
):
    client = FakeClient([around % text, json.dumps(WHOLE)])
    reply = structured(client, "?", kind)
    assert reply.parsed.title == "Printer"
    assert "That does not fit" in client.texts[1]
    with pytest.raises(InvalidAnswer):
        structured(FakeClient([around % text]), "?", kind, retries=0)


@pytest.mark.parametrize("kind", [Ticket, Note, dict, list[dict], list[str]])
@pytest.mark.parametrize(
    "text",
    [
        '{"title": "Printer", "user": {"name": "Bo"}, "tags": ["a", "b',
        '[{"title": "Printer", "tags": ["a"]}, {"title": "Sca',
        'Sure!\n```json\n{"title": "Printer", "tags": ["a"], "user": {"na',
        '```json\n{"title": "Printer"}\n```\nThe second one is\n```json\n{"ti',
    ],
)
def test_what_was_cut_is_no_value(kind, text):
    for finish in ("length", "stop"):
        client = FakeClient([answer(text, finish_reason=finish)])
        with pytest.raises(InvalidAnswer):
            structured(client, "?", kind, retries=0)


def test_an_answer_that_is_whole_at_its_very_end_is_one():
    whole = answer(json.dumps(WHOLE), finish_reason="length")
    assert structured(FakeClient([whole]), "?", Ticket).parsed.title == "Printer"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (City, '{"name": "Bergen"}\nNo, rather: {"name": "Oslo"}', City("Oslo")),
        (City, '```json\n{"name": "Bergen"}\n```\n```json\n{"name": "Oslo"}\n```',
         City("Oslo")),
        (City, 'Like {"country": "Norway", "long": "and longer"}: {"name": "Oslo"}',
         City("Oslo")),
        (City, '{"name": "Oslo"}, see [1] and {"source": 2}.', City("Oslo")),
        (list[int], 'I took [1] out. {"answer": [2, 3]} as in [4].', [2, 3]),
        (list[int], "First [1], then [2, 3].", [2, 3]),
        (City, 'On [0, 1) it is {"name": "Oslo"}', City("Oslo")),
        (City, 'Call f({x}) for {"name": "Oslo"}.', City("Oslo")),
        (City, '{"name": "Oslo",}\n\nCorrected:\n{"name": "Oslo"}', City("Oslo")),
        (int, '```json\n7\n```', 7),
        (dict, '{"code": "def f():\\n    return {}"}', {"code": "def f():\n    return {}"}),
    ],
)  # fmt: skip
def test_of_several_the_last_that_fits_is_the_answer(kind, text, value):
    assert structured(FakeClient([text]), "?", kind, retries=0).parsed == value


def schema_told(messages, params):
    return json.loads(params["system"].partition("Schema: ")[2])


@pytest.mark.parametrize("kind", [Ticket, Note, City])
@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema,
        lambda schema: {**schema, "title": "Ticket", "$defs": {}},
        lambda schema: {"properties": {"title": "Printer", "name": "Oslo"}},
        lambda schema: {"type": "object", "properties": {"title": {"value": "x"}}},
    ],
)
def test_the_schema_said_back_is_no_answer(kind, change):
    client = FakeClient(lambda m, p: answer(json.dumps(change(schema_told(m, p)))))
    with pytest.raises(InvalidAnswer, match=r"repeats the schema|none of the fields"):
        structured(client, "?", kind, retries=0, schema="prompt")


def test_a_schema_that_was_asked_for_is_one():
    asked = {"type": "object", "properties": {"name": {"type": "string"}}}
    client = FakeClient([json.dumps(asked)])
    assert structured(client, "Write a schema.", dict).parsed == asked


def test_an_object_of_something_else_is_no_answer_of_defaults():
    client = FakeClient(['{"error": "I cannot"}', '{"title": "Printer"}'])
    assert structured(client, "?", Ticket).parsed.title == "Printer"
    assert "It has none of the fields tags, title, user" in client.texts[1]
    assert structured(FakeClient(["{}"]), "?", Ticket).parsed == Ticket()


class Named(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    title: str = pydantic.Field("", alias="docTitle")


def test_a_field_may_be_given_by_its_other_name():
    for text in ('{"docTitle": "x"}', '{"title": "x"}'):
        assert structured(FakeClient([text]), "?", Named).parsed.title == "x"


class Asked(pydantic.BaseModel):
    required: bool = False
    inner: "Asked | None" = None


def test_fields_with_names_that_hosts_refuse_come_back_under_their_own():
    client = FakeClient(['{"required_": true, "inner": {"required_": true}}'])
    reply = structured(client, "?", Asked)
    assert reply.parsed == Asked(required=True, inner=Asked(required=True))
    sent = client.calls[0]["response_format"]["json_schema"]["schema"]
    assert set(sent["properties"]) == {"required_", "inner"}


def test_what_a_text_holds_is_told_in_order():
    text = 'a {"x": 1} b [2] c {"y": 3,} d'
    found = json_roots(text)
    assert [root.value for root in found] == [{"x": 1}, [2], None]
    assert found[2].problem
    with pytest.raises(ValueError, match=r"property name|trailing comma"):
        find_fitting(text, dict)


@given(st.text("[]{}\",: '\n`1ab", max_size=60))
def test_any_text_is_read_or_refused(text):
    for root in json_roots(text):
        assert root.problem or root.value is not None or "null" in text
    try:
        value, _ = find_json(text)
    except ValueError:
        return
    assert json.dumps(value)


HOSTILE = [
    "{", "[", "[1 ", "[1,", '{"a":', "[x ", "]", '{"', "{} ", "[1] ", '"', "```\n",
    '{"a" }"', '{"a":1}}', '{"a":1},"', "{'", "```json\n[", "},", '[{"a":1},', "\\",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_work_on_a_hostile_text_grows_with_its_length(piece):
    def spent(size):
        text = piece * (size // len(piece))
        return seconds(json_roots, text)

    # Four times the text takes four times as long, sixteen if it were quadratic.
    tries = (spent(200_000) < 8 * spent(50_000) + 0.2 for _ in range(3))
    assert any(tries)  # mostly the first one tells, and the others are not begun


class Renamed(pydantic.BaseModel):
    """Reads other names than its schema tells."""

    size: int = pydantic.Field(validation_alias=pydantic.AliasChoices("size", "Size"))


class RenamedOrNot(Renamed):
    size: int = pydantic.Field(0, validation_alias=pydantic.AliasPath("sizes", 0))


class Unpacked(Ticket):
    """Takes itself out of what gateways put around it."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def unpack(cls, given: dict) -> dict:
        return given.get("data", given)


class Numbered(Ticket):
    number: str = pydantic.Field(default_factory=lambda: secrets.token_hex())


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Renamed, '{"Size": 3}'),
        (RenamedOrNot, '{"sizes": [3]}'),
        (Unpacked, '{"data": {"title": "Printer"}}'),
    ],
)
def test_what_only_a_validator_reads_is_an_answer(kind, text):
    value = structured(FakeClient([text]), "?", kind, retries=0).parsed
    assert value == kind.model_validate_json(text)


@pytest.mark.parametrize("kind", [RenamedOrNot, Unpacked, Numbered])
def test_what_no_validator_reads_is_none(kind):
    with pytest.raises(InvalidAnswer, match="none of the fields"):
        structured(FakeClient(['{"error": "no"}']), "?", kind, retries=0)
