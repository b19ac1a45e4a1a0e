"""What only some hosts have, asked for in the words of each and refused elsewhere.

A host's ``features`` name the dialect of each (``data/hosts.json``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimikit.errors import BadInput, NotSupported
from kimikit.types import Host
from kimikit.wire.hosts import profiles


def dialect(feature: str, host: Host) -> str:
    """Return how ``host`` takes a feature.

    Raises:
        NotSupported: If it is not known to have it.
    """
    if feature not in host.features:
        having = [n for n, known in profiles().items() if feature in known.features]
        raise NotSupported(
            f"{host.title or host.name} is not known for {feature}=.",
            f"Hosts that take it: {', '.join(having)}. If one of them serves this "
            "address, name it: Kimi(host, base_url=...).",
        )
    return host.features[feature]


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
        BadInput: If it is no text, or the assistant spoke last.
        NotSupported: If the host cannot do this.
    """
    if begin is None or begin == "":
        return
    if not isinstance(begin, str):
        raise BadInput(f"prefill is of type {type(begin).__name__}.", "Pass text.")
    if body["messages"][-1]["role"] == "assistant":
        raise BadInput(
            "prefill= was given and the messages end with one of the assistant.",
            "Leave one of the two out.",
        )
    how = dialect("prefill", host)
    message: dict[str, Any] = {"role": "assistant", "content": begin}
    if how == "partial":
        if _is_json_mode(params.get("response_format")):
            raise NotSupported(
                f"{host.title} answers oddly to prefill with response_format.",
                "Leave one out: a prefill of '{' makes it write JSON too.",
            )
        message["partial"] = True
    elif how == "continue_final_message":
        params |= {"continue_final_message": True, "add_generation_prompt": False}
    body["messages"] = [*body["messages"], message]


def _is_json_mode(response_format: object) -> bool:
    wanted = response_format if isinstance(response_format, Mapping) else {}
    return wanted.get("type") not in (None, "text")


def begins(host: Host, begin: str, said: bytes | bytearray, *, streamed: bool) -> bool:
    """Say whether the host's own answer begins with the prefill.

    llama.cpp repeats it where it answers in one piece, and not where it streams.
    """
    if streamed or "repeats_prefill" not in host.quirks:
        return False
    return said.startswith(begin.encode())
