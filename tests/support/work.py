"""How much work something is."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any


def seconds(do: Callable[..., object], *args: Any) -> float:
    """Return the processor's time for something, without collections of garbage.

    Such a collection looks at all that other tests have left in this process.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        begun = time.process_time()
        do(*args)
        return time.process_time() - begun
    finally:
        if collects:
            gc.enable()
