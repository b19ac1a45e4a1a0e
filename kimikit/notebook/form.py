"""Take what is asked in the playground: the prompt, files, one to four columns."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from kimikit.errors import BadInput, KimiError
from kimikit.notebook.asked import Asked
from kimikit.notebook.controls import Echo, alert, dial, noted
from kimikit.notebook.dials import Dials, Wrong
from kimikit.types import Host

LETTERS = "ABCD"


class Form:
    """All fields, each with a place for what is wrong with it.

    Args:
        host: The host of the session.

    Attributes:
        columns: The fields of each column, one to four.
        echo: Waits until what all fields hold is known.
        rows: What to show.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self.columns = [Dials(LETTERS[0], host)]
        self._fields()
        own = self.prompt, self.files, self.count, self.samples, self.blind
        self.echo = Echo(*own, *self.columns[0].fields.values())
        wrap = w.Layout(flex_flow="row wrap", align_items="center")
        self._dials = w.HBox(layout=w.Layout(flex_flow="row wrap"))
        self._set_columns()
        kinds = [noted(self.files, self._notes["files"]), self.count, self.samples]
        kinds.append(noted(self.blind, self._notes["blind"]))
        rows = noted(self.prompt, self._notes["prompt"]), w.HBox(kinds, layout=wrap)
        self.rows = (*rows, self._dials)

    def _fields(self) -> None:
        self.prompt = dial(w.Textarea, "Prompt", "User message", rows=4)
        self.prompt.placeholder = "Ask something; Ctrl+Enter runs, Escape stops"
        self.files = w.FileUpload(
            multiple=True,
            description="Files",
            tooltip="Pictures, texts, PDF and more that go with the prompt",
            layout=w.Layout(width="auto"),
        )
        fill = {"width": "160px"}
        self.count = dial(
            w.BoundedIntText,
            "Columns",
            "How many answer side by side",
            min=1,
            max=len(LETTERS),
            value=1,
            **fill,
        )
        self.samples = dial(
            w.BoundedIntText,
            "Samples",
            "Answers per column and run",
            min=1,
            max=16,
            value=1,
            **fill,
        )
        self.blind = w.Checkbox(
            description="Blind vote",
            tooltip="Shuffle the answers and name them after the vote",
            indent=False,
            layout=w.Layout(width="auto"),
        )
        self._notes = {name: w.HTML() for name in ("prompt", "files", "blind")}
        self.count.observe(lambda _: self._set_columns(), "value")

    def _set_columns(self) -> None:
        """Show as many columns as are wanted; a new one begins like the last."""
        while len(self.columns) < self.count.value:
            made = Dials(LETTERS[len(self.columns)], self._host)
            made.settings = self.columns[-1].settings
            self.columns.append(made)
            self.echo.add(*made.fields.values())
        del self.columns[self.count.value :]
        for each in self.columns:
            share = f"calc({100 // len(self.columns)}% - 14px)"
            each.box.layout = w.Layout(flex=f"1 1 {share}", min_width="230px")
        self._dials.children = [each.box for each in self.columns]

    def _say(self, name: str, error: KimiError) -> Wrong:
        self._notes[name].value = alert(f"{error.what} {error.remedy}")
        return Wrong()

    def question(self) -> tuple[str, dict[str, dict[str, Any]], dict[str, bytes]]:
        """Return the text, the parameters of each column, and the files by name.

        Raises:
            Wrong: If a field holds what it cannot take.
        """
        self._forget()
        if not self.prompt.value.strip():
            raise self._say("prompt", BadInput("The prompt is empty.", "Write one."))
        if self.blind.value and len(self.columns) < 2:
            few = BadInput("There is one column.", "Set two or more to vote on.")
            raise self._say("blind", few)
        params = {each.name: each.params() for each in self.columns}
        files = {f["name"]: bytes(f["content"]) for f in self.files.value}
        return self.prompt.value, params, files

    def refuse_files(self, error: KimiError) -> Wrong:
        """Say beside the files why a host does not take them."""
        return self._say("files", error)

    def asked(self) -> Asked:
        """Return what is asked as the fields stand, without answers yet."""
        return Asked(
            self.prompt.value,
            self.files.value,
            self.samples.value,
            {each.name: each.settings for each in self.columns},
            self.titles(),
            blind=self.blind.value,
        )

    def titles(self) -> dict[str, str]:
        """Return what each column is called: its letter, and what is its alone."""
        settings = {each.name: each.settings for each in self.columns}
        made = {}
        for letter, own in settings.items():
            differs = (
                f"{name.replace('_', ' ')} {'none' if value == '' else value}"[:60]
                for name, value in own.items()
                if any(other[name] != value for other in settings.values())
            )
            made[letter] = " · ".join([letter, *differs])
        return made

    def restore(self, asked: Asked) -> None:
        """Set all fields as they were when something was asked."""
        self.prompt.value, self.files.value = asked.prompt, asked.files
        self.count.value, self.samples.value = len(asked.settings), asked.samples
        self.blind.value = asked.blind
        for each in self.columns:
            each.settings = asked.settings[each.name]
        self._forget()

    def _forget(self) -> None:
        """Take away all that was said beside fields."""
        for note in self._notes.values():
            note.value = ""
        for each in self.columns:
            each.forget()
