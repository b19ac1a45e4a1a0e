"""Recognise keys by their form, so that one that went astray is shown nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable

# Compiled at their first use: most sessions never need them.
_BEGINNINGS = (
    r"sk[-_]|tgp_v\d_|hf_|gsk_|nvapi-|fw_|r8_|xai-|pplx-|ghp_|github_pat_|AIza|AKIA"
    r"|csk-"
)
_KEYS = (
    rf"(?<![\w-])(?:{_BEGINNINGS})(?=[\w-]*\d)[\w-]{{16,}}"
    r"|(?<![\w-])sk-[\w.-]{0,40}\*{2,}[\w.*-]{0,40}"
    r"|(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]{8,2000}"
    r"|(?i:\b(Bearer|Basic)[ \t]+(?:(?=[^\s\"']{0,200}\d)[\w.~+/=*-]{6,}"
    r"|[\w.~+/=*-]{16,}))"
    # A user in an address.
    r"|(?<=://)(?:[^\s/@:\"'<>\\]{0,200}:[^\s/@\"'<>\\]{1,200}|[\w.~+=-]{16,300})(?=@)"
)
_MARKS = (
    "sk-", "sk_", "tgp_v", "hf_", "gsk_", "nvapi-", "fw_", "r8_", "xai-", "pplx-",
    "ghp_", "github_pat_", "AIza", "AKIA", "csk-", "eyJ", "earer ", "EARER", "asic ",
    "://",
)  # fmt: skip
"""Texts of which one is in whatever the patterns of keys find."""

_HEX = r"[0-9a-fA-F]{40,128}"
"""Some keys are nothing but digits of base 16, as are sums of files."""


def three(secret: object) -> str:
    """Return what stands for a secret."""
    return "***"


def hide(text: str, fill: Callable[[str], str] = three) -> str:
    """Replace whatever has the shape of a key by ``***`` or what ``fill`` returns.

    A shape counts at the beginning of a word only: ``risk-adjusted`` has none.
    """
    if not any(mark in text for mark in _MARKS):
        return text

    def hidden(match: re.Match[str]) -> str:
        if not match[1]:
            return fill(match[0])
        return f"{match[1]} {fill(match[0][len(match[1]) + 1 :])}"

    return re.sub(_KEYS, hidden, text)


def hide_quoted(text: str) -> str:
    """Do the same in a sentence that quotes what a user gave in place of something."""
    return hide(re.sub(rf"(?<=['\"/]){_HEX}(?=['\"])", "***", text))


def keys_in_address(url: str) -> list[str]:
    """Return the parts of an address between slashes that are keys."""
    return [part for part in url.split("/") if is_key(part)]


def hide_in_address(url: str) -> str:
    """Replace those by ``***``."""
    return "/".join("***" if is_key(part) else part for part in url.split("/"))


def is_key(text: str) -> bool:
    """Say whether a text is the key itself."""
    return bool(re.fullmatch(_HEX, text.strip())) or hide(text.strip()) == "***"
