"""An answer of the asked type, or the error that says why not."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import annotated_types
import jsonschema
import msgspec
import pydantic
import pytest
from support.prompting import FakeClient, answer

from kimikit.errors import (
    BadInput,
    BadRequest,
    ContentFiltered,
    InvalidAnswer,
    NotSupported,
)
from kimikit.prompting import structured
from kimikit.types import Wait


@dataclass
class City:
    name: str
    people: int


class CityStruct(msgspec.Struct):
    name: str
    people: int


class CityDict(TypedDict):
    name: str
    people: int


class CityModel(pydantic.BaseModel):
    name: str
    people: int = pydantic.Field(gt=0)


class Colour(Enum):
    RED = "dark red"


@dataclass
class Measured:
    metres: float


JSON = '{"name": "Oslo", "people": 717000}'


@pytest.mark.parametrize("kind", [City, CityStruct, CityDict, CityModel])
def test_every_kind_of_type_is_parsed(kind):
    client = FakeClient([JSON])
    reply = structured(client, "The capital of Norway?", kind)
    assert reply.parsed == kind(name="Oslo", people=717000)
    assert reply.text == JSON
    assert reply.notes == ()
    sent = client.calls[0]["response_format"]
    assert sent["type"] == "json_schema"
    schema = sent["json_schema"]["schema"]
    jsonschema.validate({"name": "Oslo", "people": 717000}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "Oslo"}, schema)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (list[int], '{"answer": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (Literal["yes", "no"], '{"answer": "yes"}', "yes"),
        (float, '{"answer": "2.5"}', 2.5),
        (int | None, '{"answer": null}', None),
        (dict[str, int], '{"answer": 3}', {"answer": 3}),
    ],
)
def test_plain_hints_are_asked_for_inside_an_object(hint, text, value):
    client = FakeClient([text])
    assert structured(client, "?", hint).parsed == value
    root = client.calls[0]["response_format"]["json_schema"]["schema"]
    assert root["type"] == "object"


PI = "3.14159265358979323846264338327950288"


class Bill(msgspec.Struct):
    total: Decimal
    seen: Any = None
    share: float = 0.0


@dataclass
class BillClass:
    total: Decimal
    seen: Any = None
    share: float = 0.0


class BillModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    total: Decimal
    seen: Any = None
    share: float = 0.0


class BillOfModel(pydantic.BaseModel):
    inner: list[BillModel | None]


@pytest.mark.parametrize(
    ("hint", "text", "digits"),
    [
        (Decimal, f'{{"answer": {PI}}}', PI),
        (Decimal, PI, PI),
        (Decimal | None, f"```json\n{PI}\n```", PI),
        (list[Decimal], "[1.50, 2]", "1.50"),
        (Bill, f'{{"total": {PI}}}', PI),
        (BillClass, f'It is {{"total": {PI}}}', PI),
        (BillModel, f'{{"total": {PI}}}', PI),
        (BillModel, '{"total": "1.10"}', "1.10"),
        (BillOfModel, f'{{"inner": [null, {{"total": -{PI}}}]}}', f"-{PI}"),
        (Annotated[Decimal, pydantic.Field(gt=3)], f'{{"answer": {PI}}}', PI),
        (list[Annotated[Decimal, annotated_types.Lt(4)]], f"[{PI}]", PI),
        (dict[str, Decimal], '{"a": 1e-30}', "1E-30"),
    ],
)
def test_a_decimal_has_the_digits_that_were_written(hint, text, digits):
    reply = structured(FakeClient([text]), "?", hint)
    assert f"Decimal('{digits}')" in repr(reply.parsed)


@pytest.mark.parametrize("kind", [Bill, BillClass, BillModel])
def test_other_numbers_beside_a_decimal_are_floats(kind):
    text = f'{{"total": {PI}, "seen": [{PI}, {{"a": 1.50}}], "share": {PI}}}'
    found = structured(FakeClient([text]), "?", kind).parsed
    seen = [float(PI), {"a": 1.5}]
    assert found == kind(total=Decimal(PI), seen=seen, share=float(PI))
    assert type(found.share) is type(found.seen[0]) is float


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (Literal["yes", "no"], "yes\n", "yes"),
        (Colour, "dark red", Colour.RED),
        (date, "2024-02-29", date(2024, 2, 29)),
        (bool, "True", True),
        (str, "Oslo is the capital.", "Oslo is the capital."),
    ],
)
def test_what_is_one_of_the_type_needs_no_quotes(hint, text, value):
    """Models leave them out; asking again would be paid for."""
    client = FakeClient([text])
    assert structured(client, "?", hint).parsed == value
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Literal["yes", "no"], "Yes or no?"),
        (str, '{"answer": "Os'),
        (str, '"Oslo'),
        (date, "2023-02-29"),
        (int, "1,234"),
        (float, "NaN"),
        (float, "1e999"),
        (Decimal, "Infinity"),
        (list[float], '{"answer": [1, -Infinity]}'),
        (Measured, '{"metres": NaN}'),
        (Measured, 'It is\n```json\n{"metres": 1e400}\n```'),
    ],
)
def test_what_is_none_of_the_type_is_refused(hint, text):
    with pytest.raises(InvalidAnswer, match=r"after 1 try\."):
        structured(FakeClient([text]), "?", hint, retries=0)


@pytest.mark.parametrize(
    ("text", "note"),
    [(f"```json\n{JSON}\n```", "a code fence"), (f"Sure! {JSON}", "the text around")],
)
def test_json_is_taken_out_of_what_surrounds_it_and_said_so(text, note):
    reply = structured(FakeClient([text]), "?", City)
    assert reply.parsed == City("Oslo", 717000)
    assert note in reply.notes[0]


def test_the_error_goes_back_and_all_attempts_are_paid_for():
    seen = []
    client = FakeClient(['{"name": "Oslo", "people": "many"}', "Sorry?", JSON])
    reply = structured(client, "?", City, watch=seen.append)
    assert reply.parsed == City("Oslo", 717000)
    assert reply.usage.prompt_tokens == 30
    assert reply.cost == Decimal("0.003")
    assert reply.duration_s == 1.5
    assert reply.first_token_s == 0.1
    assert reply.notes == (
        "It took 3 answers; tokens, cost and seconds are of all of them.",
    )
    question, wrong, told = client.calls[1]["messages"]
    assert question == {"role": "user", "content": "?"}
    assert wrong["content"] == '{"name": "Oslo", "people": "many"}'
    assert "Expected `int`, got `str` - at `$.people`" in told["content"]
    assert '"people":{"type":"integer"}' in client.calls[1]["system"]
    assert "Not JSON" in client.texts[2]
    waits = [step for step in seen if isinstance(step, Wait)]
    assert [wait.attempt for wait in waits] == [1, 2]


def test_after_two_repairs_the_last_reply_comes_with_the_error():
    client = FakeClient(["one", "two", "three", "four"])
    with pytest.raises(
        InvalidAnswer, match="No answer fits City after 3 tries"
    ) as caught:
        structured(client, "?", City)
    assert len(client.calls) == 3
    assert caught.value.reply.text == "three"
    assert caught.value.reply.cost == Decimal("0.003")
    assert isinstance(caught.value.__cause__, ValueError)


def test_pydantic_says_what_is_wrong():
    client = FakeClient(['{"name": "Oslo", "people": 0}', JSON])
    assert structured(client, "?", CityModel).parsed.people == 717000
    assert "greater than 0" in client.texts[1]


def test_no_repair_when_none_is_wanted():
    with pytest.raises(InvalidAnswer, match="after 1"):
        structured(FakeClient(["no"]), "?", City, retries=0)


def test_an_answer_cut_by_max_tokens_is_not_repaired():
    client = FakeClient([answer('{"name": "Os', finish_reason="length")])
    with pytest.raises(InvalidAnswer, match="Raise max_tokens"):
        structured(client, "?", City)


def test_a_repeated_schema_is_told_from_a_cut_answer():
    client = FakeClient(
        lambda messages, params: answer(
            f"{params['system'].partition('Schema: ')[2]} {{", finish_reason="length"
        )
    )
    with pytest.raises(InvalidAnswer, match="repeats the schema"):
        structured(client, "?", City, schema="prompt")


def test_a_broken_stream_is_no_answer_even_if_it_parses():
    client = FakeClient([answer(JSON, truncated=True), JSON])
    assert "2 answers" in structured(client, "?", City).notes[-1]


def test_a_stopped_answer_comes_back_as_it_is():
    client = FakeClient([answer('{"name": "Os', partial=True)])
    reply = structured(client, "?", City)
    assert reply.partial
    assert reply.parsed is None
    assert reply.text == '{"name": "Os'
    assert "stopped" in reply.notes[0]


def test_a_call_of_tools_is_handed_on():
    from kimikit.types import ToolCall

    client = FakeClient([answer("", tool_calls=(ToolCall("functions.f:0", "f"),))])
    reply = structured(client, "?", City, tools=[])
    assert reply.tool_calls
    assert "tools" in reply.notes[0]


@pytest.mark.parametrize(
    "refusal",
    [
        BadRequest("response_format is not known.", "Leave it out.", status=400),
        NotSupported("No json_schema here.", "Leave it out."),
    ],
)
def test_a_host_that_refuses_schemas_is_asked_without(refusal):
    client = FakeClient([refusal, "hm", JSON])
    reply = structured(client, "?", City, system="Be brief.")
    assert reply.parsed == City("Oslo", 717000)
    assert "refused response_format" in reply.notes[0]
    assert "response_format" not in client.calls[1]
    assert client.calls[1]["system"].startswith("Be brief.\n\nAnswer with JSON alone")
    assert "response_format" not in client.calls[2], "it is not tried again"


def test_the_schema_joins_a_system_message_that_is_there():
    client = FakeClient([JSON])
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "?"},
    ]
    structured(client, messages, City, schema="prompt")
    sent = client.calls[0]["messages"]
    assert sent[0]["content"].startswith("Be brief.\n\nAnswer with JSON")
    assert messages[0]["content"] == "Be brief.", "the caller's list stays as it was"
    assert "system" not in client.calls[0]


def test_other_refusals_are_not_mistaken_for_that():
    refusal = ContentFiltered("Refused.", "Reword it.", status=400)
    with pytest.raises(ContentFiltered):
        structured(FakeClient([refusal]), "?", City)
    refusal = BadRequest("No.", "Change it.", status=400)
    with pytest.raises(BadRequest):
        structured(FakeClient([refusal]), "?", City, schema="host")


@pytest.mark.parametrize(
    ("into", "options", "named"),
    [
        (object(), {}, "JSON Schema"),
        (City, {"retries": -1}, "retries=-1"),
        (City, {"schema": "yes"}, "schema='yes'"),
    ],
)
def test_nothing_is_sent_for_bad_input(into, options, named):
    client = FakeClient([JSON])
    with pytest.raises(BadInput, match=named):
        structured(client, "?", into, **options)
    assert client.calls == []


@pytest.mark.parametrize("retries", ["2", 1.5, True, -1])
def test_retries_are_a_whole_number(retries):
    with pytest.raises(BadInput, match="retries"):
        structured(None, "?", int, retries=retries)


def refuse_below_0(value: int) -> int:
    if value < 0:
        raise ValueError("below 0")
    return value


@pytest.mark.parametrize(
    ("kind", "said", "part"),
    [
        (Colour, '"pink"', "Invalid enum value 'pink'"),
        (Annotated[int, pydantic.AfterValidator(refuse_below_0)], "-1", "below 0"),
        (list[CityModel], '[{"name": "a", "people": 0}]', "greater than 0"),
        (list[int], '["a"]', "Expected `int`, got `str`"),
    ],
)
def test_a_wrapped_answer_is_refused_for_what_is_wrong_inside(kind, said, part):
    client = FakeClient([f'{{"answer": {said}}}'])
    with pytest.raises(InvalidAnswer, match=part) as caught:
        structured(client, "?", kind, retries=0)
    assert "$.answer" in str(caught.value)
