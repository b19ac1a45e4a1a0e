"""Hold secrets in types that never show them, and take them out of what is kept.

What a user passes is looked through once, on entry: ``hidden`` makes a text that hides
of each secret in it. ``masked`` is the form in which such fields are shown and stored,
``redact`` takes secrets out of a text.
"""

from __future__ import annotations

import contextlib
import functools
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NoReturn, Self

import msgspec

from kimikit import html
from kimikit.errors import BadInput
from kimikit.key_shapes import hide, three

SHORTEST = 8
"""Characters below which a key is a dummy, such as ``EMPTY``, and no secret."""
_LONGEST = 2_000
"""Characters above which a field is a text and no key."""
_CERTAIN = 16
"""Characters from which a key with digits is no word of anybody's."""

_NAMES = re.compile(
    r"(?i)authorization|cookie|secret|password|passwd|passphrase|credential"
    r"|\A(?:auth|bearer|key|pat|pwd)\Z"
    r"|(?:api|access|subscription|private|signing|encryption)[\W_]?key"
    r"|(?:access|auth|bearer|id|session)[\W_]?token"
    # Tokens of a tokenizer or of a list's pages are none.
    r"|\A(?!(?:eos|bos|pad|unk|sep|cls|mask|stop|start|end|next|page|think|image)[\W_])"
    r"(?:\S*[^\sa-z0-9])?token\Z"
)
"""Names of headers and fields that hold a secret."""
_CARRIERS = frozenset({"value", "values", "raw", "plain", "data"})
"""Names by which a dict holds what its own name, or the field above it, says."""
_SCALARS = frozenset({bool, int, float, type(None)})


class Secret(str):
    """A text as it is sent, which no repr, traceback or pickle shows.

    It is a ``str``, so other libraries take it; what is written with it still has it.
    """

    __slots__ = ()

    @property
    def value(self) -> str:
        """The plain text."""
        return str.__str__(self)

    def __repr__(self) -> str:
        return "'***'" if self else "''"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("A key is not pickled; read it from the environment again.")


class SecretBytes(bytes):
    """The same for bytes, such as a request in which secrets are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self):,} bytes>"


class Key(Secret):
    """A key as it is sent."""

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


def redact(text: str, *keys: str, fill: Callable[[str], str] = three) -> str:
    """Replace the keys given, and whatever has the shape of one, by ``***``.

    A shape counts at the beginning of a word only: ``risk-adjusted`` has none.

    Args:
        text: What may hold some.
        *keys: Keys in use.
        fill: Returns what stands for a key, if not three stars.
    """
    return hide(without(text, keys, fill=fill), fill)


def without(
    text: str, keys: Iterable[str], *, fill: Callable[[str], str] = three
) -> str:
    """Replace the keys given, and those in use, by ``***`` or what ``fill`` returns.

    A short key without digits may be part of a word, so only a whole word counts
    then; a very short one is a dummy and stays.
    """
    for key in (*keys, *html.secrets_in_use()):
        if len(key) < SHORTEST or str.__str__(key) not in text:
            continue
        if is_certain(key):
            text = text.replace(key, fill(key))
        else:
            text = _whole(str.__str__(key)).sub(fill(key), text)
    return text


def in_use(keys: Iterable[str]) -> None:
    """Keep keys out of all that is shown, pickled and saved from now on.

    One that could be a word of an answer is left.
    """
    for key in keys:
        if is_certain(key):
            html.keep_out(str.__str__(key))


def cut(value: Any) -> Any:
    """Return a text, or dicts and lists of texts, without the keys in use."""
    if isinstance(value, str):
        return html.without_secrets(value)
    if isinstance(value, dict):
        return {cut(name): cut(each) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(cut(each) for each in value)
    return value


def forget_locals(error: BaseException | None, package: str) -> None:
    """Empty the frames of a package that an error came through.

    What a host sent may repeat a key, and verbose tracebacks show what is local.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if str(frame.f_globals.get("__name__")).startswith(package):
                with contextlib.suppress(RuntimeError):  # it still runs
                    frame.clear()
        error = error.__cause__ or error.__context__


def is_certain(key: str) -> bool:
    """Say whether a key can be no word of anybody's."""
    return len(key) >= _CERTAIN and any(c.isdigit() for c in key)


@functools.lru_cache(64)
def _whole(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")


@functools.lru_cache(1024)
def names_secret(name: object) -> bool:
    """Say whether a field of this name holds a secret."""
    return isinstance(name, str) and _NAMES.search(name) is not None


def hidden(value: Any, name: str = "") -> Any:
    """Return what a user passed, with each secret in it as a text that hides.

    Args:
        value: A text, or dicts and lists of them.
        name: What it was passed as.
    """
    try:
        return _walked(value, _hiding, secret=names_secret(name), shapes=True)
    except RecursionError:
        return value  # what is as deep as this is refused a moment later


def masked(value: Any, name: str = "") -> Any:
    """Return fields as they may be shown and stored: secrets as ``***``."""
    try:
        return _walked(value, three, secret=names_secret(name))
    except RecursionError:
        return "***"


def stripped(value: Any) -> Any:
    """Return fields without the secrets in them, to be kept for another day."""
    gone = object()

    def pruned(each: Any) -> Any:
        if isinstance(each, dict):
            return {n: pruned(v) for n, v in each.items() if v is not gone}
        if isinstance(each, list | tuple):
            return [pruned(v) for v in each if v is not gone]
        return each

    return pruned(_walked(value, lambda secret: gone, secret=False))


def secrets_in(fields: Any, *, apart: Collection[str] = ()) -> list[str]:
    """Return the secrets in headers or in a body.

    Args:
        fields: What may hold some.
        apart: Names of fields that are not looked into.
    """
    found: list[str] = []

    def note(secret: Any) -> Any:
        text = secret if isinstance(secret, str) else bytes(secret).decode("latin-1")
        found.extend((text, text.rpartition(" ")[2]))  # without its "Bearer"
        return secret

    if apart:
        fields = {name: each for name, each in fields.items() if name not in apart}
    _walked(fields, note, secret=False)
    return list(dict.fromkeys(found))


def _hiding(secret: Any) -> Any:
    if isinstance(secret, Secret):
        return secret
    return Secret(secret) if isinstance(secret, str) else SecretBytes(secret)


def _walked(
    value: Any, act: Callable[[Any], Any], *, secret: bool, shapes: bool = False
) -> Any:
    """Return a copy of nested fields in which ``act`` replaced each secret.

    A tool's schema is left alone: a parameter named ``password`` holds none.

    Args:
        value: The fields.
        act: Returns what stands for a secret.
        secret: Whether their name says that they are.
        shapes: Whether texts count that look like a key, or an address with one.
    """
    if isinstance(value, str):
        found = secret or isinstance(value, Secret) or (shapes and _is_key(value))
        return act(value) if value and found else value
    if isinstance(value, bytes | bytearray):
        return act(value) if value and secret else value
    if type(value) is dict or isinstance(value, Mapping):
        if value.get("type") == "function":
            return value
        titles = (value.get("name"), value.get("header"), value.get("key"))
        carries = secret or any(names_secret(t) for t in titles if isinstance(t, str))
        out = {}
        for name, each in value.items():
            if type(each) not in _SCALARS:
                named = names_secret(name) or (carries and name in _CARRIERS)
                each = _walked(each, act, secret=named, shapes=shapes)
            out[name] = each
        return out
    if isinstance(value, list | tuple):
        made = [_walked(each, act, secret=secret, shapes=shapes) for each in value]
        return made if isinstance(value, list) else tuple(made)
    return value


def _is_key(text: str) -> bool:
    return len(text) <= _LONGEST and redact(text) != text


def encoded(value: Any, **options: Any) -> SecretBytes:
    """Return JSON of plain values and secrets, as it is sent."""
    return SecretBytes(msgspec.json.encode(value, enc_hook=spelled, **options))


def spelled(value: Any) -> Any:
    """Return a secret as text that JSON takes.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
