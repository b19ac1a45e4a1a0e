"""Progress bars that leave nothing in a saved notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def progress_bar(**options: Any) -> Iterator[Any]:
    """Give a bar of tqdm's, and take it away when the block ends.

    In a notebook tqdm closes the widget of a bar but leaves its output, which a saved
    notebook then shows as a widget that is gone, and at the count it began with.

    Args:
        **options: What ``tqdm`` takes.
    """
    # Not for every import of kimikit to pay.
    from tqdm.auto import tqdm

    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    if in_notebook:
        options["display"] = False
    with tqdm(leave=False, **options) as bar:
        box = getattr(bar, "container", None)
        if box is None:
            yield bar
            return
        from IPython.display import display

        shown: Any = display(box, display_id=True)  # type: ignore[no-untyped-call]
        bar.displayed = True
        try:
            yield bar
        finally:
            bar.total = None  # a bar that is not full would stay, in red
            bar.close()
            if shown is not None:
                shown.update({}, raw=True)
