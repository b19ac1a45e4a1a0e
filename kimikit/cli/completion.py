"""Complete the ``kimikit`` command in shells, by scripts made from its parser."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from typing import NamedTuple

from kimikit.wire import hosts

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_kimikit() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  local words="" path="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    word=${{path:+$path/}}$word
    case " {paths} " in *" $word "*) path=$word;; esac
  done
  case "$before" in
{values}
  esac
  case "$path" in
{options}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ ${{#COMPREPLY[@]}} -gt 0 || $current == -* ]] ||
    COMPREPLY=($(compgen -f -- "$current"))
}}
complete -F _kimikit kimikit
"""

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


class Command(NamedTuple):
    """A command and what can follow it.

    Attributes:
        path: The words that lead to it; none for the program itself.
        help: What it does.
        options: Its options, each with what it does and the values it takes.
        commands: The commands below it, each with what it does.
    """

    path: tuple[str, ...]
    help: str
    options: tuple[tuple[str, str, tuple[str, ...]], ...]
    commands: tuple[tuple[str, str], ...]


def add_to(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    parser: Callable[[], argparse.ArgumentParser],
) -> None:
    """Add the command to a command line.

    Args:
        commands: Where to add it.
        parser: Makes the whole parser.
    """
    completion = commands.add_parser(
        "completion",
        help="print what makes a shell complete this command",
        description="Print a script for a shell, such as: "
        'eval "$(kimikit completion bash)" in ~/.bashrc, the same with zsh in '
        "~/.zshrc, or kimikit completion fish | source in fish's config.",
    )
    completion.add_argument("shell", choices=SHELLS)

    def run(options: argparse.Namespace) -> int:
        import sys

        sys.stdout.write(script(options.shell, parser()))
        return 0

    completion.set_defaults(run=run)


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script for a shell.

    Args:
        shell: One of ``SHELLS``.
        parser: What it completes.
    """
    every = list(_commands(parser, (), ""))
    if shell == "fish":
        return "".join(f"{line}\n" for line in _fish(every))
    options = "\n".join(
        f'    "{"/".join(each.path)}") words="{" ".join(_words(each))}";;'
        for each in every
    )
    known = {
        name: values for each in every for name, _, values in each.options if values
    }
    values = "\n".join(
        f'    {name}) COMPREPLY=($(compgen -W "{" ".join(some)}" -- "$current"))\n'
        "      return;;"
        for name, some in known.items()
    )
    paths = " ".join("/".join(each.path) for each in every if each.path)
    made = _BASH.format(paths=paths, values=values, options=options)
    return _ZSH + made if shell == "zsh" else made


def _words(command: Command) -> list[str]:
    names = [name for name, _ in command.commands]
    return [*names, *(name for name, _, _ in command.options)]


def _commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...], told: str
) -> Iterator[Command]:
    """Yield a parser's command, then those below it."""
    options: list[tuple[str, str, tuple[str, ...]]] = []
    below: list[tuple[str, str]] = []
    parsers: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = [(each.dest, each.help or "") for each in action._choices_actions]
            parsers = dict(action.choices)
            continue
        names = tuple(hosts.profiles()) if action.dest == "host" else ()
        values = tuple(map(str, action.choices or names))
        if not action.option_strings:
            below += [(value, "") for value in values]
        options += [(name, action.help or "", values) for name in action.option_strings]
    yield Command(path, told, tuple(options), tuple(below))
    known = dict(below)
    for name, each in parsers.items():
        yield from _commands(each, (*path, name), known.get(name, ""))


def _fish(every: list[Command]) -> Iterator[str]:
    yield "complete -c kimikit -f -n '__fish_use_subcommand'"
    for command in every:
        seen = [f"__fish_seen_subcommand_from {word}" for word in command.path]
        names = [name for name, _ in command.commands]
        if names and command.path:
            seen.append(f"not __fish_seen_subcommand_from {' '.join(names)}")
        when = "; and ".join(seen) or "__fish_use_subcommand"
        begin = f"complete -c kimikit -n {shlex.quote(when)}"
        for name, told in command.commands:
            yield f"{begin} -f -a {name} -d {shlex.quote(told)}"
        for name, told, values in command.options:
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            some = f" -x -a {shlex.quote(' '.join(values))}" if values else ""
            yield f"{begin} {kind} -d {shlex.quote(told)}{some}"
