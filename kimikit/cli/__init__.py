"""Run the command ``kimikit`` with its subcommands.

Enter at ``main``; ``parser`` lists the commands. ``doctor`` looks at this machine;
``ask``, ``key`` and ``completion`` have a module each, recordings are in ``replay``.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kimikit import html
from kimikit.display.progress import Lenient
from kimikit.display.renderable import Renderable
from kimikit.errors import KimiError
from kimikit.errors.extras import pip_install
from kimikit.session import Kimi
from kimikit.version import __version__, installed

if TYPE_CHECKING:
    import argparse

ABOUT = "Ask Kimi, see what works and what was spent, serve and record: one command."

PACKAGES = ("httpx", "msgspec", "ipython", "ipywidgets", "matplotlib", "numpy")
"""Packages whose versions a report of trouble should name."""

EXTRAS = {
    "local": ("xllamacpp", "the local model, for which no key is needed"),
    "lab": ("jupyterlab", "JupyterLab, where the notebooks open"),
    "prices": ("genai-prices", "prices of models outside our own table"),
    "tokens": ("tiktoken", "exact token counts for Kimi"),
    "pandas": ("pandas", "to_pandas() of sweeps, labs and the ledger"),
    "scale": ("duckdb", "answers on disk as Parquet, SQL over them"),
    "cluster": ("distributed", "work of many machines, by Dask"),
    "mcp": ("mcp", "tools from MCP servers"),
    "sandbox": ("pydantic-monty", "run_python, where a model's code runs shut in"),
    "documents": ("semantic-text-splitter", "long documents in brief and map_reduce"),
}
"""For each extra the package that tells whether it is there, and what it adds."""


class Check(msgspec.Struct, frozen=True):
    """One line of a diagnosis."""

    name: str
    ok: bool
    detail: str


class Diagnosis(Renderable, msgspec.Struct, frozen=True):
    """What ``doctor`` found; shows itself as text and as a table."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(c.name, "ok" if c.ok else "look here", c.detail) for c in self.checks]

    def _parts(self) -> tuple[str, list[html.Cell], str]:
        lines = "\n".join(
            html.filled(f"{name:<13} {state:<9} {found}", 96, indent=24)
            for name, state, found in self._rows()
        )
        table = html.table(("check", "state", "found"), self._rows())
        return "", [html.Cell(lines, table)], ""


def doctor(host: str | None = None, *, live: bool = True) -> Diagnosis:
    """Look at everything that a first answer needs and say what is missing.

    Args:
        host: A profile's name; without one the host that ``Kimi()`` would choose.
        live: Whether to make one short call, with its timing.

    Returns:
        A ``Diagnosis``; its checks never raise, a failure is one of them.

    Example:
        >>> doctor("local", live=False)
        Python        ok        3...
        packages      ok        httpx ...
        >>> doctor("local").ok
        True
    """
    checks = [_python(), _packages(), _extras(), _try("run_python", _run_python)]
    try:
        kimi = Kimi(host, show=False)
    except KimiError as error:
        checks.append(Check("host", ok=False, detail=str(error)))
        return Diagnosis((*checks, _try("local models", _local_models)))
    checks += [
        Check("host", ok=True, detail=kimi.why),
        _try("local models", _local_models),
        Check("key", ok=True, detail=kimi.key_state),
        _try("ledger", lambda: _ledger(kimi)),
    ]
    if live:
        checks.append(_try("one live call", lambda: _live(kimi)))
    return Diagnosis(tuple(checks))


def _try(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, detail=look())
    except KimiError as error:
        return Check(name, ok=False, detail=str(error))


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("Python", ok=sys.version_info >= (3, 11), detail=found)


def _packages() -> Check:
    found = {name: installed(name) for name in PACKAGES}
    detail = ", ".join(f"{name} {version}" for name, version in found.items())
    return Check("packages", all(found.values()), detail)


def _extras() -> Check:
    here, absent = [], []
    for extra, (package, adds) in EXTRAS.items():
        if version := installed(package):
            here.append(f"{package} {version}")
        else:
            absent.append(f"{pip_install(package, extra)} adds {adds}")
    detail = "; ".join(filter(None, [", ".join(here), *absent]))
    return Check("extras", ok=True, detail=detail)


def _run_python() -> str:
    """Say what holds when a model's code is run, by trying it."""
    from kimikit.tools.samples import containment

    shut_in = "pydantic-monty is not here"
    if installed("pydantic-monty"):
        shut_in = f"the sandbox {_walls(containment())}"
    real = _walls(containment(real=True))
    return f"{shut_in}; python(real=True) {real}"


def _walls(found: dict[str, bool]) -> str:
    held = ", ".join(name for name, holds in found.items() if holds)
    open_ = ", ".join(name for name, holds in found.items() if not holds)
    return f"holds {held or 'nothing'}" + (
        f", and no wall against {open_}" if open_ else ""
    )


def _local_models() -> str:
    from kimikit import local

    state = local.status()
    models = ", ".join(
        f"{name} {'cached' if cached else 'not fetched yet'}"
        for name, cached in state["models"].items()
    )
    running = state["running"]
    server = f"running at {running.base_url}" if running else "not running"
    return f"{models}; in {state['cache_folder']}; server {server}"


def _ledger(kimi: Kimi) -> str:
    path = kimi.ledger.path
    kimi.ledger.calls(1)  # which opens the file
    if (why := kimi.ledger.failure) is not None:
        raise KimiError(
            f"{path} cannot be written ({why}), so nothing keeps what calls cost.",
            "Point KIMIKIT_LEDGER at a file that can be written.",
        )
    size = path.stat().st_size / 1e6 if path.exists() else 0.0
    return f"{path}, {size:.1f} MB"


def _live(kimi: Kimi) -> str:
    reply = kimi.chat("Say hello in one word.", max_tokens=16, show=False)
    return f"{html.clean(reply.text).strip()[:60]!r}; {reply.footer()}"


def _serve(options: argparse.Namespace) -> int:
    from kimikit import local

    local.serve(
        port=options.port,
        api_key=options.api_key,
        upstream=options.upstream,
        concurrency=options.concurrency,
    )
    return 0


def _fetch(_: argparse.Namespace) -> int:
    from kimikit.local import models

    models.fetch()
    return 0


def _doctor(options: argparse.Namespace) -> int:
    diagnosis = doctor(options.host, live=not options.no_call)
    print(diagnosis)
    return 0 if diagnosis.ok else 1


def _usage(options: argparse.Namespace) -> int:
    from kimikit.money.ledger import Ledger

    print(Ledger())
    return 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    import argparse  # here, since `import kimikit` reads this file for the doctor

    from kimikit.cli.ask import add_to as add_ask
    from kimikit.cli.completion import add_to as add_completion
    from kimikit.cli.key import add_to as add_key
    from kimikit.replay import commands as recording

    whole = argparse.ArgumentParser(
        prog="kimikit",
        description=ABOUT,
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(required=True, metavar="command")

    add_ask(commands)

    look = commands.add_parser("doctor", help="say what works and what is missing")
    look.add_argument("--host", help="look at this host instead of the default")
    look.add_argument("--no-call", action="store_true", help="make no live call")
    look.set_defaults(run=_doctor)

    serve = commands.add_parser("serve", help="offer the local models to any client")
    serve.add_argument("--port", type=int, default=0, help="a free one unless given")
    serve.add_argument("--api-key", help="the key to ask for, a random one by default")
    serve.add_argument(
        "--upstream",
        metavar="URL",
        help="offer batches in front of this server; KIMIKIT_UPSTREAM_KEY is its key",
    )
    serve.add_argument(
        "--concurrency", type=int, default=8, help="its requests at once, 8 by default"
    )
    serve.set_defaults(run=_serve)

    fetch = commands.add_parser("fetch", help="put the local models into the cache")
    fetch.set_defaults(run=_fetch)

    recording.add_to(commands)

    usage = commands.add_parser("usage", help="print what all calls have cost")
    usage.set_defaults(run=_usage)

    add_key(commands)
    add_completion(commands, parser)
    return whole


def _output() -> Any:
    """Return standard output, which writes out what it has no letters for.

    A stream that was closed before this began, as by ``>&-``, goes nowhere.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Lenient(sys.stdout)


def _unwritten(failure: Exception) -> int:
    """Say that standard output failed, and let Python not try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(failure, BrokenPipeError):  # as of `kimikit usage | head -1`
        told = getattr(failure, "strerror", None) or failure
        remedy = "Send it to another place."
        print(f"kimikit: The output could not be written: {told}. {remedy}",
              file=sys.stderr)  # fmt: skip
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; errors are one message on stderr and status 1."""
    options, out = parser().parse_args(arguments), _output()
    try:
        with contextlib.redirect_stdout(out):
            status: int = options.run(options)
            out.flush()
    except KimiError as error:
        print(f"kimikit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _unwritten(out.failure) if out.failure else status
