"""What a call says of its way to the host: headers and patience, never in the body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kimikit.errors import BadInput
from kimikit.plain import plain

_ELSEWHERE = {
    "api_key": "Make a client with it: Kimi(api_key=...).",
    "base_url": "Make a client of that address: Kimi(base_url=...).",
    "api_base": "Make a client of that address: Kimi(base_url=...).",
    "max_retries": "Set it when the client is made: Kimi(max_retries=...).",
    "default_headers": "Pass extra_headers={...}, to a call or to Kimi(...).",
    "headers": "Pass extra_headers={...}, to a call or to Kimi(...).",
    "organization": "Pass extra_headers={'OpenAI-Organization': ...}.",
    "project": "Pass extra_headers={'OpenAI-Project': ...}.",
    "extra_query": "Leave it out: what a gateway wants can stand in extra_headers=.",
    "default_query": "Leave it out: what a gateway wants can stand in extra_headers=.",
    "http_client": "Pass transport= when the client is made.",
}
"""Options of other clients that would land in the body, keys included."""


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
        BadInput: If an option is one of other clients, or impossible.
    """
    refuse(params)
    rest = dict(params)
    found = Options(headers(rest.pop("extra_headers", None)), rest.pop("timeout", None))
    return found, rest


def refuse(params: Mapping[str, Any]) -> None:
    """Refuse options that act elsewhere, so that they are not sent as parameters."""
    for name in params:
        if name in _ELSEWHERE:
            raise BadInput(f"{name}= is no parameter of a call.", _ELSEWHERE[name])
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
    extra = {**(defaults.get("extra_body") or {}), **(params.get("extra_body") or {})}
    return {**defaults, **params, "extra_body": extra or None}


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
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None or (isinstance(value, str) and _is_header(value)):
            out[str(name)] = None if value is None else str.__str__(value).strip()
            continue
        raise BadInput(
            f"The header {name} in extra_headers is no text of one line.",
            "Pass ASCII text.",
        )
    return out


def _is_header(value: str) -> bool:
    return value.isascii() and value.strip().replace("\t", " ").isprintable()


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
