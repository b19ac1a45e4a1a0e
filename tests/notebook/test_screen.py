"""What a screen sends, without a kernel."""

from __future__ import annotations

import types
from typing import Any

from kimikit.notebook.screen import BYTES_PER_S, REDRAWS_PER_S, Bundle, Screen


class Publisher:
    """What a shell publishes to: what stands there, and how many messages it took."""

    session = object()

    def __init__(self) -> None:
        self.shown: dict[str, Bundle] = {}
        self.messages = 0

    def publish(self, data: Bundle, transient: dict[str, Any], update: bool) -> None:
        assert update == (transient["display_id"] in self.shown)
        self.shown[transient["display_id"]] = data
        self.messages += 1


def text(words: str) -> Bundle:
    return {"text/plain": words}


def test_what_is_finished_is_sent_once_and_what_is_gone_is_emptied() -> None:
    publisher = Publisher()
    screen = Screen(types.SimpleNamespace(display_pub=publisher))
    screen.draw([], [text("grows"), text("3 s without a token")])
    screen.draw([text("grows, and is done")], [])
    assert list(publisher.shown.values()) == [text("grows, and is done"), {}]
    screen.draw([], [text("the next")])
    assert list(publisher.shown.values())[1] == text("the next")
    assert publisher.messages == 5
    screen.draw([], [text("the next")])
    assert publisher.messages == 5, "nothing changed, nothing is sent"


def test_the_pause_grows_with_messages_and_bytes() -> None:
    screen = Screen(types.SimpleNamespace(display_pub=Publisher()))
    assert screen.draw([], [text("a"), text("b")]) == 2 / REDRAWS_PER_S
    assert screen.draw([], [text("a" * 10 * BYTES_PER_S)]) > 10
