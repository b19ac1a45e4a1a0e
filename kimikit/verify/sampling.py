"""Check that a host obeys temperature, top_p, seed, n, stops and other limits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from kimikit import html
from kimikit.types import logprobs
from kimikit.verify.asking import Asker, Came
from kimikit.verify.findings import Finding, State

OPEN = (
    "Make up a village: its name, its river and what its people are known for, in one "
    "sentence."
)
COUNT = "Count from 1 to 30, with commas and nothing else."

WIDE, NARROW = 6, 5
"""Answers whose spread is compared: free ones, and those that should be alike."""

TOKENS = 32
"""Tokens of each of them."""

ALIKE = 0.5
"""A parameter is kept where answers under it spread at most so much as free ones."""

FREE = 0.8
"""And ignored where they spread at least so much."""

SAME = 0.05
"""Spread below which free answers are all one, so that nothing can be told."""

EVIDENCE = 300
"""Characters of evidence that are kept: a host may have written them."""

LIMIT = 8
"""The ``max_tokens`` that is asked for."""

_DEFAULT_CUTS = ("llamacpp", "ollama", "local")
"""Hosts whose samplers cut unlikely tokens off by default: they count well when hot."""


def finding(
    ask: Asker, check: str, state: State, evidence: str, **more: Any
) -> Finding:
    """Return a finding of the host that is asked."""
    told = " ".join(html.clean(evidence[: 4 * EVIDENCE]).split())
    return Finding(
        host=ask.facts.label,
        check=check,
        state=state,
        evidence=html.cut(told, EVIDENCE),
        figures={name: finite(value) for name, value in more.items()},
    )


def finite(value: Any) -> Any:
    """Return a figure that JSON can hold, ``None`` for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def failed(ask: Asker, check: str, came: Sequence[Came]) -> Finding | None:
    """Return what to say where a question has no answer, ``None`` where all do."""
    lost = next((one for one in came if one.error is not None), None)
    if lost is None:
        return None
    state: State = "refused" if lost.refused else "unclear"
    return finding(ask, check, state, f"{type(lost.error).__name__}: {lost.why}")


def spread(texts: Sequence[str]) -> float:
    """Return the mean lexical distance between two of these answers, from 0 to 1."""
    from kimikit.sweeps.similarity import lexical

    n = len(texts)
    return float((n * n - lexical(texts).sum()) / (n * (n - 1)))


def spreads(ask: Asker) -> list[Finding]:
    """Compare free answers with those at temperature 0, a tiny top_p and one seed."""
    hot: dict[str, Any] = {"max_tokens": TOKENS, "temperature": 1.0}
    wide = ask.times(WIDE, OPEN, **hot)
    pinned = failed(ask, "temperature", wide) if wide[-1].refused else None
    if pinned is not None:
        del hot["temperature"]
        wide = ask.times(WIDE, OPEN, **hot)
    narrow: dict[str, dict[str, Any]] = {
        "temperature": {**hot, "temperature": 0.0},
        "top_p": {**hot, "top_p": 0.01},
        "seed": {**hot, "seed": 7},
    }
    found = []
    for check, params in narrow.items():
        if check == "temperature" and pinned is not None:
            found.append(pinned)
            continue
        found.append(_narrowed(ask, check, wide, ask.times(NARROW, OPEN, **params)))
    if found[0].state == "kept" or ask.planning:
        found[0] = _held_down(ask, found[0])
    return found


def _narrowed(
    ask: Asker, check: str, wide: Sequence[Came], narrow: Sequence[Came]
) -> Finding:
    lost = failed(ask, check, [*narrow, *wide])
    if lost is not None:
        return lost
    free, held = [one.said for one in wide], [one.said for one in narrow]
    if ask.planning or not all(free + held):
        return finding(ask, check, "unclear", "answers without a word cannot tell")
    far, near = spread(free), spread(held)
    what = {"temperature": "temperature 0", "top_p": "top_p 0.01", "seed": "one seed"}
    said = (
        f"{len(held)} answers at {what[check]}: {html.many(len({*held}), 'wording')}; "
        f"{len(free)} without: {len({*free})}; spread {near:.2f} against {far:.2f}"
    )
    figures = {"spread": near, "spread_free": far}
    if far < SAME:
        # Who always answers alike has no temperature, and top_p and seed cannot show.
        state: State = "ignored" if check == "temperature" else "unclear"
    elif near <= ALIKE * far:
        state = "kept"
    else:
        state = "ignored" if near >= FREE * far else "unclear"
    return finding(ask, check, state, said, **figures)


def _held_down(ask: Asker, kept: Finding) -> Finding:
    """Return whether the host's highest temperature is as hot as it says.

    A model that counts without a slip at 0 does not at 2: half of every difference of
    logits is left, and the many unlikely tokens get a share.
    """
    top, facts = ask.facts.hottest, ask.facts
    by_default = facts.host is not None and facts.host.name in _DEFAULT_CUTS
    if top <= 1 or by_default:
        return kept
    cold = ask.fact(COUNT, 120)
    if not (ask.planning or _counts(cold)):
        return kept
    hot = ask.times(2, COUNT, temperature=top, top_p=1, max_tokens=ask.room(120))
    if hot[-1].refused:
        hot = ask.times(2, COUNT, temperature=top, max_tokens=ask.room(120))
    if ask.planning or failed(ask, "temperature", hot) or not all(map(_counts, hot)):
        return kept
    said = f"{kept.evidence}; at {top:g} it still counts to 30 without a slip"
    return finding(ask, "temperature", "clamped", said, **kept.figures)


def _counts(came: Came) -> bool:
    """Say whether an answer holds the numbers from 1 to 30 in order, and no others."""
    numbers = [int(each) for each in re.findall(r"\d{1,9}", came.text)]
    words = re.sub(r"[\d\s,.]+", "", came.text)
    return numbers == list(range(1, 31)) and not words


def several(ask: Asker) -> list[Finding]:
    """Ask for three answers at once."""
    came = ask(OPEN, n=3, max_tokens=TOKENS)
    lost = failed(ask, "n", [came])
    if lost is not None or came.reply is None:
        return [lost] if lost else []
    n = 1 + len(came.reply.alternatives)
    state: State = "kept" if n == 3 else "ignored" if n == 1 else "clamped"
    return [finding(ask, "n", state, f"n=3 brought {n} of 3 answers", answers=n)]


def stops(ask: Asker) -> list[Finding]:
    """Ask for what goes past a stop text, with and without it."""
    mark = "5"
    free = ask.fact(COUNT, 40)
    held = ask.fact(COUNT, 40, stop=[mark])
    lost = failed(ask, "stop", [free, held])
    if lost is not None:
        return [lost]
    rest = free.text.partition(mark)[2]
    if len(rest) < 2 and mark not in held.text:
        return [finding(ask, "stop", "unclear", f"no answer came to {mark!r}")]
    said = f"asked to stop at {mark!r} it ended in {held.text[-12:]!r}"
    if mark not in held.text:
        return [finding(ask, "stop", "kept", said)]
    ends = held.text.endswith(mark)
    return [finding(ask, "stop", "clamped" if ends else "ignored", said)]


def limits(ask: Asker) -> list[Finding]:
    """Ask for a long text in few tokens."""
    came = ask("Write a long story about a lighthouse.", max_tokens=LIMIT)
    lost = failed(ask, "max_tokens", [came])
    if lost is not None or came.reply is None:
        return [lost] if lost else []
    usage, words = came.reply.usage, len(came.said.split())
    told = 0 if usage.estimated else usage.completion_tokens
    said = f"max_tokens={LIMIT}: {told or 'no'} tokens told, {words} words came"
    said += f", finish_reason {came.reply.finish_reason!r}"
    over = told > LIMIT or words > 2 * LIMIT  # a word has at least one token
    state: State = "kept"
    if over:
        state = "clamped" if came.cut and words <= 8 * LIMIT else "ignored"
    elif not came.cut:
        state = "unclear" if words < LIMIT // 2 else "kept"
        said += ", which does not say that it was cut"
    return [finding(ask, "max_tokens", state, said, tokens=told, words=words)]


def probabilities(ask: Asker) -> list[Finding]:
    """Ask for log probabilities and see whether they can be such."""
    came = ask(OPEN, logprobs=True, top_logprobs=2, max_tokens=TOKENS)
    lost = failed(ask, "logprobs", [came])
    if lost is not None or came.reply is None:
        return [lost] if lost else []
    tokens = logprobs.tokens(came.reply.raw)
    known = [token.logprob for token in tokens if token.logprob is not None]
    if not known:
        return [finding(ask, "logprobs", "ignored", "none came")]
    said = f"{html.many(len(known), 'token')}, {len({*known})} different values"
    wrong = max(known) > 1e-6 or (len(known) >= 8 and len({*known}) == 1)
    written = "".join(token.text for token in tokens).strip()
    if written and came.text and not _about(written, came):
        return [finding(ask, "logprobs", "broken", f"{said}, of another text")]
    said += ", which no model gives" if wrong else ""
    return [finding(ask, "logprobs", "broken" if wrong else "kept", said)]


def _about(written: str, came: Came) -> bool:
    """Say whether tokens are of an answer, by letters: some are told as bytes."""
    letters = {*re.findall(r"[a-z]{3,}", written.lower())}
    own = {*re.findall(r"[a-z]{3,}", came.said.lower())}
    return not letters or not own or bool(letters & own)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"zq_city": {"type": "string"}, "zq_rank": {"type": "integer"}},
    "required": ["zq_city", "zq_rank"],
    "additionalProperties": False,
}
"""Names that no model would choose by itself."""


def formats(ask: Asker) -> list[Finding]:
    """Ask for JSON by ``response_format`` alone, where the words ask for none."""
    schema = {"name": "answer", "schema": SCHEMA, "strict": True}
    wanted: dict[str, tuple[str, dict[str, Any], Callable[[Any], bool]]] = {
        "json_object": (
            "Say hello in one short English sentence, not in JSON.",
            {"type": "json_object"},
            lambda value: isinstance(value, dict),
        ),
        "json_schema": (
            "What is the capital of France?",
            {"type": "json_schema", "json_schema": schema},
            lambda value: isinstance(value, dict) and {*value} == {*SCHEMA["required"]},
        ),
    }
    return [_form(ask, name, *each) for name, each in wanted.items()]


def _form(
    ask: Asker,
    check: str,
    question: str,
    wanted: dict[str, Any],
    fits: Callable[[Any], bool],
) -> Finding:
    came = ask.fact(question, 200, response_format=wanted)
    lost = failed(ask, check, [came])
    if lost is not None:
        return lost
    try:
        good = fits(json.loads(came.text))
    except (ValueError, RecursionError):
        good = False
    said = f"it answered {came.text[:60]!r}"
    if not good and (came.cut or not came.text):
        return finding(ask, check, "unclear", f"{said}, cut at max_tokens")
    return finding(ask, check, "kept" if good else "ignored", said)
