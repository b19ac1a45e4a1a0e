"""Make the key of a request, by which paid answers are found again.

A key holds all that changes an answer: where it is asked (the address, not only the
host's name), the model, defaults and parameters, and files by what is in them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kimikit.json_values import plain
from kimikit.secrets import Secret
from kimikit.types import Host
from kimikit.wire.hosts import profiles, started
from kimikit.wire.media import image_url
from kimikit.wire.requests import with_parts

PATIENCE = frozenset({"timeout", "max_retries"})
"""What changes how long an answer is waited for, and not the answer."""


class Picture(msgspec.Struct, frozen=True):
    """A picture as it is when the work begins.

    Attributes:
        name: Its path, or a name made of its bytes.
        url: Its bytes as a ``data:`` URL, which is sent.
        changed: Unix time at which the file was written, 0 for bytes.
    """

    name: str
    url: str
    changed: float = 0.0

    @property
    def content(self) -> str:
        """The picture in short, equal for equal bytes."""
        return "#" + hashlib.sha256(self.url.encode()).hexdigest()[:24]


class Files(msgspec.Struct, frozen=True):
    """Files that go before a question, as they were when the work began.

    Attributes:
        name: What tables show.
        content: All of them in short, equal for equal bytes.
        parts: By the name of a host, the parts of a message that it is shown.
    """

    name: str
    content: str
    parts: dict[str, list[dict[str, Any]]]

    def before(self, prompt: Any, host: str) -> list[dict[str, Any]]:
        """Return a prompt with the files before it."""
        return with_parts(prompt, self.parts[host])


def picture(image: Any) -> Any:
    """Return a picture of a file or of bytes read, a URL as it is, a list as a list.

    Raises:
        BadInput: If there is no such file, or it is no picture.
    """
    if isinstance(image, list | tuple):
        return [picture(each) for each in image]
    url = image_url(image)
    if url == image:
        return image
    if isinstance(image, str | Path):
        written = Path(image).expanduser().stat().st_mtime
        return Picture(str(image), url, written)
    made = Picture("", url)
    return Picture(f"picture {made.content[:7]}", url)


def pictures(image: Any) -> list[Picture]:
    """Return the files and bytes among what ``picture`` returned."""
    some = image if isinstance(image, list) else [image]
    return [each for each in some if isinstance(each, Picture)]


def each_picture(image: Any, attribute: str) -> Any:
    """Return what ``picture`` returned with an attribute in place of each picture."""
    if isinstance(image, list):
        return [each_picture(each, attribute) for each in image]
    return getattr(image, attribute) if isinstance(image, Picture | Files) else image


def address(host: Host | None) -> str:
    """Return where a host is, empty where its name alone says it.

    The local host has another port at each start, and is the same.
    """
    if host is None or host.stand_in:
        return ""
    known = profiles().get(host.name)
    return "" if known and known.base_url == host.base_url else host.base_url


def is_elsewhere(host: Host) -> bool:
    """Tell whether a host's name alone does not lead to where it is."""
    given = host.stand_in and host.base_url not in ("", *started)
    return given or bool(address(host))


def named_by_user(host: Host | None) -> bool:
    """Tell whether a host's name stands for one address, though no profile has it.

    Keys of version 0.3.0 held no address. At a host of a profile that is another
    server under one name; a name of the user's own is the user's word for one.
    """
    return host is not None and host.name not in profiles()


def request_key(host: Host | None, asked: list[Any]) -> str:
    """Return a digest of a request to a host, as a runner's client makes it.

    Args:
        host: Where it goes.
        asked: The defaults, the messages, the parameters and what else tells two
            requests apart.
    """
    to = [getattr(host, "name", ""), getattr(host, "model", "")]
    where = [place] if (place := address(host)) else []
    return _hash([*to, *asked, *where])


def old_request_key(host: Host | None, asked: list[Any]) -> str | None:
    """Return the digest of version 0.3.0 where it says the same, else ``None``."""
    if not address(host) or not named_by_user(host):
        return None
    to = [getattr(host, "name", ""), getattr(host, "model", "")]
    return _hash([*to, *asked])


def without_patience(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the parameters is part of a key, files by their content."""
    kept = {name: value for name, value in params.items() if name not in PATIENCE}
    if kept.get("image") is not None:
        kept["image"] = each_picture(picture(kept["image"]), "content")
    return kept


def _hash(parts: list[Any]) -> str:
    try:
        body = msgspec.json.encode(parts, order="sorted", enc_hook=_plain_or_shown)
    except UnicodeEncodeError:  # half of a surrogate pair, which ASCII can name
        body = json.dumps(parts, sort_keys=True, default=_plain_or_shown).encode()
    return hashlib.sha256(body).hexdigest()[:24]


def _plain_or_shown(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.value
    schema = getattr(value, "schema", None)
    return schema if isinstance(schema, dict) else plain(value)
