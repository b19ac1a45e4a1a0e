"""The same question to several hosts or models at once, in live columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from kimikit import html
from kimikit.errors import BadInput, KimiError
from kimikit.notebook.lanes import Lane, Lanes, Opener
from kimikit.notebook.screen import Bundle, Drawing, Screen, place
from kimikit.types import Reply

REDRAW_S = 0.125
BYTES_PER_S = 40_000
"""Most bytes a second to the browser, all columns together."""

LIVE_CHARACTERS = 1000
"""Characters shown of each growing answer, its last ones."""

_HEADS = ("", "first token", "tokens/s", "tokens", "cost", "ended")


def columns(hosts: Any) -> dict[str, dict[str, Any]]:
    """Return the columns of a race by label, from host names or parameters."""
    if isinstance(hosts, dict) and all(isinstance(v, dict) for v in hosts.values()):
        return hosts
    if isinstance(hosts, list | tuple) and all(isinstance(h, str) for h in hosts):
        return {name: {"host": name} for name in hosts}
    raise BadInput(
        f"hosts={hosts!r} names no columns.",
        "Give a list of host names, or a dict of label to parameters.",
    )


def race(
    streams: Mapping[str, Opener],
    *,
    show: bool | None = None,
    out: TextIO | None = None,
) -> Race:
    """Run all streams at once and show them side by side.

    One that fails does not stop the others. Stop keeps what has arrived in each.

    Args:
        streams: By the name of its column, how to open each stream; see ``lane``.
        show: ``True`` or ``False`` forces or forbids the display.
        out: Where text goes outside notebooks, standard output unless given.

    Raises:
        BadInput: If the question itself is refused.
    """
    if not streams:
        raise BadInput("There is nobody to race.", "Name hosts=[...] or models=[...].")
    shell, stream = place(show, out)
    screen = None if shell is None else Screen(shell)
    lanes = Lanes(streams)

    def draw() -> float:
        size = screen.put(0, _live(lanes)) if screen is not None else 0
        return max(REDRAW_S, size / BYTES_PER_S)

    drawing = Drawing(draw) if screen is not None and screen.live else None
    try:
        while not lanes.over.wait(1):  # in steps: Windows cannot interrupt a wait
            pass
    except KeyboardInterrupt:
        lanes.stop()
    finally:
        if drawing is not None:
            drawing.stop()
    result = Race({name: (lane.reply, lane.error) for name, lane in lanes.items()})
    refused = [e for e in result.errors.values() if isinstance(e, BadInput)]
    if len(refused) == len(lanes):
        raise refused[0]
    if screen is not None:
        screen.settle([{"text/plain": repr(result), "text/html": result._repr_html_()}])
        screen.shown_already(result)
    elif stream is not None:
        print(result, file=stream)
    return result


class Race:
    """How several hosts or models answered the same question.

    Attributes:
        replies: By column, each answer, whole or as far as it came.
        errors: By column, what went wrong.
    """

    def __init__(self, ended: Mapping[str, tuple[Reply, Exception | None]]) -> None:
        self._ended = dict(ended)
        self.replies = {n: r for n, (r, error) in ended.items() if not error or r.text}
        self.errors = {name: error for name, (_, error) in ended.items() if error}

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row a column: times, speed, tokens, cost and how it ended."""
        return [(name, *_facts(*ended)) for name, ended in self._ended.items()]

    def __repr__(self) -> str:
        texts = [f"{name}:\n{html.clean(r.text)}" for name, r in self.replies.items()]
        return "\n\n".join([html.text_table(_HEADS, self.rows()), *texts])

    def _repr_html_(self) -> str:
        table = html.table(_HEADS, self.rows(), numeric=range(1, 5))
        stand_in = any(reply.stand_in for reply, _ in self._ended.values())
        note = html.footer("local stand-in, not Kimi") if stand_in else ""
        texts = {name: reply.text for name, (reply, _) in self._ended.items()}
        return html.wrap(table, note, _side_by_side(texts))


def _facts(reply: Reply, error: Exception | None) -> tuple[str, ...]:
    """Return first token, tokens a second, tokens, cost and end, as texts."""
    ended = reply.finish_reason or ("cut off" if reply.truncated else "")
    if error is not None:
        ended = error.what if isinstance(error, KimiError) else repr(error)
    elif reply.partial or not ended:
        ended = "stopped"
    if not reply.usage.completion_tokens:
        return "", "", "", "", ended
    estimated = reply.usage.estimated
    return (
        "" if reply.first_token_s is None else f"{reply.first_token_s:.2f} s",
        "" if reply.tokens_per_s is None else f"{reply.tokens_per_s:.0f}",
        f"{'~' if estimated else ''}{reply.usage.completion_tokens:,}",
        html.money(reply.cost, estimated=estimated),
        ended,
    )


def _line(lane: Lane) -> str:
    if not lane.over:
        return lane.line
    first, speed, _, cost, ended = _facts(lane.reply, lane.error)
    first, speed = first and f"first token {first}", speed and f"{speed} tokens/s"
    return html.footer_line([ended, first, speed, cost])


def _live(lanes: Mapping[str, Lane]) -> Bundle:
    lines = {name: _line(lane) for name, lane in lanes.items()}
    texts = {name: lane.text[-LIVE_CHARACTERS:] for name, lane in lanes.items()}
    plain = "\n".join(f"{name}: {html.clean(line)}" for name, line in lines.items())
    return {"text/plain": plain, "text/html": html.wrap(_side_by_side(texts, lines))}


def _side_by_side(
    texts: Mapping[str, str], lines: Mapping[str, str] | None = None
) -> str:
    width = f'width="{100 // len(texts)}%" valign="top" style="text-align:left"'
    heads = "".join(f"<th {width}>{html.esc(name)}</th>" for name in texts)
    below = "".join(
        f"<td {width}>{html.footer((lines or {}).get(name, ''))}{html.pre(text)}</td>"
        for name, text in texts.items()
    )
    return f'<table width="100%"><tr>{heads}</tr><tr>{below}</tr></table>'
