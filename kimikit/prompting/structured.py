"""Answer with Python values: ask, parse, validate, and feed the error back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from kimikit import errors
from kimikit import schema as schemas
from kimikit.display.footer import total_cost, total_usage
from kimikit.json_values import is_count
from kimikit.params import OF_A_VIEW, takes_chat_params
from kimikit.prompting.extract import find_fitting, json_roots
from kimikit.prompting.history import as_messages
from kimikit.types import ChatClient, Reply, Wait

_SCHEMA = {
    "properties", "type", "required", "title", "description", "additionalProperties",
    "$defs", "$schema",
}  # fmt: skip
WRAPPED = "answer"
"""Hosts take only objects at the root, so a list or a number is asked for under it."""


@takes_chat_params(hidden=("n",), also=OF_A_VIEW)
def structured(
    client: ChatClient,
    messages: Any,
    into: Any,
    *,
    retries: int = 2,
    schema: Literal["auto", "host", "prompt"] = "auto",
    **params: Any,
) -> Reply:
    """Ask for an answer of a given type.

    Args:
        client: Anything with ``chat``.
        messages: What to ask, as ``chat`` takes it.
        into: A dataclass, TypedDict, msgspec Struct, pydantic model, or a plain hint
            such as ``list[int]`` or ``Literal["yes", "no"]``.
        retries: How often an answer that does not fit goes back with the error.
        schema: The system prompt tells the JSON Schema. With ``host`` the host holds
            the answer to it too (``response_format``), with ``prompt`` it does not,
            with ``auto`` it does unless it refuses to.
        **params: What else ``chat`` takes.

    Returns:
        The last reply with ``parsed``; tokens, cost and seconds are of all attempts,
        and a note says so. A stopped answer comes back as it is, unparsed.

    Raises:
        BadInput: If ``into`` has no JSON Schema; nothing is sent.
        InvalidAnswer: If no attempt fits; it has the last reply.

    Example:
        >>> structured(client, "How many days has a week?", int).parsed
        7
    """
    if not is_count(retries, 0) or schema not in ("auto", "host", "prompt"):
        raise errors.BadInput(
            f"retries={retries!r}, schema={schema!r} cannot be done.",
            "Give retries of 0 or more, and the schema 'auto', 'host' or 'prompt'.",
        )
    root = schemas.of(into)
    asked = _object(root)
    turns, params = _told(as_messages(messages), params, asked)
    ask = partial(_repaired, client, turns, into, retries=retries, root=root)
    if schema == "prompt":
        return ask(params)
    # Without "strict": the hosts that know it refuse optional fields with it.
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": asked}}
    try:
        return ask({**params, "response_format": form})
    except (errors.ContentFiltered, errors.ContextTooLong, errors.FixedTemperature):
        raise
    except (errors.BadRequest, errors.NotSupported) as exc:
        if schema == "host":
            raise
        refused = f"The host refused response_format ({exc.what})"
    return ask(params, f"{refused}, so only the system prompt asked for the schema.")


def _object(root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as hosts take it, whose root is an object."""
    if root.get("type") == "object":
        return root
    return {
        "type": "object",
        "properties": {WRAPPED: root},
        "required": [WRAPPED],
        "additionalProperties": False,
    }


def _told(
    turns: list[dict[str, Any]], params: dict[str, Any], root: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Add the schema to the system message, wherever that stands.

    Also where the host holds the answer to the schema: a grammar alone cuts what does
    not fit without telling the model what is wanted. Together's guide on structured
    outputs asks for both.
    """
    schema = msgspec.json.encode(root).decode()
    order = f"Answer with JSON alone, in this JSON Schema: {schema}"
    if turns[0]["role"] == "system":
        first = {**turns[0], "content": f"{turns[0]['content']}\n\n{order}"}
        return [first, *turns[1:]], params
    system = params.get("system")
    return turns, {**params, "system": f"{system}\n\n{order}" if system else order}


def _repaired(
    client: ChatClient,
    turns: list[dict[str, Any]],
    into: Any,
    params: dict[str, Any],
    *notes: str,
    retries: int,
    root: dict[str, Any],
) -> Reply:
    """Ask until an answer fits, at most ``retries`` times with the error fed back."""
    replies: list[Reply] = []
    while True:
        reply = client.chat(turns, **params)
        replies.append(reply)
        try:
            value, place = _parsed(reply, into, root)
            taken = [f"The JSON was taken out of {place}."] if place else []
            return _total(replies, value, *notes, *taken)
        except ValueError as exc:
            problem = getattr(exc, "what", f"Not JSON: {exc}.")
            if reply.partial or (reply.tool_calls and not reply.text):
                state = "stopped" if reply.partial else "a call of tools"
                return _total(replies, None, f"Not parsed: the answer was {state}.")
            if len(replies) > retries or reply.finish_reason == "length":
                name = into.__name__ if isinstance(into, type) else into
                tries = f"{len(replies)} tr{'y' if len(replies) == 1 else 'ies'}"
                raise errors.InvalidAnswer(
                    f"No answer fits {name} after {tries}. {problem}",
                    _remedy(reply),
                    reply=_total(replies, None, *notes),
                ) from exc
        if watch := params.get("watch"):
            watch(Wait(0.0, f"the answer does not fit: {problem}", len(replies)))
        told = f"That does not fit: {problem} Answer again with JSON alone."
        turns = [
            *turns,
            {"role": "assistant", "content": reply.text or "(nothing)"},
            {"role": "user", "content": told},
        ]


def _parsed(reply: Reply, into: Any, root: dict[str, Any]) -> tuple[Any, str]:
    """Return the value of an answer and where in it that was found.

    Raises:
        ValueError: If nothing in it is an answer of the type.
    """
    if reply.truncated:
        raise ValueError("the answer broke off")
    if reply.finish_reason == "length":
        # What is whole in an answer that was cut is a part of what was meant.
        whole = json_roots(reply.text)[-1]
        if whole.place or whole.problem:
            raise errors.BadInput("The answer was cut.", "Raise max_tokens.")
    misfit: ValueError | None = None
    if root.get("type") != "object":
        # A list after the answer may be one of sources.
        try:
            unwrapped = partial(_unwrapped, into=into)
            return find_fitting(reply.text, unwrapped, exact=True)
        except errors.BadInput as exc:  # in the form asked for: what is wrong inside
            misfit = exc
        except ValueError:
            pass
        with contextlib.suppress(ValueError):
            return _bare(reply.text, into), ""
    try:
        fitted = partial(_fitted, into=into, root=root)
        return find_fitting(reply.text, fitted, exact=True)
    except ValueError as exc:
        raise misfit or exc from exc


def _bare(text: str, into: Any) -> Any:
    """Convert a text, date or label that stands there without its quotes.

    Raises:
        ValueError: If it is JSON, was meant to be, or is none of the type.
    """
    root, *more = json_roots(text)
    if more or not root.problem or not text.strip()[:1].isalnum():
        raise ValueError("it is JSON")
    value = schemas.convert(text.strip(), into)
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise ValueError("it is no number of JSON")
    return value


def _unwrapped(value: Any, *, into: Any) -> Any:
    if not isinstance(value, dict) or set(value) != {WRAPPED}:
        raise ValueError(f"it has no {WRAPPED!r} alone")
    return schemas.convert(value[WRAPPED], into, at=f"$.{WRAPPED}")


def _fitted(value: Any, *, into: Any, root: dict[str, Any]) -> Any:
    """Convert a value that is an answer, and not the schema or something else."""
    branches = root.get("anyOf", [root])
    fields = {name for branch in branches for name in branch.get("properties", ())}
    if isinstance(value, dict) and value:
        if value == root or (fields and _is_schema(value, fields)):
            what = "It repeats the schema instead of an answer to it."
            raise errors.BadInput(what, "Answer with a value of it.")
        known = {*fields, *getattr(into, "model_fields", ())}
        given = {*value, *(key.rstrip("_") for key in value)}
        free = any(branch.get("additionalProperties") for branch in branches)
        strange = fields and not free and not known & given
        if strange and _says_nothing(value, into):
            what = f"It has none of the fields {', '.join(sorted(fields))}."
            raise errors.BadInput(what, "Answer with a value of the schema.")
    return schemas.convert(value, into)


def _says_nothing(value: dict[str, Any], into: Any) -> bool:
    """Tell whether it fits only as ``{}`` does, by defaults: no validator reads it."""
    try:
        empty, again = schemas.convert({}, into), schemas.convert({}, into)
    except ValueError:
        return False
    return bool(empty != again or schemas.convert(value, into) == empty)


def _is_schema(value: dict[str, Any], fields: set[str]) -> bool:
    inner = value.get("properties")
    return (
        "properties" not in fields
        and isinstance(inner, dict)
        and value.keys() <= _SCHEMA
    )


def _remedy(reply: Reply) -> str:
    if '"properties"' in reply.text:  # small models do, and never come to an end
        return "It repeats the schema: ask a larger model, or a simpler type of it."
    if reply.finish_reason == "length":
        return "Raise max_tokens: the answer was cut off."
    return "See .reply.text; make the type simpler or the task clearer."


def _total(replies: list[Reply], value: Any, *notes: str) -> Reply:
    """Return the last reply with the value and what all of them took."""
    if len(replies) > 1:
        of_all = "tokens, cost and seconds are of all of them"
        notes = (*notes, f"It took {len(replies)} answers; {of_all}.")
    return together(replies, parsed=value, notes=(*replies[-1].notes, *notes))


def together(replies: Sequence[Reply], **changes: Any) -> Reply:
    """Return the last reply, changed, with what all of them took."""
    return replace(
        replies[-1],
        usage=total_usage(replies),
        cost=total_cost(replies),
        first_token_s=replies[0].first_token_s,
        duration_s=sum(reply.duration_s for reply in replies),
        **changes,
    )
