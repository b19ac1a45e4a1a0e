"""Say ``reasoning_effort`` in the words of each host and model.

Which Kimi thinks, and how it is told to, is as Moonshot documents its models; one whose
family is not known is asked in the host's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kimikit.errors import NotSupported
from kimikit.types import Host
from kimikit.wire import features
from kimikit.wire.coerce import as_dict
from kimikit.wire.hosts import model_facts

SWITCHES = "on", "off"
LEVELS = "low", "high", "max"

_NEVER = re.compile(r"kimi-k2-instruct|moonshot-v1")
_SWITCHED = re.compile(r"kimi-k2\.[56]\b")
_LEVELLED = re.compile(r"kimi-k3")

_OPENROUTER = {"low": "low", "high": "high", "max": "xhigh"}
"""Its names of K3's levels: Moonshot takes ``xhigh`` for ``max``."""


def mapped(params: Mapping[str, Any], host: Host, model: str) -> dict[str, Any]:
    """Return parameters with ``reasoning_effort`` as the host takes it.

    ``on`` and ``off`` switch thinking where it can be switched, ``low``, ``high`` and
    ``max`` are K3's levels. Any other value goes to the host as it is.

    Args:
        params: The parameters, which stay as they are.
        host: Where they go.
        model: Which model is asked.

    Raises:
        NotSupported: If the model cannot do that, or how the host is told is not known.
    """
    params = dict(params)
    effort, family = params.get("reasoning_effort"), model_facts(host, model).family
    if host.stand_in and effort in LEVELS:
        raise _no_thinker(host, "reasoning_effort", effort, "Leave it out there.")
    if effort not in (*SWITCHES, *LEVELS) or not (family or effort in SWITCHES):
        return params
    _refuse(str(effort), family, model)
    if effort in SWITCHES:
        del params["reasoning_effort"]
        if not family or _SWITCHED.search(family):
            _merge(params, _switch(host, on=effort == "on"))
    elif features.has("thinking", host) == "reasoning.effort":
        del params["reasoning_effort"]
        _merge(params, {"reasoning": {"effort": _OPENROUTER[str(effort)]}})
    return params


def check_compared(name: str, value: Any, host: Host, model: str) -> None:
    """Refuse an effort to be compared with others that would change nothing.

    Args:
        name: ``reasoning_effort`` or ``thinking``.
        value: Its value; ``None`` is not sent.
        host: The host.
        model: The model.

    Raises:
        NotSupported: If the host would ignore it, or is known to refuse it.
    """
    if value is None:
        return
    if host.stand_in:
        raise _no_thinker(host, name, value, "Compare max_tokens= or votes= there.")
    if name == "reasoning_effort":
        levelled = _LEVELLED.search(model_facts(host, model).family)
        if levelled and value not in (*SWITCHES, *LEVELS):
            raise NotSupported(
                f"{model} knows no reasoning_effort={value!r:.40}.",
                f"Use {', '.join(LEVELS)}.",
            )
        mapped({name: value}, host, model)


def _no_thinker(host: Host, name: str, value: Any, remedy: str) -> NotSupported:
    return NotSupported(
        f"{host.title} has no model that thinks: {name}={value!r:.40} would change "
        "nothing.",
        remedy,
    )


def _refuse(effort: str, family: str, model: str) -> None:
    """Refuse what a model is known not to do."""
    what = f"reasoning_effort={effort!r}"
    if _NEVER.search(family):
        if effort != "off":
            raise NotSupported(
                f"{model} does not think, so {what} asks for nothing.",
                "Leave it out, or ask a model that thinks, such as Kimi K3.",
            )
    elif _LEVELLED.search(family):
        if effort == "off":
            raise NotSupported(f"{model} always thinks.", "Use reasoning_effort='low'.")
    elif family and _SWITCHED.search(family):
        if effort in LEVELS:
            raise NotSupported(
                f"{model} has no levels of thinking: {what}.",
                "Use reasoning_effort='on' or 'off'.",
            )
    elif family and effort != "on":
        raise NotSupported(
            f"{model} always thinks, with no levels: {what}.",
            "Leave it out; K2.5 and K2.6 can be switched, K3 has levels.",
        )


def _switch(host: Host, *, on: bool) -> dict[str, Any]:
    """Return the words in which a host is told to think, or not to."""
    how = features.dialect("thinking", host, "reasoning_effort='on' and 'off'")
    if how == "thinking":
        return {"thinking": {"type": "enabled" if on else "disabled"}}
    if how == "chat_template_kwargs":
        return {"chat_template_kwargs": {"thinking": on}}
    return {"reasoning": {"enabled": on}}


def _merge(params: dict[str, Any], words: Mapping[str, Mapping[str, Any]]) -> None:
    """Put a host's words among the parameters, beside what is given there."""
    for name, fields in words.items():
        own = as_dict(params.get(name))
        if clash := own.keys() & fields.keys():
            raise NotSupported(
                f"reasoning_effort and {name}= with {sorted(clash)[0]!r} were given.",
                "Send one: which of them would hold is not documented.",
            )
        params[name] = {**own, **fields}
