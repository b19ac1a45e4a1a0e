"""Hold what was found of hosts, with evidence, as a table, a plot and a report."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import structs

from kimikit import html
from kimikit.display.footer import Paid, day, footer
from kimikit.display.plots import canvas, legend_beside, name, plain
from kimikit.display.renderable import Renderable, Table
from kimikit.evals.cells import not_asked
from kimikit.paths import writing
from kimikit.types import Reply
from kimikit.version import __version__
from kimikit.wire.coerce import mend

State = Literal[
    "kept", "measured", "ignored", "clamped", "broken", "refused", "unclear"
]

FAULTS = "ignored", "clamped", "broken"
"""States that a host is accused of; one that refuses says what it does."""

_MARKS = {
    "kept": ("o", "#2e7d32"),
    "measured": ("D", "#767676"),
    "refused": ("s", "#767676"),
    "unclear": (".", "#767676"),
    "clamped": ("v", "#b26a00"),
    "ignored": ("X", "#c62828"),
    "broken": ("X", "#c62828"),
}
"""Marker and colour of each state in a plot."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found of one host.

    Attributes:
        host: What the host is called.
        check: The check's name, such as ``seed``.
        state: ``kept``; ``ignored``, or ``clamped`` to less, of what was asked for;
            ``broken`` of what a host should do unasked; ``refused`` where it says no;
            ``unclear`` where the answers cannot tell, or the check does not apply;
            ``measured`` of what is only a number.
        evidence: What was seen, a sentence.
        figures: What was measured, by name.
    """

    host: str
    check: str
    state: State
    evidence: str
    figures: dict[str, Any] = {}

    @property
    def is_fault(self) -> bool:
        """Whether the host is accused of it."""
        return self.state in FAULTS


class VerifyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification will ask, known before it asks.

    Attributes:
        calls: Questions by host, those of a second turn included.
        cost_usd: Likely US dollars, ``None`` where a price is unknown.
        most_usd: US dollars at most, ``None`` where a price is unknown.

    Example:
        >>> kimi.verify(checks=["model", "n"], dry_run=True).calls
        {'local': 3}
    """

    calls: dict[str, int]
    cost_usd: Decimal | None = None
    most_usd: Decimal | None = None

    def __str__(self) -> str:
        each = [f"{html.many(n, 'call')} to {host}" for host, n in self.calls.items()]
        likely = f"likely {html.money(self.cost_usd, estimated=True)}"
        most = f"at most {html.money(self.most_usd)}"
        return html.footer_line([*each, *([likely, most] if any(each) else [])])

    __repr__ = __str__


class Verification(Paid, Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What was found of each host; shows as a table, what is wrong first.

    Attributes:
        findings: Every check of every host.
        models: The model that was asked for at each host.
        replies: All answers, which were paid for.
        left: How many checks were not finished.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
        created: Unix time of the end.

    Example:
        >>> found = kimi.verify(checks=["model", "max_tokens"], progress=False)
        >>> [(finding.check, finding.state) for finding in found.findings]
        [('model', 'kept'), ('max_tokens', 'kept')]
        >>> found.badge()
        'kimikit verify · local · ... · 2 of 2 kept · kimikit ...'
    """

    findings: tuple[Finding, ...]
    models: dict[str, str]
    replies: tuple[Reply, ...] = ()
    left: int = 0
    reused: int = 0
    stop_reason: str = "done"
    created: float = msgspec.field(default_factory=time.time)

    @property
    def faults(self) -> dict[str, list[str]]:
        """The checks that each host failed."""
        return {
            host: [f.check for f in self.of(host) if f.is_fault] for host in self.models
        }

    @property
    def _paid(self) -> tuple[Reply, ...]:
        return self.replies

    def of(self, host: str) -> list[Finding]:
        """Return the findings of one host.

        Args:
            host: What it is called.
        """
        return [finding for finding in self.findings if finding.host == host]

    def badge(self, host: str | None = None) -> str:
        """Return one line for an issue to a vendor.

        Args:
            host: Whose line; the first one's unless given.
        """
        host = next(iter(self.models), "") if host is None else host
        found = self.of(host)
        by_state: dict[str, list[str]] = {}
        for finding in found:
            by_state.setdefault(finding.state, []).append(finding.check)
        kept, judged = len(by_state.pop("kept", [])), len(found)
        judged -= len(by_state.pop("measured", []))
        said = [f"{s} {', '.join(by_state[s])}" for s in _MARKS if s in by_state]
        total = f"{kept} of {judged} kept"
        whom = map(_inert, (host, self.models.get(host, "")))
        parts = [*whom, day(self.created), total, *said]
        parts = ["kimikit verify", *parts, f"kimikit {__version__}"]
        return " · ".join(map(html.clean, filter(None, parts)))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        hosts = {
            host: {
                "model": model,
                "badge": self.badge(host),
                "findings": [
                    {k: v for k, v in structs.asdict(f).items() if k != "host"}
                    for f in self.of(host)
                ],
            }
            for host, model in self.models.items()
        }
        return {
            "kimikit": __version__,
            "created": self.created,
            "stop_reason": self.stop_reason,
            "cost_usd": None if self.cost is None else str(self.cost),
            "answers": len(self.replies),
            "hosts": hosts,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return the report as JSON; no key is in it.

        Args:
            path: Where to write it too.
        """
        import json

        text = json.dumps(mend(self.to_dict()), ensure_ascii=False, indent=2)
        text = html.clean(text)
        if path is not None:
            with writing(path) as fresh:
                fresh.write_text(text + "\n", encoding="utf-8")
        return text

    def _ordered(self) -> list[str]:
        """Return the names of the checks, those first that a host failed."""
        failed = {f.check for f in self.findings if f.is_fault}
        names = dict.fromkeys(f.check for f in self.findings)
        return sorted(names, key=lambda check: check not in failed)

    def _tables(self) -> Iterator[Table]:
        states = {(f.host, f.check): f for f in self.findings}
        hosts, checks = list(self.models), self._ordered()
        note = "refused: the host says no, which is no fault; unclear: no verdict"
        remarks = [
            not_asked(self.left, self.stop_reason).replace("asked", "finished"),
            f"{self.reused} answers paid before" if self.reused else "",
        ]
        caption = html.footer_line([note, *remarks])
        if len(hosts) > 1:
            rows = [
                [check, *(_state(states.get((host, check))) for host in hosts)]
                for check in checks
            ]
            yield Table(["check", *hosts], rows, (), caption)
        for host in hosts:
            found = [states[host, c] for c in checks if (host, c) in states]
            found.sort(key=lambda finding: not finding.is_fault)
            head = [f"check of {host}" if len(hosts) > 1 else "check"]
            yield Table(
                [*head, "state", "evidence"],
                [[f.check, _state(f), f.evidence] for f in found],
                (),
                caption if len(hosts) == 1 else "",
            )

    def _parts(self) -> tuple[str, list[Table], str]:
        return "", list(self._tables()), footer(self.replies)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the state of each check at each host, and return the figure.

        Args:
            ax: Where to draw; a figure of its own unless given.
        """
        hosts, checks = list(self.models), self._ordered()
        ax = canvas(ax, 2.5 + 1.3 * len(hosts), 1 + 0.24 * len(checks))
        for state, (marker, colour) in _MARKS.items():
            some = [f for f in self.findings if f.state == state]
            if some:
                places = [hosts.index(f.host) for f in some]
                heights = [checks.index(f.check) for f in some]
                ax.plot(places, heights, marker, color=colour, label=state)
        ax.set_xticks(range(len(hosts)), [name(host) for host in hosts])
        ax.set_yticks(range(len(checks)), checks)
        ax.set_xlim(-0.5, max(1, len(hosts)) - 0.5)
        ax.set_ylim(len(checks) - 0.4, -0.6)
        legend_beside(ax)
        plain(ax)
        return ax.figure


def _inert(name: str) -> str:
    """Return a name that a host may have chosen as what an issue shows as it is.

    It is no link, mention, heading or HTML there, whatever it was.
    """
    return re.sub(r"[^\w ./:+-]+|(?<=:)//", "?", html.clean(name))[:100]


def _state(finding: Finding | None) -> object:
    if finding is None:
        return "not finished"
    strong = f"<b>{html.esc(finding.state)}</b>"
    return html.Cell(finding.state, strong) if finding.is_fault else finding.state
