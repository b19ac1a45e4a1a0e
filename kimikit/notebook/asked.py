"""Hold one press of Run in the playground: what was asked, and the answers."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from kimikit import html
from kimikit.notebook.ballot import Ballot
from kimikit.notebook.columns import Columns, ended, figures
from kimikit.notebook.dials import Settings
from kimikit.notebook.slots import Slot
from kimikit.runner import Request


def requests(
    kimi: Any,
    text: str,
    params: Mapping[str, dict[str, Any]],
    files: Mapping[str, bytes],
    hosts: Mapping[str, str],
) -> dict[str, Request]:
    """Return what each column asks; where a host takes files, they are sent now."""
    made = {}
    for name, host in hosts.items():
        own, model = params[name], str(params[name].get("model", ""))
        turns = kimi._with_files(text, files or None, model, host)
        made[name] = Request(messages=turns, params=own, host=host, model=model)
    return made


class Asked:
    """One press of Run: what was asked, and the answers.

    Args:
        prompt: The prompt as it was typed.
        files: What was added to it.
        samples: How often each column was asked.
        settings: The fields of each column, by its letter.
        titles: By its letter, what each column is called.
        blind: Whether nobody may know whose the answers are before the vote.

    Attributes:
        columns: The answers by letter and number.
        slots: Where they are shown, in this order.
        ballot: The vote on them, ``None`` where there is none.
    """

    def __init__(
        self,
        prompt: str,
        files: tuple[Any, ...],
        samples: int,
        settings: dict[str, Settings],
        titles: dict[str, str],
        *,
        blind: bool,
    ) -> None:
        self.prompt, self.files, self.samples = prompt, files, samples
        self.settings, self.titles, self.blind = settings, titles, blind
        self.at = time.strftime("%H:%M:%S")
        self.columns: Columns
        self.slots: dict[str, Slot] = {}
        self.ballot: Ballot | None = None

    @property
    def named(self) -> bool:
        """Whether it may be shown who answered."""
        return not self.blind or (self.ballot is not None and not self.ballot.open)

    def begin(
        self, requests: Mapping[str, Request], client_for: Any, voted: Any
    ) -> None:
        """Make the columns, and a place for each answer."""
        self.columns = Columns(
            {
                f"{letter}{number}": request
                for number in range(self.samples)
                for letter, request in requests.items()
            },
            client_for,
        )
        several = len(requests) > 1
        across = len(requests) if several else min(self.samples, 4)
        rows = []
        for number in range(self.samples):
            row = list(requests)
            if self.blind:
                random.shuffle(row)
            rows.append(row)
            for letter in row:
                who = self.titles[letter] if several else ""
                of = f"sample {number + 1}" if self.samples > 1 else ""
                title = " · ".join(filter(None, (who, of)))
                name = f"{letter}{number}"
                made = f"Answer {len(self.slots) + 1}", title
                self.slots[name] = Slot(*made, self.columns.by_name[name], across)
        if self.blind:
            keys = [[self.key(letter) for letter in row] for row in rows]
            self.ballot = Ballot(keys, voted)

    def unblind_without(self) -> None:
        """Name all answers if one is missing: an error tells whose it is."""
        if not all(slot.column.reply.text for slot in self.slots.values()):
            self.ballot, self.blind = None, False

    def rows(self) -> list[tuple[object, ...]]:
        """Return a row of the history per answer, which names what may be named."""
        made = []
        for name, column in self.columns.by_name.items():
            reply, set_to = column.reply, self.settings[name[0]]
            who: tuple[object, ...] = ("blind", "", "", "")
            if self.named:
                model = reply.model or set_to["model"]
                heat = f"{set_to['temperature']:g}"
                who = (name[0], reply.host or set_to["host"], model, heat)
            tokens, cost = figures(reply)[2:] if self.named else ("", "")
            end = ended(reply, column.error)
            made.append((html.opening(self.prompt, 50), *who, tokens, cost, end))
        return made

    def key(self, letter: str) -> str:
        """Return who answers in a column: the letter with all its settings."""
        return f"{letter} {self.settings[letter]!r}"
