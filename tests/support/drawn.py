"""For cells in a kernel: wait until a view has drawn something, not for some time."""

from __future__ import annotations

import threading
from typing import Any

from IPython import get_ipython

PATIENCE_S = 60
_drawn: list[str] = []
_more = threading.Condition()


def watch() -> None:
    """Keep what this kernel sends to the browser from now on."""
    publisher = get_ipython().display_pub  # type: ignore[no-untyped-call]
    publish = publisher.publish

    def kept(data: Any, *args: Any, **options: Any) -> None:
        publish(data, *args, **options)
        with _more:
            _drawn.append(str(data))
            _more.notify()

    publisher.publish = kept


def forget() -> None:
    """Let only what is drawn from now on count."""
    _drawn.clear()


def until(text: str) -> None:
    """Wait until something with this text was sent to the browser."""
    with _more:
        drawn = _more.wait_for(lambda: any(text in each for each in _drawn), PATIENCE_S)
    assert drawn, text
