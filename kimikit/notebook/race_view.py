"""Ask several hosts or models the same at once, in live columns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.marimo import in_marimo, replace
from kimikit.display.renderable import Renderable, Section, Table, by_label
from kimikit.errors import BadInput
from kimikit.markdown import as_html
from kimikit.notebook.columns import Column, Columns, ended, figures
from kimikit.notebook.screen import Bundle, Screen, place, rich
from kimikit.runner import Request
from kimikit.types import Host, Reply
from kimikit.wire import AsyncClient
from kimikit.wire.hosts import profiles as hosts_known

LIVE_CHARACTERS = 1000
"""Characters shown of each growing answer, its last ones."""

_HEADS = ("", "first token", "tokens/s", "tokens", "cost", "ended")


def columns(
    hosts: Any, models: Any = None, *, own: Host | None = None
) -> dict[str, dict[str, Any]]:
    """Return the columns of a race by label, a name's second as ``name (2)``.

    Args:
        hosts: Names of hosts or models, or parameters by label.
        models: Models that each of them is asked for; the session's host, without one.
        own: The session's host, whose models may stand among the hosts.

    Raises:
        BadInput: If one of them names no columns.
    """
    if models is not None:
        if not _are_names(models):
            raise BadInput(f"models={models!r:.80} names none.", "Give a list of ids.")
        if hosts is None:
            return by_label((name, {"model": name}) for name in models)
        return by_label(
            (f"{label} {name}", {**column, "model": name})
            for label, column in columns(hosts, own=own).items()
            for name in models
        )
    if isinstance(hosts, dict) and all(isinstance(v, dict) for v in hosts.values()):
        return hosts
    if _are_names(hosts):
        kinds = ("model" if _is_model(name, own) else "host" for name in hosts)
        return by_label(
            (name, {kind: name}) for name, kind in zip(hosts, kinds, strict=True)
        )
    raise BadInput(
        f"hosts={hosts!r:.80} names no columns.",
        "Give a list of host names, models=[...], or a dict of label to parameters.",
    )


def _are_names(some: Any) -> bool:
    return isinstance(some, list | tuple) and all(isinstance(n, str) for n in some)


def _is_model(name: str, own: Host | None) -> bool:
    """Say whether a name is a model's: an id with a slash, or one of this host's."""
    if own is None or name in hosts_known() or name == own.name:
        return False
    return "/" in name or any(model.id == name for model in own.models)


def race(
    requests: Mapping[str, Request],
    client_for: Callable[[str | None], AsyncClient],
    *,
    show: bool | None = None,
) -> Race:
    """Ask all requests at once and show their answers side by side.

    One that fails does not stop the others. Stop keeps what has arrived of each.

    Args:
        requests: What to ask, by the name of its column.
        client_for: Makes a client of a host by its name.
        show: ``True`` or ``False`` forces or forbids the display.

    Raises:
        BadInput: If the question itself is refused.
    """
    if not requests:
        raise BadInput("There is nobody to race.", "Name hosts=[...] or models=[...].")
    shell, stream = place(show, None)
    screen = None if shell is None else Screen(shell)
    asked = Columns(requests, client_for)
    beside = show is not False and in_marimo()

    def draw() -> float:
        if beside:
            replace(_live(asked.by_name)["text/html"])
        if screen is None or not screen.live:
            return 1.0
        return screen.draw([], [_live(asked.by_name)])

    asked.run(draw)
    result = Race({name: (c.reply, c.error) for name, c in asked.by_name.items()})
    refused = [e for e in result.errors.values() if isinstance(e, BadInput)]
    if len(refused) == len(requests):
        with contextlib.suppress(Exception):
            if screen is not None:
                screen.settle([])  # what was refused leaves nothing behind
        raise refused[0]
    # Whatever happens to the view, the answers are paid for.
    with contextlib.suppress(Exception):
        if screen is not None:
            screen.settle([result._repr_mimebundle_()])
            screen.shown_already(result)
        elif beside:
            replace(result._repr_html_())
        elif stream is not None:
            print(result, file=stream)
    return result


class Race(Renderable):
    """How several hosts or models answered the same question.

    Attributes:
        replies: By column, each answer, whole or as far as it came.
        errors: By column, what went wrong.
    """

    def __init__(self, answers: Mapping[str, tuple[Reply, Exception | None]]) -> None:
        self._answers = dict(answers)
        self.replies = {n: r for n, (r, e) in answers.items() if not e or r.text}
        self.errors = {name: error for name, (_, error) in answers.items() if error}

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row per column: times, speed, tokens, cost and how it ended."""
        return [
            (name, *figures(reply), ended(reply, error))
            for name, (reply, error) in self._answers.items()
        ]

    def _parts(self) -> tuple[str, list[Section], str]:
        texts = [f"{name}:\n{r.text}" for name, r in self.replies.items()]
        replies = {name: reply for name, (reply, _) in self._answers.items()}
        shown = {name: as_html(reply.text) for name, reply in replies.items()}
        answers = html.Cell("\n\n".join(texts), _side_by_side(shown))
        table = Table(_HEADS, self.rows(), range(1, 5))
        return (
            "",
            [table, answers],
            footer([*replies.values()]),
        )


def _live(columns: Mapping[str, Column]) -> Bundle:
    lines = {name: column.line for name, column in columns.items()}
    growing = {
        name: html.footer(lines[name]) + html.pre(column.reply.text[-LIVE_CHARACTERS:])
        for name, column in columns.items()
    }
    plain = "\n".join(f"{name}: {line}" for name, line in lines.items())
    return rich(plain, _side_by_side(growing))


def _side_by_side(columns: Mapping[str, str]) -> str:
    if not columns:
        return ""
    width = (
        f'width="{max(1, 100 // len(columns))}%" valign="top" style="text-align:left"'
    )
    heads = "".join(f"<th {width}>{html.esc(name)}</th>" for name in columns)
    below = "".join(f"<td {width}>{shown}</td>" for shown in columns.values())
    return f'<table width="100%"><tr>{heads}</tr><tr>{below}</tr></table>'
