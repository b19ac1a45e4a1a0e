"""Every view says all that it has without scripts, style sheets and widgets.

Front ends keep different parts of what a cell shows. JupyterLab drops scripts and styles
of notebooks that it does not trust, GitHub most attributes, a terminal all but the text,
and editors in which no widget manager runs show no widget.
"""

from __future__ import annotations

import html
import re
from typing import Any

import nbformat
import pytest
from support import notebooks
from support.hostile import values

FORMS = {"text/plain", "text/html", "text/markdown", "image/png"}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def left_of(shown: str) -> set[str]:
    """Return the words of HTML without tags that run, look or act."""
    shown = re.sub(r"(?s)<(style|script|button)\b.*?</\1>", "", shown)
    shown = shown.replace("<wbr>", "")
    shown = re.sub(
        r"<(?=/?(td|th|p|div|small|summary|pre|li|caption|br)\b)", " <", shown
    )
    return words(html.unescape(re.sub(r"<[^>]*>", "", shown)))


def committed() -> list[tuple[str, dict[str, Any]]]:
    """Return what cells of the notebooks show: most views, as they are in real use."""
    return [
        (f"{path.name} {number}", dict(output.data))
        for path in notebooks.all_notebooks()
        for number, cell in enumerate(
            notebooks.code_cells(nbformat.read(path, as_version=4)), 1
        )
        for output in cell.outputs
        if "kimikit" in output.get("data", {}).get("text/html", "")
    ]


def test_saved_cells_need_no_script_no_widget_and_no_html() -> None:
    shown = committed()
    assert len(shown) > 50
    for where, bundle in shown:
        assert bundle.keys() <= FORMS, where
        assert "<script" not in bundle["text/html"], where
        text = bundle["text/plain"]
        assert text.strip(), where
        assert " object at 0x" not in text, where
        lost = words(text) - left_of(bundle["text/html"])
        # Both forms cut long results, and each says how much of it.
        assert len(lost) < 10, (where, lost)


@pytest.mark.parametrize("kind", values("Some text."))
def test_each_kind_of_value_says_the_same_as_html_and_as_text(kind: str) -> None:
    value = values("Some text.")[kind]
    text, shown = str(value), value._repr_html_()
    if kind == "reply":  # whose text is the answer alone
        text = repr(value)
    assert "Some" in words(text)
    assert words(text) - left_of(shown) == set()
