"""Set one column of the playground: whom it asks and with what, field by field."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w

from kimikit.errors import BadInput, KimiError, MissingKey, ModelNotFound, UnknownHost
from kimikit.notebook.controls import alert, dial, noted
from kimikit.notebook.page import NAME_AGAIN
from kimikit.params import CHAT, refuse_unknown
from kimikit.types import Host
from kimikit.wire import hosts

Settings = dict[str, Any]
"""The value of each field by its name, for a column to be set to again."""

OWN = frozenset({"messages", "image", "system", "model", "temperature", "top_p"})
"""What ``More`` cannot set: it has a field of its own, or is the same for all."""

MAIN = ("host", "model", "system", "temperature")
FOLDED = ("top_p", "max_tokens", "seed", "more")
"""The fields of a column: those that are seen, and those below More parameters."""

MORE = 'stop="END", reasoning_effort="low"'


class Wrong(Exception):
    """What is typed into a field is not what it takes; it is said beside the field."""


class Dials:
    """The fields of one column.

    Args:
        name: The column's letter.
        host: The host that it begins with.

    Attributes:
        fields: Each by its name.
        box: All of them, to be shown.
    """

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self._own = host
        fill: dict[str, Any] = {"width": "auto"}
        known = sorted({*hosts.profiles(), host.name})
        self.host = dial(
            w.Dropdown, "Host", "Host that is asked", options=known, **fill
        )
        self.model = dial(w.Combobox, "Model", "Model id of that host", **fill)
        self.system = dial(w.Textarea, "System", "System message", rows=2, **fill)
        self.temperature = dial(
            w.FloatSlider,
            "Temperature",
            "Randomness of sampling; 0 is greedy",
            value=0.6,
            max=2,
            step=0.1,
            **fill,
        )
        self.top_p = dial(
            w.FloatSlider,
            "Top p",
            "Probability mass that is sampled from",
            value=1,
            min=0.05,
            max=1,
            step=0.05,
            **fill,
        )
        self.max_tokens = dial(
            w.BoundedIntText,
            "Max tokens",
            "Tokens of the answer at most",
            max=1_000_000,
            value=512,
            **fill,
        )
        self.seed = dial(w.Text, "Seed", "Seed of the sampler, a whole number", **fill)
        self.more = dial(w.Text, "More", f"Other parameters, such as {MORE}", **fill)
        self.seed.placeholder, self.more.placeholder = "none", MORE
        self.fields: dict[str, Any] = {
            name: getattr(self, name) for name in (*MAIN, *FOLDED)
        }
        self._notes = {name: w.HTML() for name in self.fields}
        self.host.value = host.name
        self._offer_models()
        self.model.value = host.model
        self.host.observe(lambda _: self._offer_models(), "value")
        self.box = self._arranged()

    def _arranged(self) -> w.VBox:
        main, folded = (
            [noted(self.fields[name], self._notes[name]) for name in names]
            for names in (MAIN, FOLDED)
        )
        self._rest = w.Accordion([w.VBox(folded)], titles=("More parameters",))
        head = w.HTML(f"<b>{self.name}</b>{NAME_AGAIN}")
        box = w.VBox([head, *main, self._rest])
        box.add_class("kimikit-column")
        return box

    def _offer_models(self) -> None:
        profile = hosts.profiles().get(self.host.value)
        models = profile.models if profile else ()
        self.model.options = [m.id for m in models if m.state != "retired"]
        own = self._own.model if self.host.value == self._own.name else ""
        self.model.value = own or next(iter(self.model.options), "")

    @property
    def settings(self) -> Settings:
        """The value of each field, as it stands."""
        return {name: field.value for name, field in self.fields.items()}

    @settings.setter
    def settings(self, given: Mapping[str, Any]) -> None:
        self.host.value = given["host"]  # first, as it sets the model
        for name, value in given.items():
            self.fields[name].value = value
        self.forget()

    def params(self) -> dict[str, Any]:
        """Return the parameters as the fields stand, those of no effect left out.

        Raises:
            Wrong: If a field holds what it cannot take, which is said beside it.
        """
        given: dict[str, Any] = {"temperature": round(self.temperature.value, 2)}
        if self.top_p.value < 1:
            given["top_p"] = round(self.top_p.value, 2)
        given["max_tokens"] = self.max_tokens.value
        if self.seed.value.strip():
            given["seed"] = self._read("seed", _whole, self.seed.value)
        if self.system.value.strip():
            given["system"] = self.system.value
        if self.model.value.strip():
            given["model"] = self.model.value.strip()
        return {**given, **self._read("more", _keywords, self.more.value)}

    def _read(self, name: str, read: Callable[[str], Any], text: str) -> Any:
        try:
            return read(text)
        except KimiError as error:
            self.say(name, error)
            raise Wrong from error

    def say(self, name: str, error: KimiError) -> None:
        """Say beside a field what is wrong with it."""
        self._notes[name].value = alert(f"{error.what} {error.remedy}")
        if name in FOLDED:
            self._rest.selected_index = 0

    def forget(self) -> None:
        """Take away what was said."""
        for note in self._notes.values():
            note.value = ""

    def place(self, error: Exception) -> bool:
        """Say an error beside the field that it is of; tell whether there is one."""
        if not isinstance(error, KimiError):
            return False
        words = error.what.replace("=", " ").split()
        field = getattr(error, "parameter", "") or (words[0] if words else "")
        if isinstance(error, ModelNotFound):
            field = "model"
        elif isinstance(error, MissingKey | UnknownHost):
            field = "host"
        elif field in CHAT and field not in self.fields:
            field = "more"
        if field in self.fields:
            self.say(field, error)
        return field in self.fields


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInput(f"seed is {text!r:.40}.", "Give a whole number.") from None


def _keywords(text: str) -> dict[str, Any]:
    """Read ``name=value, ...`` as Python would, of literals alone.

    Raises:
        BadInput: If it is not that, or names what no chat takes.
    """
    try:
        parsed = ast.parse(f"_({text[:4000]})", mode="eval").body
        if not isinstance(parsed, ast.Call) or parsed.args:
            raise ValueError
        given = {str(k.arg): ast.literal_eval(k.value) for k in parsed.keywords}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadInput(
            f"{text[:60]!r} is no list of parameters.", f"Write {MORE}, for example."
        ) from None
    refuse_unknown(given, ())
    for name in OWN.intersection(given):
        raise BadInput(f"{name} has a field of its own.", "Set it there.")
    return given
