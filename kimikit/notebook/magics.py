"""Register ``%%kimi``, a cell that is a prompt, ``%kimi_cost`` and ``%kimi_host``.

``register`` is called by ``%load_ext kimikit`` with a maker of the session's object,
so that this package need not import it.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import functools
import json
import re
import shlex
import string
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import display

from kimikit import html
from kimikit.display.cell import arm
from kimikit.errors import BadInput, nearest
from kimikit.notebook.screen import emitted, rich
from kimikit.tools.results import whole_text_of
from kimikit.types import Reply
from kimikit.wire import hosts

MOST_TOLD = 200_000
"""Characters of a variable that a prompt takes, as CSV or JSON."""


def register(shell: Any, make_kimi: Callable[..., Any]) -> None:
    """Add the magics to an IPython shell.

    Args:
        shell: The shell.
        make_kimi: Makes a ``Kimi``; called with ``host=`` a name or ``None``, and only
            when a magic first needs it.
    """
    magics = KimiMagics(shell, make_kimi)
    shell.register_magics(magics)
    shell.events.register("post_run_cell", magics.note_error)
    for name in ("%%kimi", "%kimi_host"):
        shell.set_hook("complete_command", magics.complete, str_key=name)
    # A cell magic with nothing below it is refused before it is asked.
    shell.input_transformers_cleanup.append(_help_alone)
    arm()


def _help_alone(lines: list[str]) -> list[str]:
    """Let ``%%kimi --help`` do without a cell below it."""
    whole = "".join(lines).split()
    asks = whole[:1] == ["%%kimi"] and whole[1:] in (["--help"], ["-h"], [])
    return ["%kimi\n"] if asks else lines


def fill(text: str, names: Mapping[str, Any]) -> str:
    """Put values into ``{name}``, ``{name.attribute}`` and ``{Out[3]}``.

    ``{{`` and ``}}`` stand for braces themselves. A ``Reply`` is filled in as its text.

    Raises:
        BadInput: If a name or entry is unknown, or a brace stands alone.
    """
    try:
        return _Filler().vformat(text, (), names)
    except BadInput:
        raise
    except Exception as exc:  # attributes and formats of the user's own objects
        raise BadInput(
            f"The braces of the prompt cannot be filled in: {exc}.",
            "Write {{ and }} for braces that shall stay.",
        ) from exc


class _Filler(string.Formatter):
    def get_field(self, field: str, args: Any, names: Mapping[str, Any]) -> Any:
        try:
            return super().get_field(field, args, names)
        except LookupError as exc:
            raise BadInput(
                f"There is no {field}.", "Name what is there; cells count from 1."
            ) from exc

    def get_value(self, key: int | str, args: Any, names: Mapping[str, Any]) -> Any:
        if key in names:
            return names[str(key)]
        raise BadInput(
            f"{{{key}}} is no variable of this notebook.{nearest(str(key), names)}",
            "Define it first, or write {{ and }} for braces that shall stay.",
        )

    def format_field(self, value: Any, format_spec: str) -> Any:
        shown = value.text if isinstance(value, Reply) else value
        return format(shown, format_spec) if format_spec else variable_text(shown)


def variable_text(value: Any) -> str:
    """Return a variable as text, frames and arrays whole.

    As they show themselves they leave out rows, columns, digits and the ends of texts.

    Raises:
        BadInput: If that is more than ``MOST_TOLD``.
    """
    if isinstance(value, enum.Enum):
        return variable_text(value.value)
    if getattr(value, "ndim", None) == 0:  # one number of numpy's
        return str(value)
    table = any(hasattr(value, name) for name in ("to_csv", "write_csv", "dtype"))
    if isinstance(value, str) or not table:
        text = str(value)
        shortened = not isinstance(value, str) and ("..." in text or "\u2026" in text)
        if len(text) <= MOST_TOLD and not shortened:
            return text
        if isinstance(value, str):
            return value
    whole = whole_text_of(value, MOST_TOLD)
    if whole is None:
        raise BadInput(
            f"A {type(value).__name__} is more than {MOST_TOLD:,} characters long.",
            "Put the part that matters into a variable of its own: part = df.head(50).",
        )
    return whole


def _words(line: str) -> list[str]:
    """Return the words of a magic's line, as a shell would but with backslashes kept.

    Raises:
        BadInput: If a quote has no end.
    """
    # A backslash stands for itself, as in C:\temp, but before a quote that goes on.
    doubled = re.sub(r"\\(?![\"'])", r"\\\\", line)
    for text, escape in ((doubled, "\\"), (line, "")):
        words: Any = shlex.shlex(text, posix=True)
        words.whitespace_split, words.commenters = True, ""
        words.escape, words.escapedquotes = escape, "\"'"
        with contextlib.suppress(ValueError):
            return list(words)
    # shlex tells which of the two is open by its state alone.
    mark = words.state
    other = '"' if mark == "'" else "'"
    raise BadInput(
        f"The line of %%kimi has a {mark} without its end: {line.strip()}.",
        f"End it, or put the text around it between {other}: -S {other}...{other}.",
    )


def _show_request(found: Any) -> None:
    """Show what was sent for an answer, or for the first of several."""
    several = getattr(found, "replies", None) or [getattr(found, "reply", None)]
    reply = found if isinstance(found, Reply) else several[0]
    if reply is not None:
        text = json.dumps(reply.request, indent=2, ensure_ascii=False)
        shown = html.fold("request", html.pre(text), shown=True)
        display(emitted(rich(text, shown)), raw=True)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 0.2,0.6,1") from exc


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@magics_class
class KimiMagics(Magics):
    """The magics, with the session's object, made when first needed."""

    shell: Any

    def __init__(self, shell: Any, make_kimi: Callable[..., Any]) -> None:
        super().__init__(shell)
        self._make = functools.cache(make_kimi)
        self._host: str | None = None
        self._errors: dict[int, str] = {}

    def kimi(self, host: str | None = None) -> Any:
        """Return the ``Kimi`` of a host: the user's own ``kimi`` where it is that."""
        host = host or self._host
        own = self.shell.user_ns.get("kimi")
        at = getattr(getattr(own, "host", None), "name", None)
        if at is not None and host in (None, at):
            return own
        return self._make(host=host)

    def note_error(self, result: Any) -> None:
        """Keep the error of a cell for ``{Err[n]}``."""
        error = result.error_in_exec or result.error_before_exec
        if error is not None and result.execution_count:
            lines = traceback.format_exception_only(type(error), error)
            self._errors[result.execution_count] = "".join(lines).strip()

    @magic_arguments("%kimi")
    @argument("-T", "--temperature", type=_numbers, help="one, or several: 0.2,0.6,1")
    @argument("-n", "--repeats", type=int, default=1, help="how often to ask")
    @argument("-m", "--model", type=_names, help="a model id, or several: a,b")
    @argument("--host", help="a host's name")
    @argument("-S", "--system", help="a system message")
    @argument("--tools", type=_names, help="functions to let it use: f,g")
    @argument("--max-tokens", type=int, help="limit of the answer")
    @argument("--into", help="a variable for the result")
    @argument("--json", action="store_true", help="ask for JSON; see .parsed")
    @argument("--show-request", action="store_true", help="show what was sent")
    @argument("-h", "--help", action="store_true", help="show this")
    @cell_magic("kimi")  # type: ignore[arg-type]
    def ask(self, line: str, cell: str) -> Any:
        """Ask what the cell says.

        ``{variable}``, ``{In[3]}``, ``{Out[3]}`` and ``{Err[3]}`` are filled in.
        Several temperatures or models, or ``-n``, make a sweep; ``--tools`` a run.
        """
        options = self.ask.parser.parse_args(_words(line))
        if options.help:
            return self.describe(line)
        into = options.into
        if into is not None and not into.isidentifier():
            raise BadInput(f"--into {into} is no name.", "Give a variable's name.")
        found = self._ask(options, cell.strip())
        if options.show_request:
            _show_request(found)
        if into is None:
            return found
        self.shell.user_ns[into] = found
        return None

    def _ask(self, options: Any, cell: str) -> Any:
        names = {**self.shell.user_ns, "Err": self._errors}
        prompt = fill(cell, names)
        params: dict[str, Any] = {}
        if options.system is not None:
            params["system"] = fill(options.system, names)
        if options.max_tokens is not None:
            params["max_tokens"] = options.max_tokens
        axes = {"temperature": options.temperature, "model": options.model}
        params |= {k: v if len(v) > 1 else v[0] for k, v in axes.items() if v}
        sweeps = options.repeats != 1 or any(
            isinstance(params.get(k), list) for k in axes
        )
        if sum([sweeps, bool(options.tools), options.json]) > 1:
            raise BadInput(
                "A sweep, --tools and --json exclude each other.",
                "Use one of them, or kimi.sweep and kimi.run in Python.",
            )
        kimi = self.kimi(options.host)
        if sweeps:
            return kimi.sweep(prompt, repeats=options.repeats, **params)
        if options.tools:
            tools = [_Filler().get_value(name, (), names) for name in options.tools]
            return kimi.run(prompt, tools, **params)
        if options.json:
            params["into"] = dict[str, Any]
        return kimi.chat(prompt, **params)

    @line_magic("kimi")  # type: ignore[arg-type]
    def describe(self, line: str) -> None:
        """Show what ``%%kimi`` takes."""
        print(self.ask.parser.format_help())  # noqa: T201 - as %quickref does

    @line_magic
    def kimi_cost(self, line: str) -> Any:
        """Show what all calls have cost."""
        return self.kimi().ledger

    @line_magic
    def kimi_host(self, line: str) -> Any:
        """Show the host in use, or choose another by name for the cells that follow."""
        name = line.strip()
        if name:
            hosts.resolve(name)  # refuses one that does not exist
        self._host = name or self._host
        return self.kimi().host

    def complete(self, shell: Any, event: Any) -> Sequence[str]:
        """Complete hosts, models and options; called by IPython."""
        line = event.line[: -len(event.symbol)] if event.symbol else event.line
        before = line.split()[-1] if line.split() else ""
        profiles = hosts.profiles()
        if before in ("--host", "%kimi_host"):
            found: Sequence[str] = list(profiles)
        elif before in ("-m", "--model"):
            words = event.line.split()
            named = words[words.index("--host") + 1 :][:1] if "--host" in words else []
            known = [profiles[n] for n in named if n in profiles] or profiles.values()
            found = sorted({m.id for p in known for m in p.models})
        else:
            found = [each.option_strings[-1] for each in self.ask.parser._actions]
        return [word for word in found if word.startswith(event.symbol)]
