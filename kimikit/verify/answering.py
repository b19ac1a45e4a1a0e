"""Check a host's model, its counts of tokens, its window, its stream and its speed."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any

from kimikit.errors import ContextTooLong
from kimikit.errors.extras import pip_install
from kimikit.money.tokens import count_chat
from kimikit.sweeps.shares import LEAST, of_mean
from kimikit.verify.asking import Asker, Came
from kimikit.verify.calling import TOOLS, WEATHER
from kimikit.verify.findings import Finding, State
from kimikit.verify.sampling import failed, finding
from kimikit.wire.hosts import model_facts
from kimikit.wire.replies import short_name

PARAGRAPH = (
    "Counting tells tokenizers apart: 12,345,678.90 EUR; the quick brown fox; "
    "naïve façade, Straße, Ωμέγα; 月之暗面科技有限公司开源了一个大模型; "
    "def f(x: int) -> str: return f'{x:>08b}'  # 0b1011\n\n\t"
    "Съешь ещё этих мягких французских булок; 吾輩は猫である。名前はまだ無い。"
)
"""A text of which vocabularies make different numbers of tokens."""

SLACK = 3
"""Tokens by which a count may differ (the Kimi vendor verifier allows as many)."""

STORY, STORIES, STORY_TOKENS = "Write a story about a lighthouse.", 5, 64
"""What is timed, how often, and its length."""

FASTEST = 5_000
"""Tokens per second that no model makes: they lay ready."""

DEPTHS = (0.1, 0.5, 0.9)
"""Where in a long prompt the needle lies."""


def told(came: Came) -> int:
    """Return the prompt tokens that a host told itself, 0 where it told none."""
    usage = None if came.reply is None else came.reply.usage
    own = came.reply is not None and bool(came.reply.raw.get("usage"))
    return usage.prompt_tokens if usage is not None and own else 0


def names(ask: Asker) -> list[Finding]:
    """Ask a word in a stream and in one piece: who answers, and what is counted."""
    streamed = ask("Say hello.", max_tokens=16)
    whole = ask("Say hello.", max_tokens=16, stream=False)
    return [_model(ask, [streamed, whole]), _usage(ask, streamed, whole)]


def _model(ask: Asker, came: Sequence[Came]) -> Finding:
    lost = failed(ask, "model", came)
    if lost is not None:
        return lost
    asked = ask.facts.model
    said = {str(one.reply.raw.get("model") or "") for one in came if one.reply}
    said -= {""}
    if not (asked and said):
        return finding(ask, "model", "unclear", "it names no model")
    wrong = [name for name in said if not _same(ask, asked, name)]
    words = f"asked for {asked}, answered as {', '.join(sorted(said))}"
    return finding(ask, "model", "broken" if wrong else "kept", words)


def _same(ask: Asker, asked: str, said: str) -> bool:
    """Say whether two names are of one model: gateways put more around them."""
    short = [re.sub(r"(?<=\d)p(?=\d)", ".", short_name(each)) for each in (asked, said)]
    if short[0] == short[1]:
        return True
    if ask.facts.host is None:
        return False
    families = [model_facts(ask.facts.host, each).family for each in (asked, said)]
    return bool(families[0]) and families[0] == families[1]


def _usage(ask: Asker, streamed: Came, whole: Came) -> Finding:
    lost = failed(ask, "usage in streams", [streamed])
    if lost is not None:
        return lost
    tokens, other = told(streamed), told(whole)
    if not tokens:
        return finding(ask, "usage in streams", "broken", "a stream came without usage")
    said = f"{tokens} prompt tokens in a stream, {other or 'none'} in one piece"
    apart = bool(other) and other != tokens
    return finding(ask, "usage in streams", "broken" if apart else "kept", said)


def counts(ask: Asker) -> list[Finding]:
    """Compare what a paragraph adds to a prompt with what Kimi's tokenizer makes of it.

    The difference of two prompts is free of what a host's template adds to both.
    """
    check, encode = "prompt tokens", ask.facts.encode
    if not ask.facts.is_kimi:
        why = f"{ask.facts.model or 'the model'} is no Kimi by its name"
        return [finding(ask, check, "unclear", why)]
    if encode is None and not ask.planning:
        how = pip_install("tiktoken", "tokens")
        why = f"Kimi's tokenizer is not to be had; {how}, or set KIMIKIT_TOKENIZER"
        return [finding(ask, check, "unclear", why)]
    texts = ["Hello.", f"Hello. {PARAGRAPH}"]
    came = [ask(text, max_tokens=16) for text in texts]
    lost = failed(ask, check, came)
    if lost is not None or encode is None:
        return [lost or finding(ask, check, "unclear", "planned")]
    if not all(map(told, came)):
        return [finding(ask, check, "unclear", "the host counts no prompt tokens")]
    added = told(came[1]) - told(came[0])
    expected = len(encode(texts[1])) - len(encode(texts[0]))
    chat = count_chat(encode, [{"role": "user", "content": texts[0]}])[0]
    said = (
        f"a paragraph adds {added} tokens and has {expected} by Kimi's tokenizer; its "
        f"template adds {told(came[0]) - chat:+d} to K2's own"
    )
    state: State = "kept" if abs(added - expected) <= SLACK else "broken"
    return [finding(ask, check, state, said, added=added, expected=expected)]


def thoughts(ask: Asker) -> list[Finding]:
    """See by the count of tokens whether thoughts reach the model in the next turn."""
    check = "reasoning kept"
    if not (ask.facts.thinks or ask.planning):
        return [finding(ask, check, "unclear", "the model does not think by its name")]
    long = " ".join(f"I weigh option {n} against the others." for n in range(40))
    came = [ask.fact(_after_call(thought), 16, tools=TOOLS) for thought in ("", long)]
    lost = failed(ask, check, came)
    if lost is not None:
        return [lost]
    before, after = map(told, came)
    if not (before and after):
        return [finding(ask, check, "unclear", "the host counts no prompt tokens")]
    words = len(long.split())
    said = f"{words} words of thought beside a call add {after - before} tokens"
    state: State = "kept" if after - before >= words // 2 else "ignored"
    return [finding(ask, check, state, said, added=after - before)]


def _after_call(thought: str) -> list[dict[str, Any]]:
    id_, function = "functions.get_weather:0", {"name": "get_weather"}
    call = {"id": id_, "type": "function"}
    arguments = {**function, "arguments": '{"city": "Lagos"}'}
    return [
        {"role": "user", "content": WEATHER},
        {
            "role": "assistant",
            "content": "",
            "reasoning_content": thought,
            "tool_calls": [{**call, "function": arguments}],
        },
        {"role": "tool", "tool_call_id": id_, "content": "31.7 degrees"},
    ]


def window(ask: Asker, context_tokens: int) -> list[Finding]:
    """Hide a number in a long prompt at three places and ask for it."""
    check, most = "context", ask.facts.window
    tokens = min(context_tokens, most - ask.room(256)) if most else context_tokens
    short, number = _haystack(1_000, 0.5, 0)
    control = ask.fact(short, 40)
    lost = failed(ask, check, [control])
    if lost is not None:
        return [lost]
    if number not in control.text and not ask.planning:
        why = "it does not find a number in a short text either"
        return [finding(ask, check, "unclear", why)]
    each = (told(control) or len(short) / 4) / len(short)
    found, size = {}, int(tokens / each)
    counted: list[int] = []
    for place, depth in enumerate(DEPTHS, 1):
        for again in (0, 10):
            text, number = _haystack(size, depth, place + again)
            came = ask.fact(text, 40)
            if came.error is not None and not ask.planning:
                return [_too_long(ask, came, tokens)]
            counted.append(told(came))
            found[depth] = number in came.text
            if found[depth] and not ask.planning:
                break
    share = f" of {most:,}" if most else ""
    seen = ", ".join(f"{d:.0%} {'found' if found[d] else 'lost'}" for d in DEPTHS)
    said = f"about {tokens:,}{share} tokens: needle at {seen}"
    few = 0 < min(counted) < 0.6 * tokens
    if few:
        said += f"; it counts {min(counted):,} tokens: the prompt is cut"
    lost_head = not found[DEPTHS[0]] and found[DEPTHS[-1]]
    broken = few or lost_head
    state: State = "broken" if broken else "kept" if all(found.values()) else "unclear"
    return [finding(ask, check, state, said, tokens=tokens)]


def _too_long(ask: Asker, came: Came, tokens: int) -> Finding:
    known = isinstance(came.error, ContextTooLong) and tokens < ask.facts.window
    state: State = "broken" if known else "refused" if came.refused else "unclear"
    return finding(ask, "context", state, f"about {tokens:,} tokens: {came.why}")


def _haystack(characters: int, depth: float, seed: int) -> tuple[str, str]:
    """Return a long text that asks for a number in it, and the number."""
    number = str(10_007 + 7_919 * (seed + 1))
    lines, size, n = [], 0, 0
    while size < characters:
        n += 1
        line = f"On day {n} the keeper saw {n * 37 % 91} ships and {n * 53 % 67} gulls."
        lines.append(line)
        size += len(line) + 1
    needle = f"The secret number of the harbour is {number}."
    lines.insert(math.ceil(depth * len(lines)), needle)
    ending = "What is the secret number of the harbour? Answer with the number alone."
    return "\n".join([*lines, "", ending]), number


def speeds(ask: Asker) -> list[Finding]:
    """Time some stories: first token, speed, and whether they stream evenly."""
    came = [ask(STORY, max_tokens=STORY_TOKENS) for _ in range(STORIES)]
    lost = failed(ask, "stream", came)
    if lost is not None:
        return [lost]
    replies = [one.reply for one in came if one.reply is not None]
    first = [r.first_token_s for r in replies if r.first_token_s is not None]
    fast = [r.tokens_per_s for r in replies if r.tokens_per_s is not None]
    figures = {
        "first_token_s": _mean(first, " s to the first token"),
        "tokens_per_s": _mean(fast, " tokens/s after it"),
    }
    said = "; ".join(text for text, _ in figures.values())
    values: dict[str, Any] = {name: value for name, (_, value) in figures.items()}
    return [_evenness(ask, came), finding(ask, "speed", "measured", said, **values)]


def _mean(values: Sequence[float], what: str) -> tuple[str, list[float]]:
    if len(values) < LEAST:
        return f"too few to tell{what}", [*values]
    mean, (low, high) = statistics.fmean(values), of_mean(values, positive=True)
    if low is None or high is None:
        return f"{mean:.3g}{what} each time", [mean]
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]{what}", [mean, low, high]


def _evenness(ask: Asker, came: Sequence[Came]) -> Finding:
    timed = [one for one in came if one.pieces and one.reply is not None]
    if not timed:
        why = "not timed: the answers were paid for before"
        return finding(ask, "stream", "unclear", why)
    sizes = [_tokens(one) / len(one.pieces) for one in timed]
    fullest = [_fullest_tenth(one.pieces) for one in timed]
    lasted = [one.pieces[-1][0] - one.pieces[0][0] for one in timed]
    size, share = statistics.median(sizes), statistics.median(fullest)
    tokens, took_s = statistics.median(map(_tokens, timed)), statistics.median(lasted)
    said = f"{size:.1f} tokens per piece, {share:.0%} of the text in the fullest tenth"
    state: State = "kept"
    if tokens < 16:
        state, said = "unclear", "answers too short to tell"
    elif max(len(one.pieces) for one in timed) == 1:
        state, said = "ignored", f"each answer came in one piece of {size:.0f} tokens"
    elif tokens > FASTEST * took_s:
        state, said = "ignored", f"{tokens:.0f} tokens came at once, in {took_s:.4f} s"
    elif size > 8 or (share > 0.5 and took_s > 0.5):
        state, said = "clamped", f"in bursts: {said}"
    return finding(ask, "stream", state, said, tokens_per_piece=size, fullest=share)


def _tokens(came: Came) -> int:
    return 0 if came.reply is None else came.reply.usage.completion_tokens


def _fullest_tenth(pieces: Sequence[tuple[float, int]]) -> float:
    """Return the largest share of the text that came in a tenth of its time."""
    begin, end = pieces[0][0], pieces[-1][0]
    tenth = max((end - begin) / 10, 1e-9)
    total, best, inside, low = sum(size for _, size in pieces), 0, 0, 0
    for when, size in pieces:
        inside += size
        while when - pieces[low][0] > tenth:
            inside -= pieces[low][1]
            low += 1
        best = max(best, inside)
    return best / total
