"""Sentences that users read: rates are "per", and one of a thing is one."""

from __future__ import annotations

import re
from pathlib import Path

from kimikit import html

ROOT = Path(__file__).parent.parent
RATE = re.compile(
    r"(?:[\d}]|\b(?:tokens|calls|requests|dollars|times|answers|bytes|seconds|messages"
    r"|displays|one|row|[mun]?s|them)) a "
    r"(?:second|minute|hour|day|token|million|call|chunk|point|row|column|trial|month"
    r"|prompt)\b",
    re.I,
)


def test_rates_are_per():
    assert RATE.search("3 tokens a second")
    texts = ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "tests/bench/README.md"
    pages = [*(ROOT / "kimikit").rglob("*.py"), *texts]
    said = [
        (path.name, m[0]) for path in pages for m in RATE.finditer(path.read_text())
    ]
    meant = {
        "Times a call",
        "answers a prompt",
    }  # times at which; of which a prompt has
    assert {words for _, words in said} <= meant


def test_one_row_more_is_one():
    assert [html.many(n, "row") for n in (0, 1, 2000)] == [
        "0 rows",
        "1 row",
        "2,000 rows",
    ]
    assert "1 more row<" in html.table(["a"], [[n] for n in range(11)])
    assert "2 more rows<" in html.table(["a"], [[n] for n in range(12)])


def test_a_wide_table_scrolls_and_its_caption_stays():
    shown = html.table(["a"], [[1]], caption="n = 1")
    assert shown.startswith('<div style="overflow-x:auto"><table><caption')
    assert "<span>n = 1</span></caption>" in shown
    assert "position:sticky;left:0" in html.STYLE
