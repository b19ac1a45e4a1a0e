"""Check that a host calls tools as asked: tool_choice, ids, triggers and schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kimikit.evals.tool_score import Outcome, judged, rates_of
from kimikit.verify.asking import Asker, Came
from kimikit.verify.findings import Finding, State
from kimikit.verify.sampling import failed, finding
from kimikit.wire.coerce import as_dict, as_list, as_str

LEAST_F1 = 0.73
"""Trigger F1 that the K2 Vendor Verifier accepts of K2-Thinking; of K2-0905 0.80."""

LEAST_VALID = 0.85
"""Share of calls that fit their schemas below which a host is accused."""

WEATHER = "What is the weather like in Lagos now?"


def _offer(name: str, does: str) -> dict[str, Any]:
    city = {"type": "string", "description": "Name of the city."}
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    function = {"name": name, "description": does, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = [
    _offer("get_weather", "Current weather of a city."),
    _offer("get_time", "Current local time of a city."),
]


def choices(ask: Asker) -> list[Finding]:
    """Ask with each form of ``tool_choice``, against what the question suggests."""
    free = ask.fact(WEATHER, 200, tools=TOOLS)
    named = {"type": "function", "function": {"name": "get_time"}}
    joke = "Tell me a joke about a cat."
    found = []
    for check, question, choice in (
        ("tool_choice none", WEATHER, "none"),
        ("tool_choice required", joke, "required"),
        ("tool_choice named", WEATHER, named),
    ):
        came = ask.fact(question, 200, tools=TOOLS, tool_choice=choice)
        lost = failed(ask, check, [came])
        found.append(lost or _chosen(ask, check, free, came))
    return found


def _chosen(ask: Asker, check: str, free: Came, came: Came) -> Finding:
    names = [call.name for call in came.calls]
    said = f"it called {', '.join(names) or 'nothing'}"
    if check.endswith("none"):
        if not names and not free.calls:
            said += ", nor does it by itself"
            return finding(ask, check, "unclear", said)
        return finding(ask, check, "ignored" if names else "kept", said)
    if came.cut and not names:
        return finding(ask, check, "unclear", f"{said} before max_tokens")
    wanted = check.endswith("required") or names == ["get_time"]
    return finding(ask, check, "kept" if names and wanted else "ignored", said)


def ids(ask: Asker) -> list[Finding]:
    """Have a tool called, answer the call by its id, and see whether that is taken."""
    first = ask.fact(WEATHER, 200, tools=TOOLS)
    lost = failed(ask, "tool ids", [first])
    if lost is not None:
        return [lost]
    if not first.calls or first.reply is None:
        return [finding(ask, "tool ids", "unclear", "it called nothing")]
    sent = _ids(first.reply.raw)
    result = "31.7 degrees, and a red sky"
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": WEATHER},
        first.reply.message,
        *(
            {"role": "tool", "tool_call_id": call.id, "content": result}
            for call in first.calls
        ),
    ]
    second = ask.fact(messages, 200, tools=TOOLS)
    said = f"ids {', '.join(map(repr, sent))}"
    if second.refused:
        words = f"{said}; the history with them is refused: {second.why}"
        return [finding(ask, "tool ids", "broken", words)]
    if second.error is not None:
        return [finding(ask, "tool ids", "unclear", f"{said}; then {second.why}")]
    if not all(sent) or len({*sent}) < len(sent):
        return [finding(ask, "tool ids", "broken", f"{said}: each must have its own")]
    used = "31.7" in second.text
    said += "; the answer has the result" if used else "; the answer lacks the result"
    return [finding(ask, "tool ids", "kept" if used else "unclear", said)]


def _ids(raw: dict[str, Any]) -> list[str]:
    """Return the ids of an answer's calls as the host sent them."""
    first = as_dict(next(iter(as_list(raw.get("choices"))), None))
    message = as_dict(first.get("message"))
    return [as_str(as_dict(c).get("id")) for c in as_list(message.get("tool_calls"))]


def scores(ask: Asker, cases: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Ask labelled cases and count triggers and schemas as the K2 Vendor Verifier."""
    outcomes: list[Outcome] = []
    errors: list[Came] = []
    for case in cases:
        tools = list(case["tools"])
        came = ask.fact(list(case["messages"]), 400, tools=tools)
        if came.reply is None:
            errors.append(came)
            continue
        outcomes.append(judged(case, came.reply, host=ask.facts.label))
    if errors and not outcomes:
        return [failed(ask, c, errors) for c in ("tool triggers", "tool schemas")]  # type: ignore[misc]
    rates = rates_of(outcomes)
    found = []
    for check, rate, least in (
        ("tool triggers", rates["F1"], LEAST_F1),
        ("tool schemas", rates["Schema valid"], LEAST_VALID),
    ):
        low, high = rate.interval
        value = rate.value
        state: State = "broken" if high < least else "unclear"
        state = "kept" if low >= least else state
        what = "F1" if check == "tool triggers" else "of answers with calls fit"
        said = f"no calls in {len(outcomes)} cases"
        if value is not None:
            said = f"{value:.0%} [{low:.0%}, {high:.0%}] {what}, {len(outcomes)} cases"
        said += f", {len(errors)} failed" if errors else ""
        found.append(finding(ask, check, state, said, value=value, low=low, high=high))
    return found
