"""A host's failures as typed errors, when to try again, and keys kept out of it all."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kimikit import errors, html
from kimikit.types import Call
from kimikit.wire.loose import as_dict

LONGEST_WAIT_S = 60.0
"""The longest pause before a new try, whatever the host asks for."""
FIRST_WAIT_S = 0.5
LOG_LIMIT = 4000
"""Characters of a line in the log; pictures would fill it."""

# Patterns are compiled at their first use: most sessions never need them.
_KEYS = (
    r"(?i)\b(Bearer|Basic)\s+(?=\S*\d)[\w.~+/=*-]{6,}"
    r"|\bsk-[\w.*-]{6,}|\b(?:gsk|hf|nvapi|fw|tgp|r8)[-_][A-Za-z0-9*]{16,}"
)
_PINS = "temperature|top_p|top_k|n|presence_penalty|frequency_penalty"
_FIXED = (
    rf"(?i)\b({_PINS})\b\W{{0,4}}(?:must be|should be|is fixed (?:to|at)|only)\s+"
    r"(?:exactly |equal to )?(-?\d+(?:\.\d+)?)(?! ?(?:or|to|and|,))"
    rf"|\b({_PINS})\b\W? does not support .{{0,60}}?only the default \((-?[\d.]+)\)"
)
_SIGNS: dict[type[errors.StatusError], str] = {
    errors.ContentFiltered: r"content[_ ]filter|high risk|moderation|flagged",
    errors.ContextTooLong: (
        r"^(?:0|400|413|422|5\d\d) .*(?:context_length|context (?:length|window)"
        r"|maximum context|prompt is too long|input token length|token limit"
        r"|too many (?:input )?tokens|reduce the length)"
    ),
    errors.NoBalance: (
        r"^402|^(?:0|403|429) .*(?:exceeded_current_quota"
        r"|insufficient[_ ](?:quota|balance|credits|funds)"
        r"|exceeded your current quota|more credits|billing|balance|suspended)"
    ),
    errors.Overloaded: r"^5|overloaded|at capacity|no capacity|server is busy",
    errors.RateLimited: r"^429",
    errors.ModelNotFound: (
        r"^404 .*model|^(?:0|400|403|404|410|422) .*(?:model\b.{0,80}?"
        r"(?:not found|does not exist|is not (?:currently )?"
        r"(?:supported|available|a valid)|no longer|retired|deprecated|decommissioned)"
        r"|not found the model|(?:unknown|invalid) model|not a valid model"
        r"|no endpoints found for|model_not_(?:found|available)|resource_not_found)"
    ),
    errors.AuthenticationFailed: (
        r"^40[13]|invalid_authentication|incorrect_api_key|invalid api.?key"
    ),
    errors.BadRequest: r"^4(?:00|13|22)|tool_use_failed",
}
"""What shows each error in status, kind and message; the first that fits holds."""

_REMEDIES = {
    errors.ContentFiltered: "Rephrase the prompt.",
    errors.ContextTooLong: "Shorten the prompt, or lower max_tokens.",
    errors.NoBalance: "Top the account up{at_page}, or use another host.",
    errors.Overloaded: "Wait a minute and run it again, or use another host.",
    errors.RateLimited: "Wait, send fewer requests at once, or set rpm=.",
    errors.ModelNotFound: "Name another model than {model!r}.",
    errors.AuthenticationFailed: "Check {variable}{or_page}.{twin}",
    errors.BadRequest: "Change the request as the host says, and run it again.",
    errors.StatusError: (
        "Run it again; if it stays, check the address, base_url is {base_url}, or ask "
        "the host's support."
    ),
}
_ASK_AGAIN = "The model wrote a call that fits no tool; ask again."
_TWINS = {"moonshot": "moonshot-cn", "moonshot-cn": "moonshot"}
_UNIT_S = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Report(NamedTuple):
    """What a host's error body says.

    Attributes:
        message: Its own words, the innermost cause first.
        kind: Its types and codes, joined.
        code: A status named inside the body, or 0.
    """

    message: str
    kind: str
    code: int


def logs() -> bool:
    """Say whether ``KIMIKIT_LOG`` asks to show what goes over the wire."""
    return os.environ.get("KIMIKIT_LOG", "").lower() == "debug"


def log(line: object, key: str) -> None:
    """Write a line of the wire to standard error if asked to, keys redacted."""
    if logs():
        sys.stderr.write(html.clean(redact(f"kimikit {line}", key))[:LOG_LIMIT] + "\n")


def decode(body: bytes | bytearray) -> str:
    """Return a body as text, whatever bytes it has."""
    return body.decode("utf-8", "replace")


def redact(text: str, key: str) -> str:
    """Replace the key in use, and whatever looks like one, by ``***``."""
    if key:
        text = text.replace(key, "***")
    return re.sub(_KEYS, lambda m: f"{m[1]} ***" if m[1] else "***", text)


def read_report(body: object) -> Report:
    """Read the error body of any host: OpenAI's shape, FastAPI's, a gateway's HTML."""
    if isinstance(body, str):
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(body, strict=False)
    if not isinstance(body, dict):
        title = re.search(r"<title>(.*?)</title>", str(body), re.I | re.S)
        return Report((title[1] if title else str(body)).strip()[:500], "", 0)
    error = body.get("error") or body
    if not isinstance(error, dict):
        error = {"message": error}
    metadata = as_dict(error.get("metadata"))
    said = [error.get(name) for name in ("message", "detail", "msg")]
    message = _words(next(filter(None, said), body.get("detail")))
    names = [error.get("type"), error.get("code"), error.get("error_type")]
    names += [body.get("error_type"), metadata.get("error_type")]
    code = next((n for n in map(_status, [*names, error.get("status_code")]) if n), 0)
    if metadata.get("raw"):
        inner = read_report(metadata["raw"])
        provider = metadata.get("provider_name")
        message = f"{provider or 'upstream'}: {inner.message} ({message})"
        names.append(inner.kind)
    return Report(message, " ".join(str(n) for n in names if n), code)


def _words(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(
            _words(v.get("msg") if isinstance(v, dict) else v) for v in value
        )
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _status(value: object) -> int:
    text = str(value)
    return int(text) if text.isdigit() and 400 <= int(text) <= 599 else 0


def status_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes | dict[str, Any],
    call: Call,
    key: str = "",
) -> errors.StatusError:
    """Return the typed error of an answer, or of an error inside a stream.

    Args:
        status: The HTTP status, or the one named inside a stream, 0 if none is; 200
            for what is no answer at all, such as a page of HTML.
        headers: The answer's headers, names in lower case.
        body: The raw body, or the object that reports the error.
        call: What was asked.
        key: The key in use, which must not appear.
    """
    raw = json.dumps(body) if isinstance(body, dict) else decode(body)
    report = read_report(raw)
    message = redact(report.message, key)
    details: dict[str, Any] = {
        "status": status or None,
        "host": call.host.name,
        "request_id": request_id(headers),
        "host_message": message,
        "body": redact(raw, key),
    }
    said = f": {message.rstrip('.')}." if message else "."
    verbs = {0: "reported an error", 200: "sent no answer"}
    verb = verbs.get(status, f"answered {status}")
    what = f"{call.host.title or call.host.name} {verb}{said}"
    fixed = re.search(_FIXED, report.message) if status in (0, 400, 422) else None
    if fixed:
        name, allowed = fixed[1] or fixed[3], float(fixed[2] or fixed[4])
        return pinned(what, name.lower(), allowed, call.body, **details)
    text = f"{status} {report.kind} {report.message}".lower()
    fitting = (kind for kind, sign in _SIGNS.items() if re.search(sign, text, re.S))
    kind = next(fitting, errors.StatusError)
    if kind is errors.RateLimited:
        details["retry_after_s"] = retry_after(headers, report.message)
    remedy = _REMEDIES[kind] if "tool_use_failed" not in text else _ASK_AGAIN
    return kind(what, _filled(remedy, call), **details)


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


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the id to quote to the host's support, under any of its names."""
    names = ("x-request-id", "request-id", "x-trace-id", "cf-ray")
    return next(filter(None, map(headers.get, names)), None)


def retry_after(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return the wait that a host asks for, in seconds, in whatever form it does.

    Forms: seconds, an HTTP date, a Unix time, ``1.2s``, ``42ms``, ``2m59.56s``.
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        if headers.get(name):
            return seconds(headers[name])
    waits = [
        seconds(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    known = [wait for wait in waits if wait is not None]
    if known:
        return max(known)
    said = re.search(
        r"try again (?:in|after) ([\d.]+ ?[dhms]*(?:[\d.]+[ms]+)?)", message
    )
    return seconds(said[1]) if said else None


def seconds(text: str) -> float | None:
    """Read a wait in any of the forms of ``retry_after``; ``None`` if it is none."""
    text = text.strip().lower().replace(" ", "") if "," not in text else text.strip()
    if re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|[smhd])?)+", text):
        total = sum(
            float(number) * _UNIT_S[unit]
            for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])?", text)
        )
        return max(total - time.time(), 0.0) if total > 1e9 else total
    import email.utils

    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(when.timestamp() - time.time(), 0.0)


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
    if not again:
        return None
    if asked is not None:
        return min(asked, LONGEST_WAIT_S) + random.uniform(0, 0.25)
    return min(FIRST_WAIT_S * 2.0**attempt, 8.0) * random.uniform(0.75, 1.25)
