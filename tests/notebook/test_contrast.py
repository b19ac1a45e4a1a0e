"""Every word of every view can be read, on light pages and on dark ones."""

from __future__ import annotations

from typing import Any

import pytest
from support import notebooks
from support.contrast import faint, page_of
from support.hostile import values

from kimikit import html
from kimikit.markdown import as_html
from kimikit.notebook import progress
from kimikit.sweeps.side_by_side import marked
from kimikit.types.logprobs import Heat, Token

pytestmark = pytest.mark.browser


def committed() -> dict[str, str]:
    """Return what the notebooks show: most views, with what they hold in real use."""
    import nbformat

    return {
        f"{path.name} {number}": output.data["text/html"]
        for path in notebooks.all_notebooks()
        for number, cell in enumerate(
            notebooks.code_cells(nbformat.read(path, as_version=4)), 1
        )
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    }


def others() -> dict[str, str]:
    """Return what no notebook shows, and each style at its strongest."""
    never = Token("never", -20.0, (("ever", -0.1),))
    code = as_html("```python\nx = 1  # note\nprint(f'{x}')\n```\n\n> said `x`")
    shown = {name: value._repr_html_() for name, value in values("Some text.").items()}
    return shown | {
        "heat": Heat((never, never), "foot")._repr_html_(),
        "code": html.wrap(code),
        "marked": html.wrap(marked("one word", "another one")),
        "interval in small print": html.wrap(
            html.table(["a"], [[html.interval("1", "0", "2")]], caption="n = 1")
        ),
        "status": progress.status("thinking")["text/html"],
        "thinking": progress.thinking("Hmm.", 2.0)["text/html"],
        "calls": progress.calls_so_far(["f(x=1)"])["text/html"],
    }


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_of_every_view_stands_out(chromium: Any, dark: bool) -> None:
    page = chromium.new_page(viewport={"width": 700, "height": 900})
    shown = committed() | others()
    page.set_content(page_of("".join(shown.values()), dark=dark))
    assert faint(page.locator("body")) == []
    page.close()


@pytest.mark.parametrize(
    "style", ["opacity:.5", "color:#888", "color:#777;background:#999"]
)
def test_what_is_too_faint_is_found(chromium: Any, style: str) -> None:
    page = chromium.new_page()
    page.set_content(page_of(f'<p style="{style}">word</p><p>other</p>', dark=False))
    (found,) = faint(page.locator("body"))
    assert found.endswith("word")
    page.close()
