"""Write a request as others can run it: as a command for a shell, or a program."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kimikit.errors import BadInput
from kimikit.key_shapes import hide_in_address
from kimikit.types.host import Host
from kimikit.types.sent import Sent

_UNSEEN = re.compile(
    r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls and marks that reorder text, which JSON alone would leave as they are."""

KEY_VARIABLE = "KIMIKIT_API_KEY"
"""Where a key is read from that no variable of the host's own is known for."""

LONGEST_ARGUMENT = 100_000
"""Bytes of a body up to which it is an argument: Linux takes 131,071 for one."""

ADDRESS_KEY_VARIABLE = "KIMIKIT_ADDRESS_KEY"
"""Where a key is read from that stands in the path of an address."""

_LOCAL_KEY = "from kimikit.local import ensure; print(ensure().api_key)"
"""Prints the key of the local host, which is another each time that it starts."""

_IN_PATHS = "!$%&'()*+,/:;=@[\\]^|~"
"""What the path of an address is sent with as it is."""

_OF_SHELLS = frozenset({"_", "ENV", "HOME", "IFS", "PATH", "PWD", "SHELL", "USER"})
"""Variables that are set already, and not to what a header holds."""


def curl(sent: Sent) -> str:
    """Return a request as a ``curl`` command that reads the key from a variable.

    Args:
        sent: How an answer was asked.

    Raises:
        BadInput: If that is not known.
    """
    host, body = _known(sent), sent.body
    if not host.base_url:
        raise _nowhere(host)
    paths = {"chat": "/chat/completions", **host.endpoints}
    given = {"content-type": "application/json", **sent.headers}
    variables = _variables(sent)
    headers = [_header(n, v, variables.get(n)) for n, v in given.items()]
    if sent.has_key and "authorization" not in given:
        headers.insert(0, f'"Authorization: Bearer {_key_in_shell(sent, host)}"')
    options = "-sS --fail-with-body" + (" -N" if body.get("stream") else "")
    lines = [f"curl {options} {_address(host.base_url + paths[sent.endpoint])}"]
    lines += [f"-H {header}" for header in headers]
    # What is quoted for a shell and printed holds nothing that a terminal acts on.
    text = json.dumps(body, ensure_ascii=False)
    text = _UNSEEN.sub(lambda unseen: json.dumps(unseen[0])[1:-1], text)
    data = shlex.quote(text)
    long = len(data.encode()) > LONGEST_ARGUMENT
    lines.append(f"-d @- <<'END'\n{text}\nEND" if long else f"-d {data}")
    return " \\\n  ".join(lines)


def _address(url: str) -> str:
    """Return an address as it was sent, quoted for a shell, and never several to curl.

    curl asks ``{a,b}`` and ``[1-3]`` as many addresses. Braces are sent as numbers;
    brackets are not, nor are those around an IPv6 address, which curl knows.
    """
    scheme, _, rest = url.partition("://")
    name, slash, path = rest.partition("/")
    sent = f"{scheme}://{name}{slash}{quote(path, safe=_IN_PATHS)}"
    parts = map(shlex.quote, hide_in_address(sent).split("***"))
    whole = f'"${ADDRESS_KEY_VARIABLE}"'.join(parts)
    return ("--globoff " if re.search(r"[\[\]]", path) else "") + whole


def _key_in_shell(sent: Sent, host: Host) -> str:
    if not host.stand_in or sent.elsewhere:
        return f"${_variable(host)}"
    # The host is on this machine, and so is the Python that has it.
    return f"$({shlex.quote(sys.executable or 'python')} -c '{_LOCAL_KEY}')"


def _header(name: str, value: str, variable: str | None) -> str:
    """Return a header quoted for a shell; a hidden value is read from a variable."""
    if variable is None:  # curl sends an empty one where a semicolon ends its name
        return shlex.quote(f"{name}: {value}" if value else f"{name};")
    if re.fullmatch(r"[\w-]+", name):
        return f'"{name}: ${variable}"'
    return f'{shlex.quote(f"{name}: ")}"${variable}"'  # its name could be a command


def _variables(sent: Sent) -> dict[str, str]:
    """Return a variable for each header that is hidden, none of them used already."""
    taken = {_variable(_known(sent)), ADDRESS_KEY_VARIABLE, *_OF_SHELLS}
    found = {}
    for header in (name for name, text in sent.headers.items() if text == "***"):
        name = unique = re.sub(r"\W|\A(?=\d)", "_", header).upper()
        count = 1
        while unique in taken:
            unique = f"{name}_{(count := count + 1)}"
        taken.add(unique)
        found[header] = unique
    return found


def python(sent: Sent) -> str:
    """Return a request as a program that asks it by kimikit.

    Args:
        sent: How an answer was asked.

    Raises:
        BadInput: If that is not known.
    """
    host = _known(sent)
    if not (host.base_url or host.stand_in):
        raise _nowhere(host)
    asked, given = sent.question()
    params = {name: value for name, value in given.items() if value is not None}
    if params.get("stream", True):
        params.pop("stream", None)
    kimi: dict[str, Any] = {"model": params.pop("model", host.model)}
    if sent.elsewhere:
        kimi["base_url"] = _Name(_address_in_python(host.base_url))
        if sent.has_key:
            kimi["api_key"] = _Name(f"os.environ[{_variable(host)!r}]")
        elif host.key_variable:
            kimi["api_key"] = ""
    if sent.headers:
        read = {n: _Name(f"os.environ[{v!r}]") for n, v in _variables(sent).items()}
        params["extra_headers"] = {**sent.headers, **read}
    options = "".join(f", {name}={value!r}" for name, value in kimi.items())
    verb = "chat" if sent.endpoint == "chat" else "complete"
    asks = call(f"kimi.{verb}", plainest(asked), params)
    program = f"kimi = Kimi({host.name!r}{options})\nreply = {asks}\nprint(reply)"
    keyed = sent.has_key or "***" in hide_in_address(host.base_url)
    variables = (sent.elsewhere and keyed) or "***" in sent.headers.values()
    first = "import os\n\n" if variables else ""
    return f"{first}from kimikit import Kimi\n\n{program}"


def _address_in_python(url: str) -> str:
    read = f" + os.environ[{ADDRESS_KEY_VARIABLE!r}] + "
    return read.join(map(repr, hide_in_address(url).split("***")))


def call(function: str, asked: Any, given: Mapping[str, Any]) -> str:
    """Return the call of a function as it is written in a cell."""
    lines = [f"    {asked!r},", *(f"    {k}={v!r}," for k, v in given.items())]
    return "\n".join([f"{function}(", *lines, ")"])


def plainest(asked: Any) -> Any:
    """Return messages as one would write them: a lone question is its text."""
    if isinstance(asked, list) and len(asked) == 1:
        only = asked[0]
        if only.keys() == {"role", "content"} and only["role"] == "user":
            return only["content"] if isinstance(only["content"], str) else asked
    return asked


class _Name(str):
    """Python that stands for itself, not for a text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _known(sent: Sent) -> Host:
    if sent.host is None:
        raise BadInput(
            "It is not known how this answer was asked.",
            "Take an answer of kimi.chat(...), or kimi.ledger.calls()[0].reply.",
        )
    return sent.host


def _nowhere(host: Host) -> BadInput:
    """Say that only a ledger, which keeps no addresses, knows of a host."""
    return BadInput(
        f"It is not known here where {host.name} is.",
        "Open a Kimi of it first, and take the answer from kimi.ledger again.",
    )


def _variable(host: Host) -> str:
    name = host.key_variable or KEY_VARIABLE
    return name if re.fullmatch(r"\w+", name) else KEY_VARIABLE
