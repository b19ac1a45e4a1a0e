"""What pydantic holds inside its own models is held in into= and in tools as well."""

import dataclasses
import datetime
import sys
import uuid
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypedDict,
    TypeVar,
    Union,
)

import annotated_types
import msgspec
import pydantic
import pytest
from jsonschema import Draft202012Validator
from pydantic import Field
from support.dialects import problems
from support.prompting import FakeClient

from kimikit import schema
from kimikit.errors import BadInput, InvalidAnswer
from kimikit.prompting import structured
from kimikit.tools import tool

T = TypeVar("T")


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


Even = Annotated[int, pydantic.AfterValidator(even)]


@pydantic.dataclasses.dataclass
class Order:
    count: Annotated[int, Field(gt=0)]
    kind: str = "new"

    @pydantic.field_validator("count")
    @classmethod
    def check(cls, value):
        return even(value)


@dataclasses.dataclass
class Plain:
    count: Annotated[int, Field(gt=0)]
    order: Order | None = None


@dataclasses.dataclass
class Bounded:
    count: Annotated[int, annotated_types.Gt(0)]


class Typed(TypedDict):
    count: Annotated[int, Field(gt=0)]


class Named(NamedTuple):
    count: Annotated[int, Field(gt=0)]


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: datetime.date
    id: uuid.UUID
    at: datetime.datetime | None = None
    tags: set[str] = set()
    pair: tuple[int, str] = (0, "")
    raw: bytes = b""


@pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(strict=True))
class StrictToo:
    day: datetime.date


class Window(pydantic.BaseModel):
    begin: int
    end: int

    @pydantic.model_validator(mode="after")
    def ordered(self):
        if self.end < self.begin:
            raise ValueError("it ends before it begins")
        return self


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    a: int


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Ids(pydantic.RootModel[list[int]]):
    pass


class Node(pydantic.BaseModel):
    value: int
    children: list["Node"] = []


class Leaf(msgspec.Struct):
    value: int
    inner: "Leaf | None" = None


Pet = Annotated[Union[Cat, Dog], Field(discriminator="kind")]  # noqa: UP007
ID = str(uuid.UUID(int=7))
DOG = {"kind": "dog", "name": "Rex"}

HELD = [
    # type, a value that fits, what it becomes, values that do not
    (Order, {"count": 2}, Order(2), [{"count": -2}, {"count": 3}, {"count": "x"}, {}]),
    (Order | None, {"count": 2}, Order(2), [{"count": 3}]),
    (list[Order], [{"count": 2}], [Order(2)], [[{"count": 3}]]),
    (dict[str, Order], {"a": {"count": 2}}, {"a": Order(2)}, [{"a": {"count": -2}}]),
    (Plain, {"count": 1}, Plain(1), [{"count": 0}, {"count": 1, "order": {"count": 3}}]),
    (Bounded, {"count": 1}, Bounded(1), [{"count": 0}]),
    (list[Bounded], [{"count": 1}], [Bounded(1)], [[{"count": 0}]]),
    (Typed, {"count": 1}, {"count": 1}, [{"count": 0}]),
    (list[Typed], [{"count": 1}], [{"count": 1}], [[{"count": 0}]]),
    (Named, [1], Named(1), [[0]]),
    (Even, 2, 2, [3]),
    (list[Even], [2], [2], [[3]]),
    (Annotated[int, Field(gt=0, multiple_of=3)], 3, 3, [0, 4]),
    (Annotated[int, Field(strict=True)], 3, 3, ["3"]),
    (Annotated[list[int], Field(max_length=1)], [1], [1], [[1, 2]]),
    (pydantic.PositiveInt, 3, 3, [0]),
    (pydantic.conint(ge=2), 3, 3, [1]),
    (Annotated[str, pydantic.StringConstraints(min_length=2)], "ab", "ab", ["a"]),
    (Union[Cat, Dog], DOG, Dog(**DOG), [{"kind": "cow"}, {"kind": "cat"}]),  # noqa: UP007
    (Cat | Dog | None, None, None, [{"kind": "cow"}]),
    (Pet, DOG, Dog(**DOG), [{"kind": "cow"}]),
    (list[Pet], [DOG], [Dog(**DOG)], [[{"kind": "cow"}]]),
    (list[Cat | Dog], [DOG], [Dog(**DOG)], [[{"kind": "cow"}]]),
    (Cat | str, "none", "none", [3]),
    (Cat | int, 3, 3, ["x"]),
    (dict[str, Cat | list[Dog]], {"a": [DOG]}, {"a": [Dog(**DOG)]}, [{"a": 3}]),
    (Strict, {"day": "2026-01-02", "id": ID, "at": "2026-01-02T03:04:05Z",
              "tags": ["a"], "pair": [1, "b"]},
     Strict(day=datetime.date(2026, 1, 2), id=uuid.UUID(int=7),
            at=datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), tags={"a"},
            pair=(1, "b")),
     [{"day": "2026-01-02"}, {"day": 3, "id": ID}]),
    (list[Strict], [{"day": "2026-01-02", "id": ID}],
     [Strict(day=datetime.date(2026, 1, 2), id=uuid.UUID(int=7))], [[{"day": 1}]]),
    (StrictToo, {"day": "2026-01-02"}, StrictToo(datetime.date(2026, 1, 2)), [{"day": 1}]),
    (Window, {"begin": 1, "end": 2}, Window(begin=1, end=2), [{"begin": 2, "end": 1}]),
    (Closed, {"a": 1}, Closed(a=1), [{"a": 1, "b": 2}]),
    (Page[Dog], {"items": [DOG]}, Page[Dog](items=[DOG]), [{"items": [3]}]),
    (Ids, [1, 2], Ids([1, 2]), [["a"]]),
    (Node, {"value": 1, "children": [{"value": 2}]},
     Node(value=1, children=[Node(value=2)]), [{"value": 1, "children": [{}]}]),
    (Leaf, {"value": 1, "inner": {"value": 2}}, Leaf(1, Leaf(2)),
     [{"value": 1, "inner": {}}]),
]  # fmt: skip
NAMES = [str(row[0])[:60] for row in HELD]


@pytest.mark.parametrize(("kind", "fits", "made", "wrong"), HELD, ids=NAMES)
def test_a_tool_takes_what_fits_and_refuses_the_rest(kind, fits, made, wrong):
    def take(value):
        """Take a value."""
        return value

    take.__annotations__ = {"value": kind}
    taken = tool(take)
    parameters = taken.schema["function"]["parameters"]
    assert problems(parameters) == []
    Draft202012Validator.check_schema(parameters)
    Draft202012Validator(parameters).validate({"value": fits})
    assert taken.bind({"value": fits}) == {"value": made}
    for one in wrong:
        with pytest.raises(BadInput, match="do not fit"):
            taken.bind({"value": one})


@pytest.mark.parametrize(("kind", "fits", "made", "wrong"), HELD, ids=NAMES)
def test_an_answer_is_held_to_it(kind, fits, made, wrong):
    asked = msgspec.json.encode({"answer": fits}).decode()
    if schema.of(kind).get("type") == "object":
        asked = msgspec.json.encode(fits).decode()
    client = FakeClient([asked])
    assert structured(client, "?", kind, retries=0).parsed == made
    for one in wrong:
        text = msgspec.json.encode(one).decode()
        with pytest.raises(InvalidAnswer):
            structured(FakeClient([text]), "?", kind, retries=0)


def test_the_model_is_told_what_the_validator_said():
    client = FakeClient(['{"count": 3}', '{"count": 4}'])
    assert structured(client, "?", Order).parsed == Order(4)
    assert "count: Value error, must be even" in client.texts[1]


class Careless(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def look(cls, value):
        return {}[value]


def test_a_validator_that_fails_in_another_way_is_an_error_for_the_model():
    with pytest.raises(BadInput, match="Paris"):
        schema.convert({"name": "Paris"}, Careless)


def test_a_struct_is_not_mixed_with_what_it_would_not_check():
    class Mixed(msgspec.Struct):
        order: Order

    class Fine(msgspec.Struct):
        cat: Cat

    with pytest.raises(BadInput, match="Make the Struct a pydantic model"):
        schema.of(Mixed)
    made = schema.convert({"cat": {"kind": "cat", "lives": "9"}}, Fine)
    assert made == Fine(Cat(kind="cat", lives=9))


def test_not_a_number_is_not_taken_for_null():
    with pytest.raises(BadInput):
        schema.convert({"value": float("nan")}, Node)


def test_many_errors_are_told_in_part():
    with pytest.raises(BadInput) as caught:
        schema.convert([{} for _ in range(1_000)], list[Dog])
    assert len(str(caught.value)) < 2_000


def test_a_type_without_pydantic_in_it_does_not_load_it():
    import subprocess

    code = (
        "import sys, dataclasses\n"
        "from kimikit.tools import tool\n"
        "@dataclasses.dataclass\nclass A: x: int\n"
        "def f(a: A, b: list[int] = []) -> int:\n    'Do.'\n"
        "tool(f).bind({'a': {'x': 1}})\n"
        "print('pydantic' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout == "False\n"


def test_anything_goes_through_any():
    assert schema.convert({"required": [1]}, Any) == {"required": [1]}
    assert schema.convert({"required_": [1]}, dict[str, Any]) == {"required_": [1]}
