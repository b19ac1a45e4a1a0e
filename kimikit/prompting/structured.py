"""Answers as Python values: ask, parse, validate, and feed the error back."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kimikit import schema as schemas
from kimikit.errors import (
    BadInput,
    BadRequest,
    ContentFiltered,
    ContextTooLong,
    FixedTemperature,
    InvalidAnswer,
    NotSupported,
)
from kimikit.prompting.extract import find_json
from kimikit.prompting.history import as_messages
from kimikit.prompting.totals import total_cost, total_usage
from kimikit.types import ChatClient, Reply, Wait

WRAPPED = "answer"
"""Hosts take only objects at the root, so a list or a number is asked for under it."""


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
        params: What else ``chat`` takes.

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
    if retries < 0 or schema not in ("auto", "host", "prompt"):
        raise BadInput(
            f"retries={retries!r}, schema={schema!r} cannot be done.",
            "Give retries of 0 or more, and the schema 'auto', 'host' or 'prompt'.",
        )
    asking = _Asking(client, into, schema, params)
    turns = as_messages(messages)
    replies: list[Reply] = []
    while True:
        reply = asking.ask(turns, len(replies))
        replies.append(reply)
        try:
            value, notes = asking.parse(reply)
            return _total(replies, value, (*asking.notes, *notes))
        except ValueError as exc:
            problem = exc.what if isinstance(exc, BadInput) else f"Not JSON: {exc}."
            if reply.partial or (reply.tool_calls and not reply.text):
                state = "stopped" if reply.partial else "a call of tools"
                return _total(replies, None, (f"Not parsed: the answer was {state}.",))
            if len(replies) > retries or reply.finish_reason == "length":
                raise InvalidAnswer(
                    f"No answer fits {asking.name} after {len(replies)}. {problem}",
                    _remedy(reply),
                    reply=_total(replies, None, asking.notes),
                ) from exc
            turns = [*turns, *asking.correction(reply, problem, len(replies))]


class _Asking:
    """One question for one type, and how this host is told the type."""

    def __init__(
        self, client: ChatClient, into: Any, how: str, params: dict[str, Any]
    ) -> None:
        self.name = into.__name__ if isinstance(into, type) else str(into)
        self.notes: tuple[str, ...] = ()
        self._client, self._into, self._how, self._params = client, into, how, params
        root = schemas.of(into)
        self._wrap = root.get("type") != "object"
        if self._wrap:
            root = {
                "type": "object",
                "properties": {WRAPPED: root},
                "required": [WRAPPED],
                "additionalProperties": False,
            }
        self._schema = root
        self._text = msgspec.json.encode(root).decode()

    def ask(self, turns: list[dict[str, Any]], attempt: int) -> Reply:
        params = dict(self._params)
        key = (params.get("meta") or {}).get("key")
        if attempt and key:
            # One key, one paid answer: the repaired one must not stand for the first.
            params["meta"] = {**params["meta"], "key": f"{key}/repair {attempt}"}
        # Also where the host holds the answer to the schema: a grammar alone cuts what
        # does not fit without telling the model what is wanted. Together's guide on
        # structured outputs asks for both.
        order = f"Answer with JSON alone, in this JSON Schema: {self._text}"
        if turns[0]["role"] == "system":
            first = {**turns[0], "content": f"{turns[0]['content']}\n\n{order}"}
            turns = [first, *turns[1:]]
        else:
            system = params.get("system")
            params["system"] = f"{system}\n\n{order}" if system else order
        if self._how != "prompt":
            # Without "strict": the hosts that know it refuse optional fields with it.
            named = {"name": "answer", "schema": self._schema}
            form = {"type": "json_schema", "json_schema": named}
            try:
                return self._client.chat(turns, response_format=form, **params)
            except (ContentFiltered, ContextTooLong, FixedTemperature):
                raise
            except (BadRequest, NotSupported) as exc:
                if self._how == "host":
                    raise
                self._how = "prompt"
                self.notes = (
                    f"The host refused response_format ({exc.what}), so only the "
                    "system prompt asked for the schema.",
                )
        return self._client.chat(turns, **params)

    def parse(self, reply: Reply) -> tuple[Any, tuple[str, ...]]:
        if reply.truncated:
            raise ValueError("the answer broke off")
        value, place = find_json(reply.text)
        if self._wrap and isinstance(value, dict) and set(value) == {WRAPPED}:
            value = value[WRAPPED]
        notes = (f"The JSON was taken out of {place}.",) if place else ()
        return schemas.convert(value, self._into), notes

    def correction(
        self, reply: Reply, problem: str, attempt: int
    ) -> list[dict[str, Any]]:
        if watch := self._params.get("watch"):
            watch(Wait(0.0, f"the answer does not fit: {problem}", attempt))
        told = f"That does not fit: {problem} Answer again with JSON alone."
        answer = {"role": "assistant", "content": reply.text or "(nothing)"}
        return [answer, {"role": "user", "content": told}]


def _remedy(reply: Reply) -> str:
    if '"properties"' in reply.text:  # small models do, and never come to an end
        return "It repeats the schema: ask a larger model, or a simpler type of it."
    if reply.finish_reason == "length":
        return "Raise max_tokens: the answer was cut off."
    return "See .reply.text; make the type simpler or the task clearer."


def _total(replies: list[Reply], value: Any, notes: tuple[str, ...]) -> Reply:
    """Return the last reply with the value and what all of them took."""
    last = replies[-1]
    if len(replies) > 1:
        of_all = "tokens, cost and seconds are of all of them"
        notes = (*notes, f"It took {len(replies)} answers; {of_all}.")
    return msgspec.structs.replace(
        last,
        parsed=value,
        usage=total_usage(replies),
        cost=total_cost(replies),
        first_token_s=replies[0].first_token_s,
        duration_s=sum(reply.duration_s for reply in replies),
        notes=(*last.notes, *notes),
    )
