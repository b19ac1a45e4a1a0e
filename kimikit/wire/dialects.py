"""Check what hosts and models refuse or want otherwise, before anything is sent.

Each check reads the host's ``quirks`` and its table of models; a host that is not known
is sent what was asked for, and its own refusal is translated.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kimikit.errors import NotSupported
from kimikit.types import Host, HostModel
from kimikit.wire import faults
from kimikit.wire.coerce import as_dict, as_list
from kimikit.wire.hosts import model_facts

PINNED = {"top_p": 0.95, "n": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""What Moonshot pins beside the temperature (models overview; K2 vendor verifier)."""

_PLAIN_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")


def check(params: Mapping[str, Any], host: Host, model: str) -> None:
    """Check parameters against what ``host`` is known to take for ``model``.

    Raises:
        NotSupported: If the host refuses or ignores one.
        FixedTemperature: If the host pins one to another value.
    """
    facts = model_facts(host, model)
    given = {name: value for name, value in params.items() if value is not None}
    _check_pins(given, host, facts)
    for what, remedy in _refused(given, host, facts):
        raise NotSupported(what, remedy)


def _check_pins(given: Mapping[str, Any], host: Host, facts: HostModel) -> None:
    fixed = facts.fixed_temperature
    if fixed is None:
        return
    if as_dict(given.get("thinking")).get("type") == "disabled":
        fixed = 0.6  # K2.5 and K2.6 answering at once; later models always think
    for name, allowed in {"temperature": fixed, **PINNED}.items():
        if given.get(name, allowed) != allowed:
            what = f"{host.title} pins {name} of {facts.id} to {allowed:g}."
            raise faults.pinned(what, name, allowed, given, host=host.name)


def _refused(
    given: Mapping[str, Any], host: Host, facts: HostModel
) -> Iterator[tuple[str, str]]:
    """Yield what the host refuses or ignores, and what to do instead."""
    title = host.title
    for name in given:
        if f"no:{name}" in host.quirks:
            yield f"{title} does not know {name}.", f"Leave {name} out on this host."
    n, temperature = given.get("n", 1), given.get("temperature", 1)
    if "n_at_most_5" in host.quirks and n > 5:
        yield f"n is {n}; {title} gives at most 5.", "Ask twice."
    if "n_at_most_5" in host.quirks and n > 1 and temperature < 0.01:
        what = f"{title} refuses n={n} at temperature {temperature:g}."
        yield what, "Ask several times, or raise the temperature."
    if "thinking_limits" in host.quirks:
        effort, thinking = given.get("reasoning_effort"), as_dict(given.get("thinking"))
        if effort is not None and thinking:
            what = "reasoning_effort and thinking were both given."
            yield what, "Send one: which of them would hold is not documented."
        if effort == "none":
            what = f"{title} refuses reasoning_effort='none'."
            yield what, "Use low, high or max."
        if thinking.get("type") == "disabled" and facts.family.startswith("kimi-k3"):
            yield f"{facts.id} always thinks.", "Use reasoning_effort='low'."
        if thinking.get("keep") and facts.family == "kimi-k2.5":
            yield f"{facts.id} refuses thinking.keep.", "Leave keep out."
    if "tool_choice_limits" in host.quirks:
        choice = given.get("tool_choice")
        named = isinstance(choice, dict)
        if (named or choice == "required") and facts.family.startswith("kimi-k2"):
            what = f"{facts.id} on {title} refuses tool_choice={choice!r:.60}."
            yield what, "Use 'auto', and say in the prompt that a tool shall be called."
        if named:
            what = f"{title} ignores a tool_choice that names a function."
            yield what, "Use 'required' and offer only that tool."


def adapt(body: dict[str, Any], host: Host) -> dict[str, Any]:
    """Return the request in the words of ``host``; the one given stays as it is."""
    body = {**body, "messages": _shaped(body["messages"], host, body["model"])}
    if "max_completion_tokens" in host.quirks and "max_tokens" in body:
        body["max_completion_tokens"] = body.pop("max_tokens")
    wanted = as_dict(body.get("response_format"))
    named = as_dict(wanted.get("json_schema"))
    if "$schema" in as_dict(named.get("schema")):
        # At the top level, it makes K2.5 write nonsense.
        schema = {k: v for k, v in named["schema"].items() if k != "$schema"}
        body["response_format"] = {**wanted, "json_schema": {**named, "schema": schema}}
    return body


def _shaped(
    messages: list[dict[str, Any]], host: Host, model: str
) -> list[dict[str, Any]]:
    """Return the history as ``host`` wants it; the messages given stay as they are."""
    out = []
    renamed: dict[str, str] = {}
    numbers = itertools.count()
    for message in messages:
        message = dict(message)
        if "inline_images" in host.quirks:
            _check_images(message.get("content"), host)
        if message["role"] == "assistant" and not _takes_reasoning(host, model):
            message.pop("reasoning_content", None)
        if calls := message.get("tool_calls"):
            message.setdefault("content", "")
            blank = not str(message["content"] or "").strip()
            if blank and "no_blank_content" in host.quirks:
                del message["content"]
            if "needs_reasoning_content" in host.quirks:
                message.setdefault("reasoning_content", "")
            elif not message.get("reasoning_content"):
                message.pop("reasoning_content", None)
            if wants_kimi_ids(host, model):
                ids = {
                    call["id"]: f"functions.{call['function']['name']}:{next(numbers)}"
                    for call in calls
                }
                message["tool_calls"] = [{**c, "id": ids[c["id"]]} for c in calls]
                renamed |= ids
        if message.get("tool_call_id") in renamed:
            message["tool_call_id"] = renamed[message["tool_call_id"]]
        if "strict_messages" in host.quirks:
            message = {k: v for k, v in message.items() if k in _PLAIN_KEYS}
        out.append(message)
    return out


def _takes_reasoning(host: Host, model: str) -> bool:
    """Say whether a host takes back what its model thought.

    Kimi goes on from it. Of other models on hosts without a profile nothing is known,
    and strict ones (Mistral, Cerebras) refuse the whole history for it.
    """
    known = bool(host.models) or host.stand_in
    return known or re.search(r"kimi|moonshot|\bk[23]\b", model, re.I) is not None


def wants_kimi_ids(host: Host, model: str) -> bool:
    """Say whether ids must read ``functions.name:index``: K2 away from Moonshot.

    Malformed ids in the history teach K2 malformed ids (K2 vendor verifier); Moonshot
    renames them itself.
    """
    k2 = re.search(r"k2\b|k2[p.-]", model, re.I)
    return k2 is not None and "own_tool_ids" not in host.quirks


def _check_images(content: object, host: Host) -> None:
    for part in as_list(content):
        url = (part.get("image_url") or {}).get("url", "")
        if str(url).startswith("http"):
            raise NotSupported(
                f"{host.title} fetches no pictures: {url!r:.80}.",
                "Download it, and pass image= its path or bytes.",
            )
