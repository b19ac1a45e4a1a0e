"""A function with hints and a docstring becomes a tool, or is refused by name."""

import asyncio
import functools
from pathlib import Path
from typing import Literal

import pydantic
import pytest

from kimikit.errors import BadInput, BadTool
from kimikit.tools import Tool, tool
from kimikit.tools.declared import as_tools


def properties(made):
    return made.schema["function"]["parameters"]["properties"]


@tool
def get_weather(
    city: str, unit: Literal["celsius", "fahrenheit"] = "celsius", *, days: int = 1
) -> dict:
    """Current weather of a city.

    Looks at the sky.

    Args:
        city: Name of the city.
        unit: Temperature scale.
        days: How many.
    """
    return {"city": city, "unit": unit, "days": days}


def test_the_whole_entry_comes_from_the_function():
    assert get_weather.schema == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather of a city.\n\nLooks at the sky.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Name of the city."},
                    "unit": {
                        "type": "string",
                        "enum": ["celsius", "fahrenheit"],
                        "description": "Temperature scale.",
                        "default": "celsius",
                    },
                    "days": {
                        "type": "integer",
                        "description": "How many.",
                        "default": 1,
                    },
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    assert get_weather.name == "get_weather"
    assert not get_weather.confirm


def test_a_tool_stays_an_ordinary_function():
    assert get_weather("Oslo", days=2) == {"city": "Oslo", "unit": "celsius", "days": 2}
    assert get_weather.__name__ == "get_weather"
    assert "sky" in get_weather.__doc__
    assert tool(get_weather, confirm=True).confirm
    assert tool(get_weather, name="sky").schema["function"]["name"] == "sky"
    assert not get_weather.confirm
    assert repr(get_weather).startswith("<Tool get_weather(city: str")
    assert tool(get_weather) is get_weather


NUMPY = """Add.

    Parameters
    ----------
    a : int
        The first.
    """
REST = """Add.

    :param a: The first.
    """
GOOGLE = """Add.

    Args:
        a (int): The first.
    """


@pytest.mark.parametrize(
    "style", [NUMPY, REST, GOOGLE], ids=["numpy", "rest", "google"]
)
def test_docstring_styles_are_understood(style):
    def add(a: int):
        return a

    add.__doc__ = style
    made = tool(add)
    assert made.description == "Add."
    assert properties(made)["a"]["description"] == "The first."


class Store:
    """Finds things."""

    def __init__(self):
        self.items = {"a": 1}

    @tool(confirm=True)
    def find(self, key: str) -> int:
        """Find an item."""
        return self.items[key]

    def plain(self, key: str) -> int:
        """Find an item."""
        return self.items[key]

    def __call__(self, key: str) -> int:
        """Look it up.

        Args:
            key: Which.
        """
        return self.items[key]


def test_methods_objects_and_classes_are_tools_without_self():
    store = Store()
    for made in (store.find, tool(store.plain), tool(store), tool(Store)):
        assert list(properties(made)) == ["key"]
        assert made(key="a") == 1
    assert store.find.confirm
    assert Store.find.name == "find"
    assert tool(store).name == "Store"
    assert tool(store).description == "Finds things."


def test_async_functions_and_functions_without_arguments_are_tools():
    @tool(name="now", description="Tell the time.")
    async def later():
        return 1

    assert later.schema["function"]["parameters"] == {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }
    assert later.bind({}) == {}
    assert asyncio.run(later()) == 1


def undocumented(a: int):
    return a


def unhinted(a, b: int):
    """Add."""


def many(*values: int):
    """Add."""


def loose(**values: int):
    """Add."""


def by_place(a: int, /):
    """Add."""


def unknown(a: "Missing"):  # noqa: F821
    """Add."""


def strange(good: int, bad: complex):
    """Add."""


def reserved(required: bool, anyOf: dict[str, int] | None = None):
    """Add."""
    return required


def lazy(a: int):
    """Add."""
    yield a


class NeedyModel(pydantic.BaseModel):
    needed: str


class Needy:
    """Add."""

    def __init__(self, needed):
        pass


@pytest.mark.parametrize(
    ("function", "part"),
    [
        (undocumented, "undocumented has no description"),
        (unhinted, "Parameter a of unhinted has no type hint"),
        (many, "Parameter values of many cannot be given by name"),
        (loose, "Parameter values of loose cannot be given by name"),
        (by_place, "Parameter a of by_place cannot be given by name"),
        (unknown, "hints of unknown cannot be read: name 'Missing'"),
        (strange, "Parameter bad of strange: There is no JSON Schema"),
        (lazy, "lazy yields its results"),
        (Needy, "No Needy can be made: .*'needed'"),
        (NeedyModel, "No NeedyModel can be made: .*Field required"),
        (3, "3 cannot be called"),
    ],
)
def test_bad_definitions_fail_at_once_and_name_the_parameter(function, part):
    with pytest.raises(BadTool, match=part):
        tool(function)


def test_a_parameter_with_a_name_that_hosts_refuse_has_another_one_for_them():
    made = tool(reserved)
    assert set(properties(made)) == {"required_", "anyOf_"}
    assert made.schema["function"]["parameters"]["required"] == ["required_"]
    bound = made.bind({"required_": True, "anyOf_": {"required": 1}})
    assert bound == {"required": True, "anyOf": {"required": 1}}
    assert made.function(**bound) is True
    assert made.bind({"required": False}) == {"required": False}
    with pytest.raises(BadInput, match="`required_` is missing"):
        made.bind({})


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "naïve", "a.b"])
def test_names_that_hosts_refuse_are_refused(name):
    with pytest.raises(BadTool, match="cannot be the name"):
        tool(get_weather.function, name=name) if name else Tool.from_schema(
            name, "Do.", {"type": "object"}, print
        )


def test_all_that_is_wrong_with_arguments_is_said_at_once():
    with pytest.raises(BadInput) as caught:
        get_weather.bind({"town": "x", "unit": "kelvin", "days": "soon"})
    said = str(caught.value)
    assert "`city` is missing" in said
    assert "no argument `town`" in said
    assert '"enum":["celsius","fahrenheit"]' in said
    assert "at `days`" in said


def test_null_for_what_has_a_default_means_the_default():
    assert get_weather.bind({"city": "a", "unit": None}) == {"city": "a"}
    with pytest.raises(BadInput, match="at `city`"):
        get_weather.bind({"city": None})


def test_defaults_without_a_json_form_are_left_out():
    marker = object()

    @tool
    def take(a: int | None = marker) -> bool:
        """Take."""
        return a is marker

    assert take()
    assert "default" not in properties(take)["a"], "it is another text in each kernel"


class Place:
    def near(self, city: str) -> str:
        """Say what is near."""
        return city


@pytest.mark.parametrize("default", [float("nan"), float("-inf"), object(), [1, {2}]])
def test_a_default_that_json_has_not_is_not_sent(default):
    def take(a: float = default) -> None:
        """Take."""

    assert "default" not in properties(tool(take))["a"]


@pytest.mark.parametrize(
    ("hint", "default", "sent"),
    [(int, None, None), (float, 1, 1), (Path, Path("a/b"), "a/b"), (str, "a", "a")],
)
def test_a_default_that_fits_is_sent(hint, default, sent):
    def take(a: hint = default) -> None:
        """Take."""

    assert properties(tool(take))["a"]["default"] == sent


@pytest.mark.parametrize("hint", ["int[", "Missing", "functools.nothing", "1/0"])
def test_a_hint_that_cannot_be_read_is_refused_by_name(hint):
    def take(a):
        """Take."""

    take.__annotations__["a"] = hint
    with pytest.raises(BadTool, match="The type hints of take cannot be read"):
        tool(take)


def test_a_method_of_no_object_is_refused_when_it_is_given():
    def own(self: int) -> int:
        """Own."""

    assert list(as_tools(Place().near)) == ["near"]
    for odd in (Place.near, tool(Place.near), own):
        with pytest.raises(BadTool, match="is a method, and of no object"):
            as_tools([odd])


def test_a_schema_and_a_callable_make_a_tool():
    made = Tool.from_schema(
        "add-1",
        "Add.",
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"a": {"type": ["integer", "null"]}},
            "required": ["a"],
            "not": {"required": ["b"]},
        },
        lambda a: a + 1,
    )
    assert made(a=1) == 2
    assert properties(made) == {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}
    assert made.bind({"a": 1}) == {"a": 1}
    for wrong in ({"a": "x"}, {}, {"a": 1, "b": 2}):
        with pytest.raises(BadInput, match="do not fit"):
            made.bind(wrong)


@pytest.mark.parametrize(
    "parameters", [{"type": "array"}, {"type": "objekt"}, {"properties": 3}]
)
def test_what_is_no_schema_is_refused(parameters):
    with pytest.raises(BadTool, match="no schema for a tool"):
        Tool.from_schema("a", "Do.", parameters, print)


def test_tools_are_gathered_from_functions_and_collections():
    def other(a: int):
        """Other."""

    found = as_tools([get_weather, [other]])
    assert list(found) == ["get_weather", "other"]
    assert list(as_tools(other)) == ["other"]
    with pytest.raises(BadTool, match="Two tools are called other"):
        as_tools([other, other])
    assert as_tools(None) == {}
    for odd in ([3], 3, "add", [{"type": "function"}]):
        with pytest.raises(BadTool, match="is not a tool"):
            as_tools(odd)


def test_a_partial_function_says_what_it_lacks():
    for odd in (functools.partial(print, 1), max):
        with pytest.raises(BadTool, match="It cannot be read what arguments odd takes"):
            tool(odd, name="odd")
