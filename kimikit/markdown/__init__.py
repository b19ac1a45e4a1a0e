"""Make a model's Markdown safe to show: it is parsed once, and written anew.

Enter by ``safe`` for Markdown and ``as_html`` for a page. ``parser`` reads, with
``formulas`` and ``rows`` for what front ends read differently; ``writer`` writes
Markdown, ``page`` HTML, ``fences`` finds the code; ``tex`` and ``density`` bound the
work.
"""

from kimikit.markdown.writer import as_written, safe, small_print

__all__ = ["as_html", "as_written", "safe", "small_print"]


def as_html(text: str) -> str:
    """Return a model's Markdown as inert HTML; see ``page.as_html``."""
    # The parser takes 70 ms to import, as long as all the rest of the package.
    from kimikit.markdown import page

    return page.as_html(text)
