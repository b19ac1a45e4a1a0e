"""How much work something is."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any


def seconds(do: Callable[..., object], *args: Any) -> float:
    """Return this thread's time on the processor, without collections of garbage.

    A collection looks at all that other tests have left in this process, and threads
    that they left may be at work.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        begun = time.thread_time()
        do(*args)
        return time.thread_time() - begun
    finally:
        if collects:
            gc.enable()
