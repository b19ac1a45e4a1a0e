"""Read error bodies of any host: the words, types, codes and status inside them."""

from __future__ import annotations

import contextlib
import html
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from kimikit.wire.coerce import as_count, as_dict, as_list, mend, read_json

WORDS_LIMIT = 2000
"""Characters of a host's words that are kept and searched."""
_BODY_LIMIT = 100_000
"""Characters of a body that are looked at."""
_DEPTH = 8
_PARTS = 20
"""Entries of a list of errors that are read."""

_MESSAGES = (
    "message", "msg", "error_msg", "error_message", "errormessage", "status_msg",
    "detail", "description", "error_description", "reason", "title", "failure_reason",
)  # fmt: skip
"""Names under which hosts put their words, in lower case; the first that has any."""
_WITHIN = (
    "error", "errors", "base_resp", "fault", "response", "body", "cause", "detail",
    "details", "metadata", "status", "incomplete_details", "inner_error", "innererror",
    "choices",
)  # fmt: skip
"""Names under which the true cause may lie."""
_CAUSES = ("error", "errors", "cause", "fault", "response", "body", "metadata",
           "choices")  # fmt: skip
"""Those of them that say more than the words beside them."""
_KINDS = ("type", "code", "error_type", "error_code", "errorcode", "status", "__type")
_CODES = (*_KINDS, "status_code", "statuscode", "http_status", "httpstatuscode")
_MARKS = ("id", "object", "type", "request_id")
"""Fields whose texts are no words."""
_FINE = ("", "0", "200", "none", "null", "ok", "success", "true", "completed")
"""Codes and states that report no error."""


class Report(NamedTuple):
    """What a host's error body says.

    Attributes:
        message: Its own words, the innermost cause first.
        kind: Its types and codes, joined.
        code: A status named inside the body, or 0.
        page: Whether it is no JSON, such as a proxy's page.
    """

    message: str
    kind: str
    code: int
    page: bool = False


def read_report(body: object) -> Report:
    """Read the error body of any host: OpenAI's shape, FastAPI's, a gateway's HTML."""
    if isinstance(body, str | bytes):
        try:
            found = read_json(body[:_BODY_LIMIT])
        except (ValueError, RecursionError):
            return _page(body)
    else:
        found = body
    found = mend(found)
    if isinstance(found, str | int | float) or found is None:
        return Report(str(found or "")[:WORDS_LIMIT], "", 0, page=True)
    kinds = list(dict.fromkeys(_kinds(found)))
    codes = (status for status in map(_status, _codes(found)) if status)
    said = _said(found) or "; ".join(itertools.islice(_leaves(found), _PARTS))
    return Report(said[:WORDS_LIMIT], " ".join(kinds)[:500], next(codes, 0))


def _page(body: str | bytes) -> Report:
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    text = text[:_BODY_LIMIT]
    # Searched for by hand: a pattern would try every one of a thousand openings.
    lower = text.lower()
    start, end = lower.find("<title>"), -1
    if start >= 0:
        end = lower.find("</title>", start)
    if end > 0:
        text = html.unescape(text[start + 7 : end])
    elif lower.lstrip().startswith(("<!doctype", "<html", "<head", "<body")):
        text = html.unescape(re.sub(r"<[^<>]*>", " ", text))
    return Report(" ".join(text[:WORDS_LIMIT].split())[:500], "", 0, page=True)


def _lower(found: dict[str, Any]) -> dict[str, Any]:
    return {str(name).lower(): value for name, value in found.items()}


def _said(found: object, depth: int = 0) -> str:
    """Return the words of a report, wherever in it they are."""
    if isinstance(found, str):
        return found.strip()
    if depth > _DEPTH or found is None or isinstance(found, bool | int | float):
        return ""
    if isinstance(found, list):
        some = (_said(part, depth + 1) for part in found[:_PARTS])
        return "; ".join(dict.fromkeys(filter(None, some)))
    fields = _lower(as_dict(found))
    own = next((w for w in (_own(fields, n, depth) for n in _MESSAGES) if w), "")
    place = ".".join(str(part) for part in as_list(fields.get("loc"))[:_PARTS])
    if place and own:
        own = f"{place}: {own}"
    inner = _inner(fields, depth, _CAUSES if own else _WITHIN)
    if inner and own and inner not in own:
        own = inner if own in inner else f"{inner} ({own})"
    return own or inner


def _own(fields: dict[str, Any], name: str, depth: int) -> str:
    value = fields.get(name)
    if isinstance(value, dict | list):
        return _said(value, depth + 1)
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] in ("{", "["):  # a report that was put into another one as text
        inner = read_report(text) if depth < _DEPTH else None
        return inner.message if inner and inner.message and not inner.page else text
    return text


def _leaves(found: object, path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the texts of a report that has words under no known name."""
    if isinstance(found, str) and found.strip():
        yield f"{path}: {found.strip()[:200]}" if path else found.strip()[:200]
    elif isinstance(found, list) and depth <= _DEPTH:
        for part in found[:_PARTS]:
            yield from _leaves(part, path, depth + 1)
    elif isinstance(found, dict) and depth <= _DEPTH:
        for name, part in itertools.islice(found.items(), _PARTS):
            if name not in _MARKS:
                inner = f"{path}.{name}" if path else str(name)
                yield from _leaves(part, inner[:80], depth + 1)


def _inner(fields: dict[str, Any], depth: int, names: tuple[str, ...]) -> str:
    """Return what lies deeper, with the provider's name where a gateway tells it."""
    raw = fields.get("raw")
    if isinstance(raw, str | dict) and raw and depth < _DEPTH:
        told = isinstance(raw, str)  # gateways pack bodies into each other as texts
        inner = read_report(raw).message if told else _said(raw, depth + 1)
        provider = str(fields.get("provider_name") or "upstream")[:80]
        return f"{provider}: {inner}" if inner else ""
    parts = (fields.get(name) for name in names)
    said = (_said(part, depth + 1) for part in parts if isinstance(part, dict | list))
    texts = (fields.get(n) for n in ("error", "errors") if n in fields)
    plain = (t.strip() for t in texts if isinstance(t, str))
    return next(filter(None, said), "") or next(filter(None, plain), "")


def _objects(found: object, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the objects of a report that may hold a code, outermost last."""
    if depth > _DEPTH:
        return
    if isinstance(found, list):
        for part in found[:_PARTS]:
            yield from _objects(part, depth + 1)
    elif isinstance(found, dict):
        fields = _lower(found)
        for name in _WITHIN:
            yield from _objects(fields.get(name), depth + 1)
        if isinstance(raw := fields.get("raw"), str) and raw[:1] == "{":
            with contextlib.suppress(ValueError, RecursionError):
                yield from _objects(read_json(raw[:_BODY_LIMIT]), depth + 2)
        yield fields


def _kinds(found: object) -> Iterator[str]:
    for fields in _objects(found):
        for name in _KINDS:
            value = fields.get(name)
            if isinstance(value, str) and 0 < len(value) <= 100 and not value.isdigit():
                # AWS and Google write spaces of names before it: "x#ThrottlingError".
                yield value.strip().lower().rpartition("#")[2].replace(" ", "_")


def _codes(found: object) -> Iterator[object]:
    for fields in _objects(found):
        yield from (fields.get(name) for name in _CODES)


def _status(value: object) -> int:
    status = as_count(value, most=599) or 0
    return status if status >= 400 else 0


def reports_error(chunk: dict[str, Any]) -> bool:
    """Say whether an object with status 200 reports an error, in any host's shape."""
    if chunk.get("error") or chunk.get("object") == "error":
        return True
    resp = as_dict(chunk.get("base_resp"))
    if _bad(resp.get("status_code")):
        return True
    choices = as_list(chunk.get("choices"))
    if choices:
        return any(
            as_dict(choice).get("error")
            or as_dict(choice).get("finish_reason") == "error"
            for choice in choices
        )
    if chunk.get("success") is False or chunk.get("type") == "error":
        return True
    if any(chunk.get(n) for n in ("detail", "errors", "error_msg", "error_message")):
        return True
    said = chunk.get("message") or chunk.get("msg")
    codes = (chunk.get(name) for name in ("code", "error_code", "status"))
    return bool(said) and any(map(_bad, codes))


def _bad(code: object) -> bool:
    return code is not None and str(code)[:40].strip().lower() not in _FINE
