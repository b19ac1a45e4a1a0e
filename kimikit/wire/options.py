"""Read what a call says of its way to the host: headers and timeouts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kimikit.errors import BadInput
from kimikit.json_values import is_number, is_within, plain
from kimikit.params import refuse_elsewhere
from kimikit.secrets import Secret, hidden

CONNECT_S = 20.0
FIRST_BYTE_S = 600.0
"""A reasoning model at full effort thinks for minutes before its first byte."""
GAP_S = 300.0
"""The longest silence inside an answer."""
_LIMITS = {"connect": CONNECT_S, "first_byte": FIRST_BYTE_S, "gap": GAP_S}


class Options(NamedTuple):
    """What a call says of its way to the host, not of its content.

    Attributes:
        headers: Its own headers.
        timeout: Its own patience.
    """

    headers: Mapping[str, str | None]
    timeout: Any


def options(params: Mapping[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Part the options of a call from the parameters of its body.

    Raises:
        BadInput: If one is impossible.
    """
    check_extra(params)
    refuse_elsewhere(params)
    rest = dict(params)
    found = Options(headers(rest.pop("extra_headers", None)), rest.pop("timeout", None))
    return found, rest


def check_extra(params: Mapping[str, Any]) -> None:
    """Refuse an ``extra_body`` that is no dict."""
    extra = params.get("extra_body")
    if extra is not None and not isinstance(extra, Mapping):
        raise BadInput(
            f"extra_body is of type {type(extra).__name__}.",
            "Pass a dict of what only this host knows.",
        )


def joined(defaults: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a call over its client's.

    The two ``extra_body`` are joined field by field.
    """
    check_extra(params)
    extra = {**(defaults.get("extra_body") or {}), **(params.get("extra_body") or {})}
    return {**defaults, **params, "extra_body": extra or None}


def plain_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JSON has them, of whatever types they are."""
    return {n: v if n == "image" else plain(v, n) for n, v in params.items()}


def headers(given: Mapping[str, Any] | None) -> dict[str, str | None]:
    """Return extra headers, checked; one that is ``None`` is not sent.

    Raises:
        BadInput: If a name or a value cannot be one of HTTP.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise BadInput(
            f"extra_headers is of type {type(given).__name__}.", "Pass a dict of texts."
        )
    out: dict[str, str | None] = {}
    for name, value in given.items():
        fits = isinstance(name, str) and re.fullmatch(
            r"[\w!#$%&'*+.^`|~-]+", name, re.A
        )
        if not fits or str(name).lower() in ("content-length", "transfer-encoding"):
            raise BadInput(f"extra_headers has the name {name!r:.40}.", "Rename it.")
        if is_number(value):
            value = str(value)
        if value is None or (isinstance(value, str) and _is_header(value)):
            text = None if value is None else str.__str__(value).strip()
            secret = isinstance(value, Secret)
            out[str(name)] = Secret(text) if secret else hidden(text, str(name))
            continue
        raise BadInput(
            f"The header {name} in extra_headers is no text of one line.",
            "Pass ASCII text.",
        )
    return out


def _is_header(value: str) -> bool:
    return value.isascii() and value.strip().replace("\t", " ").isprintable()


def timeouts(
    timeout: float | Mapping[str, float] | None, limits: dict[str, float] = _LIMITS
) -> dict[str, float]:
    """Return how long each part of a call may take, by default as ``limits`` say.

    Raises:
        BadInput: If a part has no such name, or no time.
    """
    if timeout is None:
        return limits
    given = timeout if isinstance(timeout, Mapping) else dict.fromkeys(limits, timeout)
    for name, value in given.items():
        known = name in limits and (value is None or is_within(value, 0))
        if not known or value == 0:
            raise BadInput(
                f"timeout has {name}={value!r:.80}.",
                "Pass seconds above 0, or a dict of connect, first_byte and gap.",
            )
    return limits | {n: float(v) for n, v in given.items() if v is not None}


def sent_headers(*given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the headers of a request: of each name the last, whatever its case."""
    last = {name.lower(): value for some in given for name, value in some.items()}
    return {name: value for name, value in last.items() if value is not None}


NONE = Options({}, None)
"""A call that says nothing of its way."""


def fields(**given: Any) -> dict[str, Any]:
    """Return the fields of a body as JSON has them; what is ``None`` is left out.

    Raises:
        BadInput: If one has no JSON form.
    """
    return {n: plain(v, n) for n, v in given.items() if v is not None}
