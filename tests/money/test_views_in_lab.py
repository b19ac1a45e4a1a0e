"""The ledger, its plot, the meter and a refusal as JupyterLab shows them."""

import pytest
from support.contrast import page_of
from support.money import ask, make_call, make_reply

from kimikit.errors import TimedOut
from kimikit.money.ledger import Ledger, tag
from kimikit.types import Host, Usage

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("local_host")]

CELLS = [
    "from kimikit import Kimi\nkimi = Kimi('local', ledger={path!r}, show=False)",
    "kimi.ledger",
    "kimi.ledger.calls()",
    "kimi.ledger.plot();",
    "kimi.meter()",
    "with kimi.budget(usd=1, tokens=60):\n    kimi.chat('Name a bird.', max_tokens=90)",
    "kimi.chat('Say hello.', max_tokens=4)",
]
LOOK = """cell => [...cell.querySelectorAll('.kimikit')].map(box => ({
  math: box.querySelectorAll('mjx-container, .MathJax').length,
  over: Math.max(...[...box.querySelectorAll('table')].map(
    table => table.offsetWidth - box.clientWidth), 0),
}))"""


@pytest.fixture
def path(tmp_path):
    """A ledger with every kind of row, on hosts with long names."""
    ledger = Ledger(tmp_path / "many.sqlite3")
    for name, model in [
        ("together", "moonshotai/Kimi-K2-Instruct"),
        ("moonshot-cn", "kimi-k2.6"),
        ("fireworks", "accounts/fireworks/models/kimi-k2p7-code"),
        ("openrouter", "moonshotai/kimi-k2.5"),
    ]:
        host = Host(name=name, base_url="https://example.invalid/v1")
        for days in range(5):
            usage = Usage(8000 + days, 900, 4000, estimated=days == 0)
            with tag("a-long-name-of-a-tag"):
                call = make_call(host=host, model=model, max_tokens=2000)
                call.created -= 86400 * days
                ledger.opened(call)
                ledger.closed(call, make_reply(usage=usage, model=model), None)
        ask(ledger, host=host, model=model, error=TimedOut("x", "y"), max_tokens=900)
    ledger.close()
    return str(ledger.path)


@pytest.mark.parametrize(
    ("width", "whole"),
    [(564, 700), (648, 1100)],  # the latter with a side bar
)
def test_nothing_is_wider_than_a_cell(chromium, path, width, whole):
    ledger = Ledger(path)
    shown = ledger._repr_html_() + ledger.calls()._repr_html_()
    page = chromium.new_page(viewport={"width": whole, "height": 900})
    page.set_content(page_of(f'<div style="width:{width}px">{shown}</div>', dark=False))
    wide = "[...document.querySelectorAll('table')].map(t => t.offsetWidth)"
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert max(page.evaluate(wide)) <= width
    page.close()


def test_figures_are_whole_and_dollars_are_not_math(lab, path):
    """JupyterLab reads what stands between two dollars as a formula."""
    lab.page.set_viewport_size({"width": 1366, "height": 2600})
    book = lab.open("money", [cell.format(path=path) for cell in CELLS])
    for index in range(len(CELLS)):
        book.run(index, 60)
    assert "$3.325" in book.outputs(1).locator("details").first.text_content()
    for index in (1, 2, 4, 6):
        book.outputs(index).first.wait_for()
        for box in book.cell(index).evaluate(LOOK):
            assert box == {"math": 0, "over": 0}, index
    assert "Raise the limit (tokens=...)" in book.text(5)
    assert "BudgetExceeded" in book.text(5)
    assert "$0.00 · " in book.text(6)
    for dark in (False, True):
        book.theme(dark=dark)
        book.picture(f"money-{'dark' if dark else 'light'}")
    book.close()
