"""Make a reply of what was folded, with what was odd about it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from kimikit import html
from kimikit.types import Call, Pricer, Reply
from kimikit.usage import paid_as
from kimikit.wire import features
from kimikit.wire.calls import name_ids
from kimikit.wire.chunks import Choice, Folder
from kimikit.wire.coerce import as_dict, as_list, mend
from kimikit.wire.content import BROKEN_OFF
from kimikit.wire.dialects import wants_kimi_ids
from kimikit.wire.leaks import name_in


def of_choice(choice: Choice, folder: Folder, *, ended: bool) -> Reply:
    """Return one of the ``n`` answers.

    Args:
        choice: What was folded of it.
        folder: Where it was folded.
        ended: Whether the host said that all is over.
    """
    call, reason = folder.call, choice.finish_reason
    calls, notes = choice.calls.finish(
        complete=ended or reason is not None, cut=reason == "length"
    )
    for number, made in enumerate(calls):
        name = name_in(made.name)
        if made.name not in folder.offered and name in folder.offered:
            calls[number] = msgspec.structs.replace(made, name=name)
            notes.append(f"The host called the tool {name} {made.name}.")
    leaked = choice.content.leaks or choice.thinking.leaks
    if leaked and choice.calls.calls:
        notes.append("Raw tool markers are taken out; the host's own calls hold.")
    elif leaked:
        calls = choice.found
        were = "call of an offered tool was" if len(calls) == 1 else "calls were"
        notes.append(
            "Raw tool markers are taken out of the text (they are in .raw); "
            f"{len(calls)} {were} found in them."
        )
    if choice.unclosed:
        notes.append("A think tag never closed, so what it held is the answer.")
    if unknown := choice.extras.unknown():
        notes.append(f"Fields that are not known here are in .raw: {unknown}.")
    if refusal := choice.extras.merged().get("refusal"):
        notes.append(f"The model refused: {refusal!s:.300}")
    if choice.content.unopened:
        notes.append("Thinking had come as text, with no opening tag, and was moved.")
    before = sum(
        len(as_list(as_dict(message).get("tool_calls")))
        for message in as_list(call.body.get("messages"))
    )
    kimi = wants_kimi_ids(call.host, call.model)
    return Reply(
        text=choice.begin + choice.text.decode(),
        reasoning=choice.reasoning.decode(),
        tool_calls=tuple(name_ids(calls, count=before, kimi=kimi)),
        finish_reason=reason,
        model=call.model,
        host=call.host.name,
        stand_in=call.host.stand_in,
        replayed=call.replayed,
        created=call.created,
        notes=tuple(notes),
        sent=call.sent,
    )


def notes(reply: Reply, folder: Folder, *, whole: bool) -> Iterator[str]:
    """Yield what was odd, a sentence each.

    Args:
        reply: The main answer; its own notes come first.
        folder: Where it was folded.
        whole: Whether the host answered in one piece.
    """
    yield from reply.notes
    call, body = folder.call, folder.call.body
    if call.model and short_name(reply.model) != short_name(call.model):
        yield f"The host says that {reply.model} answered, not {call.model}."
    if call.endpoint not in ("chat", "complete"):
        return
    if whole and body.get("stream"):
        yield "The host ignored stream=True and sent the answer in one piece."
    if folder.unreadable:
        yield f"{html.many(folder.unreadable, 'event')} could not be read."
    if len(folder.choices) < (body.get("n") or 1):
        yield f"{body['n']} answers were asked for and {len(folder.choices)} came."
    if reply.truncated and reply.finish_reason not in (None, "error"):
        yield f"The host broke the answer off ({reply.finish_reason})."
    elif reply.truncated:
        yield "The stream ended without a finish, so the answer may be cut."
    elif reply.finish_reason is None and not reply.partial:
        yield "The host gave no reason for the end."
    elif reply.finish_reason == "content_filter":
        yield "The host's content filter ended the answer."
    new = reply.text.removeprefix(call.prefill).strip()
    if new or reply.tool_calls or reply.partial or reply.truncated:
        return
    if reply.finish_reason == "length":
        yield "No token was left for the answer: raise max_tokens."
    elif reply.reasoning:
        yield "The model thought and then stopped: no text, no call."
    else:
        yield "The host finished with nothing in the answer."


def broke_off(reason: str | None, *, cut: bool) -> bool:
    """Tell whether an answer lacks its end, by the host's word or without any."""
    if reason is not None and reason.lower() in BROKEN_OFF:
        return True
    return cut and reason in (None, "error")


def cost(reply: Reply, call: Call, pricer: Pricer | None) -> Decimal | None:
    """Return the US dollars that ``reply`` cost; the host's own figure wins."""
    usage = reply.usage
    if usage.cost_usd is not None or pricer is None:
        return usage.cost_usd
    names = paid_as(call.model, reply.model, call.body)
    asked = (pricer(call.host.name, n, usage, call.created) for n in names)
    found = next((each for each in asked if each is not None), None)
    if found is None or not call.host.builtin_tools:
        return found
    names = [
        made.name for one in (reply, *reply.alternatives) for made in one.tool_calls
    ]
    return found + features.builtin_usd(names, call.host)


def raw(replies: list[Reply], folder: Folder) -> dict[str, Any]:
    """Return a stream as the one object that it stands for, as the host said it."""
    choices = []
    for reply, choice in zip(replies, folder.in_order(), strict=True):
        message: dict[str, Any] = {"role": "assistant"}
        message["content"] = choice.said.decode()
        message |= choice.extras.merged()
        if choice.told:
            message["reasoning_content"] = reply.reasoning
        if choice.calls.calls:
            own = choice.calls.ids()
            called = [call.to_dict() for call in reply.tool_calls]
            if len(own) == len(called):
                called = [c | {"id": i} for c, i in zip(called, own, strict=True)]
            message["tool_calls"] = called
        entry: dict[str, Any] = {"index": choice.index, "message": message}
        entry |= choice.beside.merged()
        if choice.logprobs:
            entry["logprobs"] = {"content": choice.logprobs}
        choices.append(entry | {"finish_reason": choice.finish_word})
    head = {**folder.head, "object": "chat.completion"}
    used = {"usage": mend(folder.tally.raw)} if folder.tally.raw else {}
    return {**head, "choices": choices, **used}


def short_name(model: str) -> str:
    """Return a model id without what gateways put around it."""
    name = model.rpartition("/")[2].partition(":")[0]
    # ``transformers serve`` answers as NAME@main.
    return name.partition("@")[0].lower() or name.lower()
