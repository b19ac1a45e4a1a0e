"""Ask for what only some hosts have in the words of each, and refuse it elsewhere.

A host's ``features`` name the dialect of each (``data/hosts.json``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from kimikit.errors import BadInput, NotSupported
from kimikit.types import Host
from kimikit.wire.coerce import as_dict
from kimikit.wire.hosts import having, model_facts


def has(feature: str, host: Host) -> str:
    """Return how ``host`` takes a feature, empty where it is not known to."""
    return host.features.get(feature, "")


def dialect(feature: str, host: Host, called: str = "", model: str = "") -> str:
    """Return how ``host`` takes a feature.

    Args:
        feature: Its name in ``features``.
        host: The host.
        called: What the user asks for it by, ``feature=`` if left out.
        model: Who shall take it; one whose family is not known may.

    Raises:
        NotSupported: If it is not known to have it, or the model is known not to.
    """
    if feature not in host.features:
        raise NotSupported(
            f"{host.title or host.name} is not known for {called or feature + '='}.",
            f"Hosts that take it: {having(feature, lambda h: h.features)}. If one of "
            "them serves this address, name it: Kimi(host, base_url=...).",
        )
    taking = host.feature_families.get(feature, ())
    if model_facts(host, model).family and taking and not takes(feature, host, model):
        raise NotSupported(
            f"{model} is not known for {called or feature + '='}.",
            f"Leave it out, or ask one of {', '.join(taking)}.",
        )
    return host.features[feature]


def takes(feature: str, host: Host, model: str) -> bool:
    """Say whether a host is known to take a feature for a model of a known family."""
    family = model_facts(host, model).family
    families = host.feature_families.get(feature, ("",))
    return feature in host.features and bool(family) and family.startswith(families)


def declared(
    messages: Iterable[Mapping[str, Any]], host: Host, model: str
) -> list[dict[str, Any]]:
    """Return the tools that messages declare, which Kimi K3 takes from there on.

    Moonshot's guide "Use Dynamic Tool Loading": a system message with ``tools`` and no
    content, anywhere; what stands before it in the cache stays there.

    Raises:
        NotSupported: If the host, or the model there, is not known to take them.
    """
    found = [tool for each in messages for tool in each.get("tools") or ()]
    if found:
        dialect("dynamic_tools", host, "tools that a message declares", model)
    return found


def is_builtin(schema: Mapping[str, Any]) -> bool:
    """Say whether an entry of ``tools`` is a function that the host runs itself."""
    return schema.get("type") == "builtin_function"


def check_builtins(
    tools: Iterable[Mapping[str, Any]],
    host: Host,
    model: str,
    params: Mapping[str, Any],
) -> None:
    """Refuse functions that a host is not known to run itself.

    Raises:
        NotSupported: Naming the hosts that do; or for Kimi K2.5 and K2.6 while they
            think, with which Moonshot's search does not go together.
    """
    thinks = (params.get("thinking") or {}).get("type") != "disabled"
    switched = model_facts(host, model).family in ("kimi-k2.5", "kimi-k2.6")
    for name in [tool["function"]["name"] for tool in tools if is_builtin(tool)]:
        if name not in host.builtin_tools:
            others = having(name, lambda h: h.builtin_tools)
            raise NotSupported(
                f"{host.title or host.name} has no function {name} of its own.",
                f"Ask a host that has: {others or 'none is known'}; or "
                "write the function yourself, with @kimikit.tool.",
            )
        if switched and thinks:
            raise NotSupported(
                f"{model} does not take {name} while it thinks.",
                "Pass reasoning_effort='off' too.",
            )


def builtin_usd(names: Iterable[str], host: Host) -> Decimal:
    """Return the US dollars that calls of a host's own functions cost."""
    return sum((host.builtin_tools.get(name, Decimal(0)) for name in names), Decimal(0))


LIFETIMES = "5m", "1h"
"""How long Moonshot keeps a prompt cached, as it is asked to; each has its price."""


def lifetime(params: Mapping[str, Any], host: Host, model: str) -> dict[str, Any]:
    """Return parameters with ``cache_ttl`` in the words of the host.

    Moonshot takes ``prompt_cache_options`` for Kimi K3 ("Context caching upgrade", its
    forum, September 2026).

    Args:
        params: The parameters, which stay as they are.
        host: Where they go.
        model: Which model is asked.

    Raises:
        BadInput: If there is no such lifetime.
        NotSupported: If the host, or the model there, is not known to take one.
    """
    params = dict(params)
    asked = params.pop("cache_ttl", None)
    if asked is None:
        return params
    if asked not in LIFETIMES:
        raise BadInput(f"cache_ttl is {asked!r:.40}.", "Use '5m' or '1h'.")
    field = dialect("cache_ttl", host, model=model)
    if params.get(field) is not None:
        raise BadInput(
            f"cache_ttl and {field} were both given.", "Leave one of the two out."
        )
    return {**params, field: {"ttl": asked}}


def prefill(
    body: dict[str, Any], begin: object, host: Host, params: dict[str, Any]
) -> None:
    """Have the answer of a request begin with a text.

    Moonshot marks the last message ``partial`` (its guide "Partial Mode"), vLLM and
    SGLang continue it on ``continue_final_message``, OpenRouter ("Assistant prefill"),
    Together and llama.cpp go on from a last message of the assistant as it is.

    Args:
        body: The request, which gets the message.
        begin: How the answer shall begin; nothing is done for none.
        host: Where it goes.
        params: The other parameters, which may get one.

    Raises:
        BadInput: If the assistant spoke last.
        NotSupported: If the host cannot do this.
    """
    if begin is None or begin == "":
        return
    if body["messages"][-1]["role"] == "assistant":
        raise BadInput(
            "prefill= was given and the messages end with one of the assistant.",
            "Leave one of the two out.",
        )
    how = dialect("prefill", host)
    message: dict[str, Any] = {"role": "assistant", "content": begin}
    if how == "partial":
        form = as_dict(params.get("response_format")).get("type")
        if form not in (None, "text"):
            raise NotSupported(
                f"{host.title} answers oddly to prefill with response_format.",
                "Leave one out: a prefill of '{' makes it write JSON too.",
            )
        message["partial"] = True
    elif how == "continue_final_message":
        params |= {"continue_final_message": True, "add_generation_prompt": False}
    body["messages"] = [*body["messages"], message]


def begins(host: Host, begin: str, said: bytes | bytearray, *, streamed: bool) -> bool:
    """Say whether the host's own answer begins with the prefill.

    llama.cpp repeats it where it answers in one piece, and not where it streams.
    """
    if streamed or "repeats_prefill" not in host.quirks:
        return False
    return said.startswith(begin.encode())
