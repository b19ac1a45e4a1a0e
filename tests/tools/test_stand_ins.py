"""A class is asked for what its ``__init__`` takes, and made by it."""

import dataclasses
from collections import namedtuple
from dataclasses import KW_ONLY, InitVar, dataclass, field
from typing import (
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    NewType,
    Required,
    TypedDict,
    TypeVar,
)

import attrs
import msgspec
import pytest
from typing_extensions import ReadOnly
from typing_extensions import TypedDict as NewTypedDict

from kimikit import schema
from kimikit.errors import BadInput


@dataclass
class Square:
    side: int
    area: int = field(init=False)

    def __post_init__(self):
        if self.side < 0:
            raise ValueError("a side is never negative")
        self.area = self.side**2


@dataclass(frozen=True, slots=True)
class Dated:
    name: str
    version: int = field(init=False, default=7)
    tags: list[str] = field(default_factory=list)
    _: KW_ONLY
    kind: ClassVar[str] = "dated"
    strict: bool = True


@dataclass
class Scaled:
    value: int
    scale: InitVar[int]

    def __post_init__(self, scale):
        self.value *= scale


@dataclass
class Tree:
    name: str
    children: "list[Tree]" = field(default_factory=list)
    size: int = field(init=False)

    def __post_init__(self):
        self.size = 1 + sum(child.size for child in self.children)


@attrs.define
class Attrs:
    side: int = attrs.field(validator=attrs.validators.ge(0))
    _secret: str = "s"
    area: int = attrs.field(init=False)

    def __attrs_post_init__(self):
        self.area = self.side**2


T = TypeVar("T")


@dataclass
class Pile(Generic[T]):
    items: list[T]
    first: T | None = field(init=False)

    def __post_init__(self):
        self.first = self.items[0] if self.items else None


class Slot(NamedTuple, Generic[T]):
    value: T
    label: str = "none"


class Room(msgspec.Struct, rename="camel", tag="room"):
    floor_plan: list[Square]
    by_name: dict[str, Square | None] = {}


class Hall(msgspec.Struct, tag="hall"):
    seats: int


class Yard(msgspec.Struct, tag="yard"):
    lawn: Square


class Point(NamedTuple):
    x: int
    label: str = "none"


Plain = namedtuple("Plain", "x y")


class Route(TypedDict, total=False):
    stops: Required[list[Point]]
    name: str


class Fixed(NewTypedDict):
    ident: ReadOnly[int]
    square: Square


@dataclass
class Map:
    centre: Point
    border: tuple[Point, ...]


def names(hint):
    return list(schema.of(hint)["properties"])


@pytest.mark.parametrize(
    ("hint", "asked", "value", "made"),
    [
        (Square, ["side"], {"side": 3}, Square(3)),
        (Dated, ["name", "tags", "strict"], {"name": "a"}, Dated("a")),
        (
            Dated,
            ["name", "tags", "strict"],
            {"name": "a", "version": 9, "strict": False},
            Dated("a", strict=False),
        ),
        (Scaled, ["value", "scale"], {"value": 2, "scale": 5}, Scaled(2, 5)),
        (
            Tree,
            ["name", "children"],
            {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]},
            Tree("a", [Tree("b", [Tree("c")])]),
        ),
        (Attrs, ["side", "_secret"], {"side": 3, "_secret": "t"}, Attrs(3, "t")),
        (Pile[int], ["items"], {"items": [1, 2]}, Pile([1, 2])),
        (Pile[Square], ["items"], {"items": [{"side": 2}]}, Pile([Square(2)])),
        (
            Room,
            ["type", "floorPlan", "byName"],
            {"type": "room", "floorPlan": [{"side": 2}], "byName": {"a": None}},
            Room([Square(2)], {"a": None}),
        ),
        (
            Fixed,
            ["ident", "square"],
            {"ident": 1, "square": {"side": 2}},
            {"ident": 1, "square": Square(2)},
        ),
    ],
    ids=str,
)
def test_only_what_is_taken_is_asked_for(hint, asked, value, made):
    assert names(hint) == asked
    found = schema.convert(value, hint)
    assert found == made
    assert type(found) is type(made)
    assert schema.convert([value, value], list[hint]) == [made, made]


def test_a_new_type_is_the_class_itself():
    assert names(NewType("Tile", Square)) == ["side"]
    assert schema.convert([{"side": 2}], list[NewType("Tile", Square)]) == [Square(2)]


def test_a_class_stands_in_several_branches():
    form = schema.of(Room | Yard)
    assert [list(one["properties"]) for one in form["anyOf"]] == [
        ["type", "floorPlan", "byName"],
        ["type", "lawn"],
    ]
    assert schema.convert({"type": "yard", "lawn": {"side": 2}}, Room | Yard) == Yard(
        Square(2)
    )


def test_a_union_is_told_by_its_tag():
    value = {"type": "room", "floorPlan": [{"side": 2}]}
    assert schema.convert(value, Room | Hall) == Room([Square(2)])
    assert schema.convert({"type": "hall", "seats": 3}, Room | Hall | None) == Hall(3)


@pytest.mark.parametrize(
    ("value", "hint", "said"),
    [
        ({}, Square, "missing required field `side`"),
        ({"side": "x"}, Square, "Expected `int`, got `str` - at `$.side`"),
        ({"side": -1}, Square, "a side is never negative"),
        ({"side": -1}, Attrs, "'side' must be >= 0"),
        ({"floorPlan": [{"side": []}]}, Room, "at `$.floorPlan[0].side`"),
        ({"items": ["a"]}, Pile[int], "Expected `int`, got `str` - at `$.items[0]`"),
        ({"y": 1}, Point, "missing required field `x`"),
    ],
)
def test_what_does_not_fit_is_told(value, hint, said):
    with pytest.raises(BadInput) as caught:
        schema.convert(value, hint)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (Point, {"x": 1, "label": "a"}, Point(1, "a")),
        (Point, {"x": "1"}, Point(1)),
        (Point, [1, "a"], Point(1, "a")),
        (Slot[int], {"value": 1}, Slot(1)),
        (list[Slot[Square]], [{"value": {"side": 2}}], [Slot(Square(2))]),
        (Slot[Square], [{"side": 2}, "a"], Slot(Square(2), "a")),
        (list[Slot[Square] | None], [[{"side": 2}], None], [Slot(Square(2)), None]),
        (Plain, {"x": 1, "y": [2]}, Plain(1, [2])),
        (Point | None, {"x": 1}, Point(1)),
        (list[Point], [{"x": 1}, [2, "b"]], [Point(1), Point(2, "b")]),
        (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
        (Route, {"stops": [{"x": 1}]}, {"stops": [Point(1)]}),
        (
            Map,
            {"centre": {"x": 1}, "border": [{"x": 2}, [3]]},
            Map(Point(1), (Point(2), Point(3))),
        ),
    ],
    ids=str,
)
def test_a_named_tuple_is_taken_by_names_too(hint, value, made):
    found = schema.convert(value, hint)
    assert found == made
    assert type(found) is type(made)


def test_a_named_tuple_asks_for_what_its_parts_take():
    form = schema.of(Slot[Square])
    assert (form["type"], form["minItems"], form["maxItems"]) == ("array", 1, 2)
    assert list(form["prefixItems"][0]["properties"]) == ["side"]


def test_a_list_beside_an_object_is_told_apart_as_ever():
    """Where an object is something else, a named tuple is a list alone."""
    assert schema.convert({"seats": 1, "type": "hall"}, Point | Hall) == Hall(1)
    assert schema.convert([1], Point | Hall) == Point(1)


def test_fields_that_are_left_out_have_the_defaults_of_their_class():
    made: Any = schema.convert({"name": "a"}, list[Dated] | Dated)
    assert (made.tags, made.version) == ([], 7)
    assert dataclasses.asdict(made)["strict"] is True
