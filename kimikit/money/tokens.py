"""Count a chat's tokens for Kimi: exactly, by the host, or estimated (``~``)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from kimikit.errors import BadInput, KimiError, MissingDependency, warn
from kimikit.money.estimates import Sample, TokenCount, estimate
from kimikit.paths import taking_place
from kimikit.wire.requests import as_messages
from kimikit.wire.weigh import OPENING, pieces

URL = "https://huggingface.co/moonshotai/Kimi-K2-Instruct/resolve/main/tiktoken.model"
SHA256 = "b6c497a7469b33ced9c38afb1ad6e47f03f5e5dc05f15930799210ec050c5103"
"""Kimi K2's vocabulary, published by Moonshot AI beside the weights, and its digest."""

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
_ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERN = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Kimi K2 splits text before it looks for tokens (its ``tokenization_kimi.py``)."""

_K2 = re.compile(r"kimi-k2(?![.p]?\d|-thinking)|^$", re.IGNORECASE)
"""Models whose chat template the count follows; others may write chats otherwise."""

SENTENCE_TOKENS = 19
"""What some copies of K2's template put before a chat that no system message leads:
"You are Kimi, an AI assistant created by Moonshot AI.", the 4 tokens around it, and a
line end, which others leave out."""

COUNTED = frozenset({"role", "name", "content", "tool_call_id"})
"""What is counted of a message that is all text."""

_ADDED = (0, SENTENCE_TOKENS - 1, SENTENCE_TOKENS)


def is_k2(model: str) -> bool:
    """Tell whether a model's chats are written as the count has them."""
    return bool(_K2.search(model))


LONGEST_RUN = 25_000
"""Characters without a space, or of spaces alone, that are looked at as one."""
_RUN = re.compile(r"\s+|\S+")

SLOW_TOKENS = 100_000
"""Input past which, the model's page says, response speed drops."""

Encode = Callable[[str], Sequence[int]]


class Fit(msgspec.Struct, frozen=True):
    """Whether a prompt and its answer fit into a context window; true if they do.

    Attributes:
        prompt: Tokens of the prompt.
        max_tokens: Tokens kept for the answer.
        context: The window.
    """

    prompt: TokenCount
    max_tokens: int
    context: int

    @property
    def left(self) -> int:
        """Tokens left over, an estimate's error taken off; below 0 if too few."""
        unsure = int(self.prompt.tokens * (self.prompt.error or 0.0))
        prompt = self.prompt.tokens + unsure + self.prompt.more
        return self.context - prompt - self.max_tokens

    def __bool__(self) -> bool:
        return self.left >= 0

    def __repr__(self) -> str:
        return (
            f"{'fits' if self else 'does not fit'}: {self.prompt}, {self.max_tokens:,} "
            f"for the answer, of {self.context:,}; {self.left:,} left"
        )


def count_tokens(
    messages: Any,
    tools: Iterable[Any] | None = None,
    *,
    model: str = "",
    fetch: Callable[[str], bytes] | None = None,
    remote: Callable[[list[dict[str, Any]]], int] | None = None,
    samples: Callable[[], Sequence[Sample]] = tuple,
    of_host: Callable[[], Sequence[Sample]] | None = None,
) -> TokenCount:
    """Count the tokens of a chat for Kimi.

    Exact for text chats with Kimi K2 where its tokenizer is there: at
    ``KIMIKIT_TOKENIZER``, in the cache, or to be fetched. Else the host's own
    estimate, else one from the characters, fitted to what hosts have counted before.

    Args:
        messages: Text, a message, or a list of messages.
        tools: Tools offered with them, as dicts or with a ``schema``.
        model: The model they are for, Kimi K2 if not given.
        fetch: Gives the bytes of a URL, to fetch the tokenizer once.
        remote: The host's own estimate.
        samples: Gives past requests and the prompt tokens counted for them.
        of_host: Gives those of the host that is to be asked, which tell whether its
            template adds K2's own system sentence where no system message leads.

    Raises:
        BadInput: If ``messages`` are of the wrong type, or ``KIMIKIT_TOKENIZER`` names
            no tokenizer.
        MissingDependency: If it is set and tiktoken is not installed.
    """
    chat = as_messages(messages)
    offered = [getattr(tool, "schema", tool) for tool in tools or ()]
    encode = encoder(fetch)
    if encode is not None and "kimi" in (model or "kimi").lower():
        tokens, plain = count_chat(encode, chat, offered)
        # Hosts render tools in their own way: 12 % more than this has been recorded.
        error = 0.12 if not plain else 0.0 if _K2.search(model) else 0.05
        method, added = "Kimi K2's tokenizer", 0
        if of_host is not None and _K2.search(model) and not _has_system(chat):
            found = _added(encode, of_host())
            if found is None:
                method += "; the host may add K2's own system sentence"
                return TokenCount(tokens, error, method, SENTENCE_TOKENS)
            added = found
        return TokenCount(tokens + added, error, method)
    if remote is not None and not offered:
        return TokenCount(remote(chat), None, "the host's own estimate")
    return estimate({"messages": chat, "tools": offered}, samples())


def _has_system(messages: Sequence[Mapping[str, Any]]) -> bool:
    return bool(messages) and messages[0].get("role") == "system"


def _added(encode: Encode, samples: Iterable[Sample]) -> int | None:
    """Return what a host's template adds to a chat without a system message.

    The copies of K2's template that vLLM and llama.cpp bring add a sentence of its
    own, Groq's and Moonshot's do not. The last answer that can tell decides.

    Args:
        encode: The tokenizer.
        samples: Requests to the host, the last first, and what it counted for them.
    """
    for body, counted in samples:
        messages = body.get("messages") or []
        if not messages or body.get("tools") or _has_system(messages):
            continue
        if not _K2.search(str(body.get("model") or "")):
            continue
        tokens, plain = count_chat(encode, messages)
        if plain and counted - tokens in _ADDED:
            return counted - tokens
    return None


def fits(count: TokenCount, max_tokens: int, context: int) -> Fit:
    """Tell whether a chat and its answer fit into a context window.

    Warns past 100,000 tokens, where answers slow down.

    Args:
        count: The chat, counted.
        max_tokens: Tokens to keep for the answer.
        context: The window in tokens.
    """
    if count.tokens > SLOW_TOKENS:
        warn(
            f"The prompt has {count}. Past {SLOW_TOKENS:,} answers slow down; send "
            "less, or put a short brief of what matters into the last message."
        )
    return Fit(count, max_tokens, context)


def count_chat(
    encode: Encode, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()
) -> tuple[int, bool]:
    """Count a chat as Kimi K2's template writes it.

    Returns:
        The tokens, and whether all of it is text that hosts write alike.
    """

    def size(text: str) -> int:
        return len(encode(text))

    total, plain = OPENING, not tools
    if tools:
        total += 3 + size("tool_declare") + size(json.dumps(tools, ensure_ascii=False))
    for message in messages:
        text = "".join(pieces(message.get("content")))
        if message["role"] == "tool":
            text = f"## Return of {message.get('tool_call_id')}\n{text}"
        total += 3 + size(str(message.get("name") or message["role"])) + size(text)
        calls = message.get("tool_calls") or ()
        for call in calls:
            total += 3 + size(call["id"]) + size(call["function"]["arguments"])
        total += 2 * bool(calls)
        plain &= not calls and isinstance(message.get("content"), str | None)
    return total, plain


def encoder(fetch: Callable[[str], bytes] | None = None) -> Encode | None:
    """Return Kimi K2's tokenizer as a function, ``None`` where it cannot be had."""
    named = os.environ.get("KIMIKIT_TOKENIZER")
    path = _place(*map(os.environ.get, _WHERE))
    try:
        import tiktoken  # noqa: F401
    except ImportError as exc:
        if named:
            raise MissingDependency.of("tiktoken", "An exact count", "tokens") from exc
        return None
    if named or path.is_file() or (fetch is not None and _fetched(path, fetch)):
        return _load(path)
    return None


_WHERE = "KIMIKIT_TOKENIZER", "KIMIKIT_CACHE", "XDG_CACHE_HOME", "HOME"
"""What of the environment says where the tokenizer is."""


@cache
def _place(named: str | None, folder: str | None, *_: str | None) -> Path:
    """Return the tokenizer's file; each call of a sweep asks for it."""
    if named:
        return Path(named).expanduser()
    return Path(folder or platformdirs.user_cache_path("kimikit")) / "kimi-k2.tiktoken"


_TRIED: set[Path] = set()
"""Where the tokenizer was to be put; each is tried once, whether it works or not."""


def _fetched(path: Path, fetch: Callable[[str], bytes]) -> bool:
    """Fetch the tokenizer into the cache."""
    if path in _TRIED:
        return False
    _TRIED.add(path)
    try:
        data = fetch(URL)
        if hashlib.sha256(data).hexdigest() != SHA256:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with taking_place(path) as fresh:
            fresh.write_bytes(data)
    except (KimiError, OSError):
        return False
    return True


@cache
def _load(path: Path) -> Encode:
    """Build the tokenizer from a file of lines of base64 and rank; takes 0.3 s."""
    import tiktoken

    try:
        pairs = (line.split() for line in path.read_bytes().splitlines() if line)
        ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
        made = tiktoken.Encoding(
            "kimi-k2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}
        )
    except (ValueError, OSError) as exc:
        raise BadInput(
            f"{path} is not a tiktoken vocabulary: {exc}.",
            "Point KIMIKIT_TOKENIZER at Kimi's tiktoken.model, or unset it.",
        ) from exc
    return lambda text: [t for some in _runs(text) for t in made.encode_ordinary(some)]


def _runs(text: str) -> Iterator[str]:
    """Cut a text where Kimi's own tokenizer does, in long runs with or without spaces.

    Of the blanks in one piece, a million of them overflow the stack of tiktoken.
    """
    start = 0
    if len(text) > LONGEST_RUN:
        for run in _RUN.finditer(text):
            for cut in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN):
                yield text[start:cut]
                start = cut
    yield text[start:]
