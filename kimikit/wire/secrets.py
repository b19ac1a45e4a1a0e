"""Keys: a type that never shows its value, and their removal from what is kept."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn, Self

from kimikit.errors import BadInput

SHORTEST = 8
"""Characters below which a key is a dummy, such as ``EMPTY``, and no secret."""
_CERTAIN = 16
"""Characters from which a key with digits is no word of anybody's."""

# Compiled at their first use: most sessions never need them.
_BEGINNINGS = (
    r"sk-|tgp_v\d_|hf_|gsk_|nvapi-|fw_|r8_|xai-|pplx-|ghp_|github_pat_|AIza|AKIA|csk-"
)
_KEYS = (
    rf"(?<![\w-])(?:{_BEGINNINGS})(?=[\w-]*\d)[\w-]{{16,}}"
    r"|(?<![\w-])sk-[\w.-]{0,40}\*{2,}[\w.*-]{0,40}"
    r"|(?i:\b(Bearer|Basic)[ \t]+(?:(?=[^\s\"']{0,200}\d)[\w.~+/=*-]{6,}"
    r"|[\w.~+/=*-]{16,}))"
)
MARKS = (
    "sk-", "tgp_v", "hf_", "gsk_", "nvapi-", "fw_", "r8_", "xai-", "pplx-", "ghp_",
    "github_pat_", "AIza", "AKIA", "csk-", "earer ", "asic ",
)  # fmt: skip
"""Texts of which one is in whatever the patterns of keys find."""
_NAMES = re.compile(
    r"(?i)authorization|cookie|secret|password|passwd|credential"
    r"|\A(?:token|auth|key|pat)\Z|(?:api|access|subscription)[-_]?key"
    r"|(?:access|auth|bearer|id|session)[-_]?token"
)
"""Names of headers and fields that hold a secret."""


class Key(str):
    """A key as it is sent, which no repr, traceback or pickle shows.

    It is a ``str``, so other libraries take it; what is written with it still has it.
    """

    __slots__ = ()

    def __new__(cls, value: object = "") -> Self:
        """Wrap a key; what is no text is no key."""
        made = str.strip(value) if isinstance(value, str) else ""
        key, value, made = super().__new__(cls, made), None, ""  # none in a traceback
        return key

    @classmethod
    def of(cls, given: object) -> Self | None:
        """Return an argument as a key, ``None`` for none.

        Raises:
            BadInput: If it is no text.
        """
        if given is None or isinstance(given, str):
            return None if given is None else cls(given)
        raise BadInput(
            f"api_key is of type {type(given).__name__}.", "Pass the key as text."
        )

    @property
    def value(self) -> str:
        """The key as plain text."""
        return str.__str__(self)

    def check(self) -> Self:
        """Return the key.

        Raises:
            BadInput: If it has characters that no key has.
        """
        if not self.isascii() or any(c.isspace() or not c.isprintable() for c in self):
            raise BadInput(
                "The key has characters that no key has.", "Copy it again, alone."
            )
        return self

    def __repr__(self) -> str:
        return "'***'" if self else "''"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A key is not pickled; read it from the environment again.")


def _three(hidden: str) -> str:
    return "***"


def redact(text: str, *keys: str, fill: Callable[[str], str] = _three) -> str:
    """Replace the keys given, and whatever has the shape of one, by ``***``.

    A shape counts at the beginning of a word only: ``risk-adjusted`` has none.

    Args:
        text: What may hold some.
        *keys: Keys in use.
        fill: Returns what stands for a key, if not three stars.
    """
    text = without(text, keys, fill=fill)
    if not any(mark in text for mark in MARKS) and "EARER" not in text:
        return text

    def hide(match: re.Match[str]) -> str:
        if not match[1]:
            return fill(match[0])
        return f"{match[1]} {fill(match[0][len(match[1]) + 1 :])}"

    return re.sub(_KEYS, hide, text)


def without(
    text: str, keys: Iterable[str], *, fill: Callable[[str], str] = _three
) -> str:
    """Replace the keys given by ``***``, or by what ``fill`` returns.

    A short key without digits may be part of a word, so only a whole word counts
    then; a very short one is a dummy and stays.
    """
    for key in keys:
        if len(key) < SHORTEST or str.__str__(key) not in text:
            continue
        if len(key) >= _CERTAIN and any(c.isdigit() for c in key):
            text = text.replace(key, fill(key))
        else:
            text = _whole(str.__str__(key)).sub(fill(key), text)
    return text


@functools.lru_cache(64)
def _whole(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")


def secrets_in(fields: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield the values of headers or of a body whose names say that they are secret."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and depth < 8:
            yield from secrets_in(value, depth + 1)
        elif isinstance(value, str) and names_secret(name) and value:
            yield value
            yield value.rpartition(" ")[2]  # without its "Bearer"


def names_secret(name: object) -> bool:
    """Say whether a field of this name holds a secret."""
    return isinstance(name, str) and _NAMES.search(name) is not None


def masked(value: Any, depth: int = 0) -> Any:
    """Return fields as they may be shown and stored: secrets as ``***``."""
    if not isinstance(value, Mapping) or depth > 8:
        return value
    return {
        name: "***"
        if isinstance(each, str) and each and names_secret(name)
        else masked(each, depth + 1)
        for name, each in value.items()
    }
