"""Types become schemas that every host takes, and valid JSON becomes the types."""

import dataclasses
import datetime
import decimal
import enum
import re
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import annotated_types
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.dialects import problems, values

from kimikit import schema
from kimikit.errors import BadInput
from kimikit.schema import for_hosts
from kimikit.tools import tool


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Place(TypedDict):
    city: str
    country: NotRequired[str]


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)


class Box(msgspec.Struct):
    corner: Point
    size: int = 1


class Pair(NamedTuple):
    left: int
    right: str


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(description="What it is.", min_length=1)
    count: int = 1
    colour: Colour | None = None


class Order(pydantic.BaseModel):
    items: list[Item]
    kind: Literal["gift"] = "gift"


class Tree(msgspec.Struct):
    children: list["Tree"] = []


class Node(pydantic.BaseModel):
    inner: Optional["Node"] = None


MAYBE_OBJECT = {"type": ["object", "null"]}
STRING, INTEGER = {"type": "string"}, {"type": "integer"}
NUMBER, BOOLEAN, NULL = {"type": "number"}, {"type": "boolean"}, {"type": "null"}
OBJECT = {"type": "object"}
SCALARS = [STRING, NUMBER, BOOLEAN, OBJECT, NULL]
ANY = {"anyOf": [*SCALARS, {"type": "array", "items": {"anyOf": SCALARS}}]}
POINT = {
    "type": "object",
    "properties": {
        "x": NUMBER,
        "y": {**NUMBER, "default": 0.0},
        "tags": {"type": "array", "items": STRING},
    },
    "required": ["x"],
}
PLACE = {
    "type": "object",
    "properties": {"city": STRING, "country": STRING},
    "required": ["city"],
}
ITEM = {
    "type": "object",
    "properties": {
        "name": {**STRING, "description": "What it is.", "minLength": 1},
        "count": {**INTEGER, "default": 1},
        "colour": {
            "default": None,
            "anyOf": [{**STRING, "enum": ["red", "blue"]}, NULL],
        },
    },
    "required": ["name"],
}
RED_BLUE = {**STRING, "enum": ["blue", "red"]}
TWO = {"minItems": 2, "maxItems": 2}
NOON = "2026-11-23T12:00:00Z"
NOON_UTC = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


def array(items, **more):
    return {"type": "array", "items": items, **more}


def either(*branches, **more):
    return {"anyOf": list(branches), **more}


TYPES = [
    # hint, its schema, a JSON value, the Python value
    (str, STRING, "a", "a"),
    (int, INTEGER, 3, 3),
    (float, NUMBER, 3, 3.0),
    (bool, BOOLEAN, True, True),
    (None, NULL, None, None),
    (Any, ANY, [1, "a"], [1, "a"]),
    (Optional[int], either(INTEGER, NULL), None, None),  # noqa: UP045
    (int | None, either(INTEGER, NULL), 4, 4),
    (str | None, either(STRING, NULL), "null", "null"),
    (int | str, either(INTEGER, STRING), "4", "4"),
    (bool | int | None, either(BOOLEAN, INTEGER, NULL), 0, 0),
    (float | list[float], either(NUMBER, array(NUMBER)), [1], [1.0]),
    (Literal["a", "b"], {**STRING, "enum": ["a", "b"]}, "b", "b"),
    (Literal["a"], {**STRING, "enum": ["a"]}, "a", "a"),
    (Literal[1, 2], {**INTEGER, "enum": [1, 2]}, 2, 2),
    (Literal["a"] | None, either({**STRING, "enum": ["a"]}, NULL), None, None),
    (
        Literal["a", 1, None],
        either(NULL, {**INTEGER, "enum": [1]}, {**STRING, "enum": ["a"]}),
        1,
        1,
    ),
    (Colour, RED_BLUE, "red", Colour.RED),
    (Level, {**INTEGER, "enum": [1, 2]}, 2, Level.HIGH),
    (Colour | None, either(RED_BLUE, NULL), "blue", Colour.BLUE),
    (list[Colour], array(RED_BLUE), ["red"], [Colour.RED]),
    (list, array({"anyOf": SCALARS}), [1, "a", None], [1, "a", None]),
    (list[int], array(INTEGER), [1], [1]),
    (list[list[int]], array(array(INTEGER)), [[1], []], [[1], []]),
    (list[int | None], array(either(INTEGER, NULL)), [1, None], [1, None]),
    (tuple[int, ...], array(INTEGER), [1, 2], (1, 2)),
    (
        tuple[int, str],
        array(
            either(INTEGER, STRING),
            prefixItems=[INTEGER, STRING],
            minItems=2,
            maxItems=2,
        ),
        [1, "a"],
        (1, "a"),
    ),
    (
        tuple[float, float],
        array(NUMBER, prefixItems=[NUMBER, NUMBER], minItems=2, maxItems=2),
        [1, 2.5],
        (1.0, 2.5),
    ),
    (
        list[tuple[str, int]],
        array(
            array(
                either(STRING, INTEGER),
                prefixItems=[STRING, INTEGER],
                minItems=2,
                maxItems=2,
            )
        ),
        [["a", 1]],
        [("a", 1)],
    ),
    (set[int], array(INTEGER, uniqueItems=True), [1, 2], {1, 2}),
    (frozenset[str], array(STRING, uniqueItems=True), ["a"], frozenset("a")),
    (dict, OBJECT, {"a": [1]}, {"a": [1]}),
    (dict[str, int], {**OBJECT, "additionalProperties": INTEGER}, {"a": 1}, {"a": 1}),
    (dict[str, Any], OBJECT, {"a": None}, {"a": None}),
    (
        dict[str, Point],
        {**OBJECT, "additionalProperties": POINT},
        {"a": {"x": 1}},
        {"a": Point(1.0)},
    ),
    (Place, PLACE, {"city": "Oslo"}, {"city": "Oslo"}),
    (list[Place], array(PLACE), [{"city": "Oslo"}], [{"city": "Oslo"}]),
    (Point, POINT, {"x": 1, "tags": ["a"]}, Point(1.0, 0.0, ["a"])),
    (Point | None, either(POINT, NULL), {"x": 2}, Point(2.0)),
    (
        Box,
        {
            "type": "object",
            "properties": {"corner": POINT, "size": {**INTEGER, "default": 1}},
            "required": ["corner"],
        },
        {"corner": {"x": 0}},
        Box(Point(0.0)),
    ),
    (
        Pair,
        array(
            either(INTEGER, STRING),
            prefixItems=[INTEGER, STRING],
            minItems=2,
            maxItems=2,
        ),
        [1, "b"],
        Pair(1, "b"),
    ),
    (Item, ITEM, {"name": "a", "colour": "red"}, Item(name="a", colour=Colour.RED)),
    (Item | None, either(ITEM, NULL), {"name": "a"}, Item(name="a")),
    (list[Item], array(ITEM), [{"name": "a"}], [Item(name="a")]),
    (
        Order,
        {
            "type": "object",
            "properties": {
                "items": array(ITEM),
                "kind": {**STRING, "enum": ["gift"], "default": "gift"},
            },
            "required": ["items"],
        },
        {"items": [{"name": "a"}]},
        Order(items=[Item(name="a")]),
    ),
    (datetime.datetime, {**STRING, "format": "date-time"}, NOON, NOON_UTC),
    (
        datetime.datetime | None,
        either({**STRING, "format": "date-time"}, NULL),
        NOON,
        NOON_UTC,
    ),
    (datetime.date, {**STRING, "format": "date"}, "2026-11-23", NOON_UTC.date()),
    (datetime.time, {**STRING, "format": "time"}, "09:30:00", datetime.time(9, 30)),
    (
        datetime.timedelta,
        {**STRING, "format": "duration"},
        "PT90S",
        datetime.timedelta(seconds=90),
    ),
    (uuid.UUID, {**STRING, "format": "uuid"}, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
    (
        decimal.Decimal,
        {**STRING, "format": "decimal"},
        "1.10",
        decimal.Decimal("1.10"),
    ),
    (bytes, {**STRING, "contentEncoding": "base64"}, "a2ltaQ==", b"kimi"),
    (
        Path,
        {**STRING, "description": "Path of a file or folder."},
        "a/b.txt",
        Path("a/b.txt"),
    ),
    (
        list[Path],
        array({**STRING, "description": "Path of a file or folder."}),
        ["a"],
        [Path("a")],
    ),
    (
        Annotated[int, msgspec.Meta(ge=1, le=9, description="How many.")],
        {**INTEGER, "minimum": 1, "maximum": 9, "description": "How many."},
        9,
        9,
    ),
    (
        Annotated[float, annotated_types.Gt(0), annotated_types.Lt(1)],
        {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        0.5,
        0.5,
    ),
    (
        Annotated[str, pydantic.Field(pattern="ab+", description="Code.")],
        {**STRING, "pattern": "^.*(ab+).*$", "description": "Code."},
        "xabby",
        "xabby",
    ),
    (
        list[Annotated[int, annotated_types.MultipleOf(5)]],
        array({**INTEGER, "multipleOf": 5}),
        [5, 10],
        [5, 10],
    ),
    (
        Annotated[list[str], annotated_types.Len(1, 3), "Names."],
        array(STRING, minItems=1, maxItems=3, description="Names."),
        ["a"],
        ["a"],
    ),
    (Annotated[str, "A city."], {**STRING, "description": "A city."}, "a", "a"),
]


def dumped(value):
    model = hasattr(value, "model_dump")
    return value.model_dump(mode="json") if model else str(value)


def as_function(hint):
    """Return a tool with one parameter of the type."""

    def take(value):
        """Take a value."""
        return value

    take.__annotations__ = {"value": hint}
    return tool(take)


def without_empty_defaults(schema):
    """Leave out ``"default": []``: msgspec 0.23 tells of a dataclass's factory, 0.22 does not."""
    if isinstance(schema, list):
        return [without_empty_defaults(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {k: without_empty_defaults(v) for k, v in schema.items()}
    return {k: v for k, v in told.items() if (k, v) != ("default", [])}


def test_there_are_sixty():
    assert len(TYPES) >= 60


@pytest.mark.parametrize(("hint", "expected", "given_", "made"), TYPES, ids=str)
def test_type_has_its_schema_and_its_value(hint, expected, given_, made):
    taken = as_function(hint)
    parameters = taken.schema["function"]["parameters"]
    assert without_empty_defaults(parameters["properties"]) == {"value": expected}
    assert parameters["required"] == ["value"]
    Draft202012Validator.check_schema(parameters)
    assert problems(parameters) == []
    Draft202012Validator(parameters).validate({"value": given_})
    value = taken.bind({"value": given_})["value"]
    assert value == made
    assert type(value) is type(made)


@pytest.mark.parametrize("hint", [row[0] for row in TYPES], ids=str)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_all_that_the_schema_allows_is_taken_and_keeps_its_meaning(hint, data):
    """What is generated from the schema converts, and says the same as JSON again."""
    form = schema.of(hint)
    given_ = data.draw(values(form))
    Draft202012Validator(form).validate(given_)
    value = schema.convert(given_, hint)
    plain = msgspec.to_builtins(
        value,
        enc_hook=lambda v: (
            v.model_dump(mode="json") if hasattr(v, "model_dump") else str(v)
        ),
    )
    assert schema.convert(plain, hint) == value


@pytest.mark.parametrize(
    ("hint", "part"),
    [
        (complex, "complex"),
        (type, "type"),
        (list[int] | set[int], "array-like"),
        (str | datetime.date, "str-like"),
        (Path | str, "custom type"),
    ],
    ids=str,
)
def test_what_has_no_schema_is_refused_with_the_reason(hint, part):
    with pytest.raises(BadInput, match=part):
        schema.of(hint)


@pytest.mark.parametrize(
    ("value", "hint", "made"),
    [
        ("3", int, 3),
        (3.0, int, 3),
        ("true", bool, True),
        ("null", int | None, None),
        ("0.5", float, 0.5),
        ({"1": "a"}, dict[int, str], {1: "a"}),
    ],
)
def test_what_models_get_slightly_wrong_is_taken(value, hint, made):
    assert schema.convert(value, hint) == made


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("x", int, "Expected `int`, got `str` - at `n`"),
        ([1, "b"], list[int], "Expected `int`, got `str` - at `n[1]`"),
        ({"corner": {"x": "q"}}, Box, "Expected `float`, got `str` - at `n.corner.x`"),
        ({"count": 1}, Item, "name: Field required - at `n`"),
        (3, Path, "Expected `str`, got `int` - at `n`"),
        (7, Annotated[int, annotated_types.Le(5)], "Expected `int` <= 5 - at `n`"),
    ],
)
def test_an_error_names_the_place_and_what_was_expected(value, hint, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        schema.convert(value, hint, at="n")


def test_schemas_of_others_are_put_into_words_that_hosts_take():
    foreign = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Search",
        "type": "object",
        "definitions": {"page": {"type": "integer", "minimum": 1}},
        "properties": {
            "page": {"$ref": "#/definitions/page", "description": "Which."},
            "text": {"type": ["string", "null"], "minLength": 1},
            "mode": {"enum": ["a", 1, None]},
            "one": {"const": "x"},
            "open": {},
            "any": True,
            "mix": {"oneOf": [{"type": "string"}, {"items": {"type": "integer"}}]},
            "both": {
                "allOf": [
                    {"properties": {"a": STRING}, "required": ["a"]},
                    {"properties": {"b": STRING}, "required": ["b"]},
                ],
                "type": "object",
            },
            "map": {"type": "object", "additionalProperties": {"type": ["integer"]}},
            "code": {"pattern": "^ab"},
            "moved": {
                "type": "object",
                "anyOf": [{"required": []}, {"properties": {}}],
            },
        },
    }
    made = for_hosts.accepted(foreign).schema
    assert problems(made) == []
    Draft202012Validator.check_schema(made)
    properties = made["properties"]
    assert properties["page"] == {**INTEGER, "minimum": 1, "description": "Which."}
    assert properties["text"] == either({**STRING, "minLength": 1}, NULL)
    assert sorted(properties["both"]["required"]) == ["a", "b"]
    assert properties["code"] == {**STRING, "pattern": "^(ab).*$"}
    assert properties["moved"] == OBJECT
    assert properties["open"] == ANY
    assert for_hosts.accepted(made).schema == made


def test_alternatives_at_the_root_become_one_object():
    """Moonshot wants an object at the root, and no type beside anyOf."""
    made = for_hosts.accepted(
        {
            "type": "object",
            "properties": {"a": STRING, "b": STRING, "c": INTEGER},
            "anyOf": [{"required": ["a", "c"]}, {"required": ["b", "c"]}],
        }
    ).schema
    assert made == {
        "type": "object",
        "properties": {"a": STRING, "b": STRING, "c": INTEGER},
        "required": ["c"],
    }


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ({"type": "array", "items": STRING}, "must describe an object"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "refers to nothing"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:9/a"}}}, "nothing is fetched"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "nothing is fetched"),
    ],
)
def test_schemas_that_no_words_help_are_refused(bad, part):
    with pytest.raises(BadInput, match=part):
        for_hosts.accepted(bad)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.sampled_from([{}, True, STRING, {"enum": [1, "a"]}, {"const": None}]),
        lambda inner: st.one_of(
            st.builds(lambda i: {"type": "array", "items": i}, inner),
            st.builds(lambda a, b: {"anyOf": [a, b], "type": "object"}, inner, inner),
            st.builds(lambda a, b: {"allOf": [a, b]} if a and b else {}, inner, inner),
            st.builds(
                lambda a: {"type": ["object", "null"], "properties": {"a": a}}, inner
            ),
            st.builds(lambda a: {"prefixItems": [a], "default": 1}, inner),
        ),
        max_leaves=6,
    )
)
def test_whatever_comes_in_what_goes_out_is_accepted(part):
    made = for_hosts.accepted({"type": "object", "properties": {"part": part}}).schema
    assert [p for p in problems(made) if "too deep" not in p] == []
