"""Turn a host's failures into typed errors, say when to try again, and hide keys."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urljoin

from kimikit import errors, html
from kimikit.secrets import redact
from kimikit.types import Call
from kimikit.wire.hosts import trimmed
from kimikit.wire.reports import WORDS_LIMIT, read_report
from kimikit.wire.rules import matching

LONGEST_WAIT_S = 60.0
"""The longest pause before a new try, whatever the host asks for."""
FIRST_WAIT_S = 0.5
LONGEST_SENSE_S = 400 * 86400.0
"""A wait beyond this is a misread figure, not a wish."""
LOG_LIMIT = 4000
"""Characters of a line in the log; pictures would fill it."""

# Patterns are compiled at their first use: most sessions never need them.
_PINS = "temperature|top_p|top_k|n|presence_penalty|frequency_penalty"
_NUMBER = r"-?\d{1,18}(?:\.\d{1,18})?"
_FIXED = (
    rf"(?i)\b({_PINS})\b\W{{0,4}}(?:must be|should be|is fixed (?:to|at)|only)\s+"
    rf"(?:exactly |equal to )?({_NUMBER})(?![\d.]*\d)(?! ?(?:or|to|and|,))"
    rf"|\b({_PINS})\b\W? does not support .{{0,60}}?only the default \(({_NUMBER})\)"
)

_REMEDIES = {
    errors.ContentFiltered: "Rephrase the prompt.",
    errors.ContextTooLong: "Shorten the prompt, or lower max_tokens.",
    errors.NoBalance: "Top the account up{at_page}, or use another host.",
    errors.Overloaded: "Wait a minute and run it again, or use another host.",
    errors.EndpointNotServed: (
        "Start the server so that it serves this endpoint, or use another host."
    ),
    errors.RateLimited: "Wait, send fewer requests at once, or set rpm=.",
    errors.ModelNotFound: "Name another model than {model!r}.",
    errors.AuthenticationFailed: "Check {variable}{or_page}.{twin}",
    errors.BadRequest: "Change the request as the host says, and run it again.",
    errors.StatusError: (
        "Run it again; if it stays, check the address, base_url is {base_url}, or ask "
        "the host's support."
    ),
}
_BLOCKED = (
    "A proxy or firewall before the host refused it, not the host itself: look at its "
    "page in this error's .body, and try another network or HTTPS_PROXY."
)
_TWINS = {"moonshot": "moonshot-cn", "moonshot-cn": "moonshot"}
_UNIT_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def logs() -> bool:
    """Say whether ``KIMIKIT_LOG`` asks to show what goes over the wire."""
    return os.environ.get("KIMIKIT_LOG", "").lower() == "debug"


def log(line: object, *keys: str) -> None:
    """Write a line of the wire to standard error if asked to, keys redacted."""
    if logs():
        shown = html.clean(redact(f"kimikit {line}", *keys))
        sys.stderr.write(shown[:LOG_LIMIT] + "\n")


def decode(body: bytes | bytearray) -> str:
    """Return a body as text, whatever bytes it has."""
    return body.decode("utf-8", "replace")


def status_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes | dict[str, Any],
    call: Call,
    *keys: str,
) -> errors.StatusError:
    """Return the typed error of an answer, or of an error inside a stream.

    Args:
        status: The HTTP status, or the one named inside a stream, 0 if none is; 200
            for what is no answer at all, such as a page of HTML.
        headers: The answer's headers, names in lower case.
        body: The raw body, or the object that reports the error.
        call: What was asked.
        keys: The keys in use, which must not appear.
    """
    raw = json.dumps(body) if isinstance(body, dict) else decode(body)
    report = read_report(raw)
    message = redact(report.message, *keys)
    details: dict[str, Any] = {
        "status": status or None,
        "host": call.host.name,
        "request_id": request_id(headers, *keys),
        "host_message": message,
        "body": redact(raw[: 2 * errors.BODY_LIMIT], *keys),
    }
    said = f": {message.rstrip('.')}." if message else "."
    verbs = {0: "reported an error", 200: "sent no answer"}
    verb = verbs.get(status, f"answered {status}")
    what = f"{call.host.title or call.host.name} {verb}{said}"
    if status in (301, 302, 303, 307, 308):
        place = redact(headers.get("location", ""), *keys)
        return _moved(what, place, call.host.base_url, details)
    text = report.message[:WORDS_LIMIT]
    fixed = re.search(_FIXED, text) if status in (0, 400, 422) else None
    if fixed:
        log(f"! FixedTemperature by {fixed[0]!r}", *keys)
        name, allowed = fixed[1] or fixed[3], float(fixed[2] or fixed[4])
        return pinned(what, name.lower(), allowed, call.body, **details)
    kind, shown, own = matching(status, report, call.model)
    log(f"! {kind.__name__} by {shown}", *keys)
    if kind is errors.RateLimited:
        details["retry_after_s"] = retry_after(headers, raw[:WORDS_LIMIT])
    blocked = kind is errors.StatusError and status in (403, 407)
    remedy = own or (_BLOCKED if blocked else _REMEDIES[kind])
    return kind(what, _filled(remedy, call), **details)


def _moved(
    what: str, location: str, before: str, details: dict[str, Any]
) -> errors.StatusError:
    """Return the error of a redirect that is not followed: it would take the key."""
    with contextlib.suppress(ValueError):
        location = urljoin(f"{before.rstrip('/')}/", location) if location else ""
    base = trimmed(location.partition("?")[0])
    remedy = f"If you trust that address, make a client with base_url={base[:300]!r}."
    if not base.startswith(("http://", "https://")) or base == before.rstrip("/"):
        remedy = "Check the address given as base_url."
    if location:
        what = f"{what.rstrip('.')}: it points to {location[:300]}."
    return errors.StatusError(what, remedy, **details)


def _filled(remedy: str, call: Call) -> str:
    host = call.host
    page, twin = host.key_url, _TWINS.get(host.name)
    other = " Keys of .ai and .cn are not interchangeable: try host={!r}."
    return remedy.format(
        at_page=f" at {page}" if page else "",
        or_page=f", or make a key at {page}" if page else "",
        variable=host.key_variable or "api_key",
        twin=other.format(twin) if twin else "",
        model=call.model,
        base_url=host.base_url,
    )


def pinned(
    what: str, name: str, allowed: float, sent: Mapping[str, Any], **details: Any
) -> errors.FixedTemperature:
    """Return the error of a parameter that takes no value but ``allowed``."""
    remedy = (
        f"Leave {name} out; to vary it, use another host or an older model, such as K2 "
        "Instruct on Novita, OpenRouter or a server of your own."
    )
    if sent.get(name) in (None, allowed):
        remedy = f"The host refuses even that value: leave it out with {name}=None."
    return errors.FixedTemperature(
        what, remedy, allowed=allowed, parameter=name, **details
    )


def name_models(
    error: errors.ModelNotFound, asked: str, available: Iterable[str]
) -> None:
    """Put the models that a host serves now into the error of one it does not."""
    import difflib

    error.available = tuple(available)
    if error.available:
        close = difflib.get_close_matches(asked, error.available, n=3, cutoff=0.0)
        error.remedy = (
            f"This host serves {', '.join(close)}; see .available of this error."
        )
        error.args = (error.what, error.remedy)


def request_id(headers: Mapping[str, str], *keys: str) -> str | None:
    """Return the id to quote to the host's support, under any of its names."""
    names = ("x-request-id", "request-id", "x-trace-id", "cf-ray")
    found = next(filter(None, map(headers.get, names)), None)
    return None if found is None else redact(found[:200], *keys)


def retry_after(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return the wait that a host asks for, in seconds, in whatever form it does.

    Forms: seconds, an HTTP or ISO date, a Unix time in seconds, milliseconds or less,
    ``1.2s``, ``42ms``, ``2m59.56s``, ``PT1.5S``, ``2 minutes``.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        wait = seconds(f"{headers[name]}ms") if headers.get(name) else None
        if wait is not None:
            return wait
    for name in ("retry-after", "x-ratelimit-reset", "ratelimit-reset", *_AFTER):
        if headers.get(name):
            return seconds(headers[name])
    waits = [
        headers.get(name.replace("remaining", "reset"), "")
        for name, left in headers.items()
        if left == "0" and "ratelimit" in name and "remaining" in name
    ]
    limits = headers.get("ratelimit", "")[:WORDS_LIMIT]
    for limit in limits.split(",") if ";" in limits else [limits]:
        if re.search(r"\br(?:emaining)?=0\b", limit):
            waits += re.findall(r"\b(?:t|reset)=(\d{1,12})\b", limit)
    known = [wait for wait in map(seconds, waits) if wait is not None]
    if known:
        return max(known)
    said = re.search(_SAID, message[:WORDS_LIMIT], re.I)
    return seconds(said[1].rstrip(" .,")) if said else None


_AFTER = "x-ratelimit-reset-after", "x-retry-after"
_SAID = (
    r"(?:(?:try|retry|wait)(?: again)? ?(?:in|after|for)?"
    r"|retry[_-]?(?:delay|after)\W{1,5}"
    r"|\breset\w* in) {0,2}((?:\d{1,10}(?:\.\d{1,9})? ?[a-z]{0,12}[., ]{0,2}){1,4})"
)
_PART = re.compile(
    r"(\d{1,20}(?:\.\d{1,20})?) ?(milliseconds?|msecs?|ms|seconds?|secs?|s"
    r"|minutes?|mins?|m|hours?|hrs?|h|days?|d)?(?![a-z])[ ,]{0,2}(?:and )?",
    re.I,
)
"""A number and its unit; the letters of a unit must end there or at a digit."""


def seconds(text: str) -> float | None:
    """Read a wait in any of the forms of ``retry_after``; ``None`` if it is none."""
    text = text.strip()[:100]
    if re.fullmatch(r"\d{1,20}(?:\.\d{1,20})?(?:, \d{1,20}(?:\.\d{1,20})?)+", text):
        text = max(text.split(", "), key=float)  # a header that came more than once
    length = _length(text)
    if length is None:
        when = _moment(text)
        length = None if when is None else max(when - time.time(), 0.0)
    elif 1e9 < length < 1e20:  # a moment, in seconds, milli-, micro- or nanoseconds
        while length > 1e11:
            length /= 1000
        length = max(length - time.time(), 0.0)
    return length if length is not None and length <= LONGEST_SENSE_S else None


def _length(text: str) -> float | None:
    """Read a number of seconds, or numbers with units."""
    iso = re.fullmatch(r"(?i)P(?:(\d{1,9})D)?T?(.*)", text)
    if iso and text[-1:].isalpha():
        days = f"{iso[1]}d" if iso[1] else ""
        text = days + iso[2]
    total, place = 0.0, 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None or not text.isascii():
            return None
        total += float(part[1]) * _UNIT_S[_unit(part[2] or "")]
        place = part.end()
    return total if place else None


def _unit(name: str) -> str:
    name = name.lower()
    return "ms" if name.startswith(("ms", "milli")) else name[:1]


def _moment(text: str) -> float | None:
    """Read an HTTP or ISO date as Unix time."""
    import datetime
    import email.utils

    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        try:
            when = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
    return when.replace(tzinfo=when.tzinfo or datetime.UTC).timestamp()


def pause(
    error: errors.HostError,
    attempt: int,
    asked: float | None = None,
    *,
    again: bool = False,
) -> float | None:
    """Return the seconds to wait before trying again, or ``None`` not to.

    Jitter keeps many callers from coming back at once. A host's own wish is never
    undercut, but capped at ``LONGEST_WAIT_S``.

    Args:
        error: What went wrong.
        attempt: How many tries were made before, from 0.
        asked: The wait that the host asked for.
        again: Whether trying again is right, whatever the error's type.
    """
    passing = (errors.ConnectionFailed, errors.Overloaded, errors.RateLimited)
    again = again or isinstance(error, passing) or error.status in (408, 409)
    used_up = isinstance(error, errors.RateLimited) and asked is None
    if not again or (used_up and is_used_up(error.host_message)):
        return None
    if asked is not None:
        return min(asked, LONGEST_WAIT_S) + random.uniform(0, 0.25)
    return min(FIRST_WAIT_S * 2.0**attempt, 8.0) * random.uniform(0.75, 1.25)


_LONG_QUOTA = re.compile(
    r"\b[TR]PD\b|per[ _-]?(?:day|week|month)|\b(?:daily|weekly|monthly)\b|for today"
    r"|每日|每天|每月|当日|当天|今日",
    re.IGNORECASE,
)
_SHORT_QUOTA = re.compile(
    r"\b[TR]PM\b|per[ _-]?(?:second|min(?:ute)?|hour)\b|concurrency|每分钟|并发",
    re.IGNORECASE,
)


def is_used_up(words: str) -> bool:
    """Tell whether a host's refusal names a quota of a day or longer, and no shorter.

    Hosts write "TPD rate limit", "requests per day", "free-models-per-day".
    """
    return bool(_LONG_QUOTA.search(words)) and not _SHORT_QUOTA.search(words)
