"""A hostile model in a real JupyterLab page: nothing runs, loads or leaves its box."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hostile import CANARY, PAYLOADS
from support.lab import Cells, Lab

pytestmark = pytest.mark.browser

SETUP = """
import time
from decimal import Decimal
from support.streamed import reply, steps
from support.hostile import PAYLOADS
from kimikit.display.cell import arm
from kimikit.notebook import screen, stream_view
from kimikit.notebook.stream_view import answer_view
from kimikit.types import Reply, ToolCall, CallPart, Delta
arm()
screen.REDRAWS_PER_S, stream_view.BYTES_PER_S = 100, 10**9  # all that is drawn between
def show(name):
    text = PAYLOADS[name]
    with answer_view(True) as view:
        for step in steps(text):
            view(step)
            time.sleep(.05 / len(text))
        view.finish(reply(text))
"""
ELSEWHERE = """
bad = PAYLOADS['closing tags'] + PAYLOADS['script'] + PAYLOADS['bidi']
with answer_view() as view:
    for step in steps('', reasoning=bad, calls=((bad, '{"city": "' + bad),)):
        view(step); time.sleep(.005)
    view.finish(reply('Fine.', reasoning=bad, model=bad, host=bad, notes=(bad,),
                      alternatives=(reply(bad),), tool_calls=(ToolCall('a', bad, bad),)))
"""
MATH = "show_math = '$\\\\alpha \\\\beta \\\\frac{1}{2}$'\nPAYLOADS['m'] = show_math\nshow('m')"

FORBIDDEN = (
    "script, iframe, object, embed, form, button, video, audio, meta, base, link, svg,"
    " template, math[href], img, [onclick], [onerror], [onload], [ontoggle],"
    " [onmouseover], [onfocus], [style*=fixed], [id=a]"
)
FOUND = """
([index, forbidden]) => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[index];
  const areas = [...cell.node.querySelectorAll('.jp-OutputArea-output')];
  const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1
      && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const footer = areas.at(-1);
  footer.scrollIntoView({block: 'center'});
  const box = footer.querySelector('small').getBoundingClientRect();
  const top = document.elementFromPoint(box.left + 5, box.top + box.height / 2);
  const frame = cell.node.querySelector('.jp-Cell-outputWrapper').getBoundingClientRect();
  return {
    areas: areas.length,
    bad: areas.flatMap(a => [...a.querySelectorAll(forbidden)])
      .filter(e => !e.closest('mjx-container')).map(e => e.outerHTML),
    links: areas.flatMap(a => [...a.querySelectorAll('a[href]')])
      .map(e => e.getAttribute('href')),
    ours: cell.node.querySelectorAll('.kimikit .muted').length,
    answer: areas.slice(0, -1).map(a => a.textContent).join(''),
    footer: footer.textContent,
    clear: !!top && footer.contains(top),
    boxed: areas.every(a => inside(a.getBoundingClientRect(), frame)),
    math: cell.node.querySelectorAll('mjx-merror, .MathJax_Error').length,
  };
}
"""
# The page has drawn all it had to, and what it asked of the network was answered.
AT_REST = """
async () => {
  for (let i = 0; i < 3; i++) {
    await fetch('/api/status', {cache: 'no-store'});
    await new Promise(requestIdleCallback);
  }
}
"""


@pytest.fixture(scope="module")
def page(lab: Lab) -> Iterator[Cells]:
    """All payloads shown, one a cell, in a page that notes what should not happen."""
    page = lab.page
    page.evaluate(f"{CANARY}; null")  # Playwright calls what is a function
    page.kimikit_seen = []
    heard = {
        "dialog": lambda d: (page.kimikit_seen.append(d.message), d.dismiss()),
        "request": lambda r: _note(page, lab, r.url),
        "popup": lambda p: page.kimikit_seen.append(p.url),
    }
    for event, hear in heard.items():
        page.on(event, hear)
    shows = [f"show({name!r})" for name in PAYLOADS]
    cells = lab.open("hostile", [SETUP, *shows, ELSEWHERE, MATH])
    cells.command("notebook:run-all-cells")
    cells.wait_idle(len(PAYLOADS) + 2, 120)
    page.evaluate(AT_REST)
    yield cells
    cells.close()
    for event, hear in heard.items():
        page.remove_listener(event, hear)


def _note(page: object, lab: Lab, url: str) -> None:
    local = url.startswith((lab.url, lab.url.replace("http", "ws"), "data:", "blob:"))
    if not local or "shutdown" in url:
        page.kimikit_seen.append(url)  # type: ignore[attr-defined]


def test_there_are_enough_payloads() -> None:
    assert len(PAYLOADS) >= 40


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_stays_text_above_our_footer(page: Cells, name: str) -> None:
    index = 1 + list(PAYLOADS).index(name)
    found = page.page.evaluate(FOUND, [index, FORBIDDEN])
    assert found["bad"] == []
    assert all(u.startswith(("http://", "https://", "#")) for u in found["links"])
    assert found["areas"] == 2, "one answer, one footer"
    assert found["ours"] == 1, "the only footer is ours"
    assert found["footer"].endswith("2026-11-18")
    assert found["clear"], "nothing lies over the footer"
    assert found["boxed"], "nothing leaves its output"
    assert found["math"] == 0
    assert not set("\x1b\u202e\u2066\u200f\u061c\x00") & set(found["answer"])


def test_nothing_ran_or_was_fetched(page: Cells) -> None:
    assert page.page.evaluate("window.__pwned") == []
    assert page.page.kimikit_seen == []


def test_hostile_reasoning_calls_notes_and_names_are_text(page: Cells) -> None:
    found = page.page.evaluate(FOUND, [len(PAYLOADS) + 1, FORBIDDEN])
    assert found["bad"] == []
    assert found["areas"] == 3
    assert page.page.evaluate("window.__pwned") == []


def test_math_of_other_cells_is_not_redefined(page: Cells) -> None:
    cell = page.cell(len(PAYLOADS) + 2)
    spoken = cell.locator("mjx-assistive-mml").first.text_content()
    assert spoken == "αβ12"


def test_nothing_runs_when_clicked_or_when_opened_again(page: Cells, lab: Lab) -> None:
    page.page.evaluate(
        """() => document.querySelectorAll('.jp-OutputArea-output *').forEach(e => {
          if (!e.closest('a')) e.click?.(); e.dispatchEvent(new Event('mouseover'));
        })"""
    )
    page.save()
    page.close(keep_kernel=True)
    again = lab.open("hostile")
    again.page.evaluate(AT_REST)
    assert again.page.evaluate("window.__pwned") == []
    assert page.page.kimikit_seen == []
    found = again.page.evaluate(FOUND, [2, FORBIDDEN])
    assert (found["areas"], found["bad"]) == (2, [])
