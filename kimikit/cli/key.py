"""Keep the key of a host in the system's keyring, by ``kimikit key``."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from kimikit.errors import BadInput
from kimikit.secrets import Key
from kimikit.wire import hosts, stored_keys

if TYPE_CHECKING:
    import argparse


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    key = commands.add_parser("key", help="keep a host's key in the system's keyring")
    verbs = key.add_subparsers(required=True, metavar="verb")
    for verb, told, run in (
        ("set", "ask for the key, and keep it", _set),
        ("remove", "forget it", _remove),
    ):
        one = verbs.add_parser(verb, help=told)
        one.add_argument("host", help="a host's name, such as together")
        one.set_defaults(run=run)


def _set(options: argparse.Namespace) -> int:
    host = hosts.resolve(options.host)
    if not host.key_variable:
        raise BadInput(
            f"{host.name} needs no key.", "Use it: " + f"Kimi({host.name!r})."
        )
    if sys.stdin.isatty():
        key = Key(getpass.getpass(f"Key of {host.title or host.name} (not shown): "))
    else:
        key = Key(sys.stdin.readline())
    if not key.check():
        raise BadInput("No key was given.", f"Make one at {host.key_url}.")
    stored_keys.put(host, key)
    sys.stdout.write(f"Kept in the keyring. Kimi({host.name!r}) uses it.\n")
    return 0


def _remove(options: argparse.Namespace) -> int:
    host = hosts.resolve(options.host)
    stored_keys.remove(host)
    sys.stdout.write(f"The keyring holds no key of {host.name} any more.\n")
    return 0
