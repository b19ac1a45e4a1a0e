"""What the ledger shows: text, HTML, a plot and a live meter."""

import datetime as dt
import re
import time

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from support.contrast import faint_in
from support.money import LOCAL, ask, make_call, make_reply

from kimikit.money import views
from kimikit.money.ledger import Ledger, tag
from kimikit.types import Host, Usage

mpl.use("agg")


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "ledger.sqlite3")
    yield made
    made.close()


@pytest.fixture
def busy(ledger, monkeypatch):
    """Three days, two models, a tag, a killed call and an unpriced one."""
    monkeypatch.setenv("JPY_SESSION_NAME", "01-temperature.ipynb")
    now = time.time()
    for n in range(9):
        model = ("moonshotai/Kimi-K3", "moonshotai/Kimi-K2.7-Code")[n % 2]
        ask(ledger, model=model, created=now - 86400 * (n % 3))
    with tag("<script>"):
        ask(ledger, model="<b>bold</b>")
    ledger.opened(make_call(max_tokens=100))
    return ledger


def test_text_shows_periods_models_tags_and_notebooks(busy):
    text = repr(busy)
    for words in ("today", "this session", "this month", "ever", "moonshotai/Kimi-K3",
                  "01-temperature.ipynb", "<script>", "n = 11 calls"):  # fmt: skip
        assert words in text
    assert "at least $0.0" in text
    assert "1 unpriced; 1 unknown, at most $0.00" in text
    price = (
        r"moonshotai/Kimi-K3 +\$3\.00 +\$0\.30 +\$15\.00 +2026-\d\d-\d\d +genai-prices"
    )
    assert re.search(price, text)
    old = r"Kimi-K2\.7-Code +\$0\.95 +\$0\.19 +\$4\.00 +2026-07-02 \(old\) +model catalogue"
    assert re.search(old, text)
    assert re.search(r"<b>bold</b> +unpriced +set one with kimi.set_price", text)


def test_html_shows_the_same_with_everything_escaped(busy):
    page = busy._repr_html_().replace("<wbr>", "")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "&lt;script&gt;" in page
    assert "<b>bold" not in page
    assert "<script" not in page
    assert "moonshotai/Kimi-K2.7-Code" in page
    calls = busy.calls()._repr_html_()
    assert "n = 11 calls, newest first" in calls
    assert "<b>bold" not in calls


def test_the_stand_in_is_named_and_free_where_an_own_machine_is_unpriced(ledger):
    ask(ledger, host=LOCAL, model="smollm2")
    assert repr(ledger).endswith("local stand-in, not Kimi")
    assert re.search(r"local +smollm2 +1 +40 +25% +50 +\$0\.00", repr(ledger))
    assert re.search(r"local +smollm2 +\$0\.00 .*stand-in is free", repr(ledger))
    ask(ledger, host=Host(name="vllm", base_url="http://x/v1"), model="mine")
    assert re.search(r"vllm +mine +1 +40 +25% +50 +unpriced", repr(ledger))


def test_a_price_has_all_its_digits(ledger):
    for amount, shown in (
        ("0.375", r"\$0\.375"),
        ("3", r"\$3\.00"),
        ("0.6", r"\$0\.60"),
    ):
        ledger.prices.set("vllm", "mine", input=amount, output=1)
        ask(ledger, host=Host(name="vllm", base_url="http://x/v1"), model="mine")
        assert re.search(rf"mine +{shown} ", repr(ledger))


def test_an_empty_ledger_is_shown_too(ledger):
    assert "n = 0 calls" in repr(ledger)
    assert "n = 0 calls" in ledger._repr_html_()
    assert len(ledger.plot()) == 3


class TestPlot:
    def test_costs_are_stacked_by_model_with_their_sum(self, busy):
        costs, sums, shares = busy.plot()
        tops = [bar.get_y() + bar.get_height() for bar in costs.patches]
        by_day = [float(t.cost) for t in busy.total(by="day").values()]
        assert max(tops) == pytest.approx(max(by_day))
        assert sums.lines[0].get_ydata()[-1] == pytest.approx(sum(by_day))
        assert costs.get_ylabel() == "US dollars per day"
        assert "n = 11 calls" in costs.get_title()
        assert [bar.get_height() for bar in shares.patches] == [25.0] * 3
        labels = [t.get_text() for t in costs.figure.legends[0].get_texts()]
        assert labels == ["moonshotai/Kimi-K3", "moonshotai/Kimi-K2.7-Code"]

    def test_given_axes_are_drawn_on_alone(self, busy):
        ax = Figure().subplots()
        assert busy.plot(ax) == (ax,)
        assert ax.patches
        assert len(ax.get_legend().get_texts()) == 2

    def test_more_models_than_colours_are_drawn_as_the_rest(self, ledger):
        for n in range(10):
            ledger.prices.set("together", f"m{n}", input=n + 1, output=0)
            ask(ledger, model=f"m{n}")
        costs, sums, _ = ledger.plot()
        labels = [t.get_text() for t in costs.figure.legends[0].get_texts()]
        assert labels == ["m9", "m8", "m7", "m6", "m5", "m4", "4 other models"]
        assert sums.lines[0].get_ydata()[-1] == pytest.approx(
            float(ledger.total().cost)
        )

    def test_every_word_of_it_can_be_read_on_any_page(self, busy):
        assert faint_in(busy.plot()[0].figure) == []

    def test_without_any_cost_tokens_are_drawn(self, ledger):
        ask(ledger, host=LOCAL, model="smollm2")
        tokens, _, _ = ledger.plot()
        assert tokens.get_ylabel() == "tokens per day"
        assert tokens.patches[0].get_height() == 90
        assert "no call has a cost" in tokens.get_title()


class TestMeter:
    def test_it_follows_the_calls_at_its_own_pace(self, ledger, monkeypatch):
        monkeypatch.setattr(views, "REDRAW_S", 0.02)
        widget = views.meter(ledger)
        assert "idle" in widget.value
        drawn = []
        widget.observe(lambda change: drawn.append(change["new"]), "value")
        call = make_call()
        ledger.opened(call)
        for n in range(200):
            ledger.progressed(call, Usage(1, n))
        wait_for(lambda: "1 running, ~199 tokens" in widget.value)
        ledger.closed(call, make_reply(), None)
        wait_for(lambda: "idle" in widget.value)
        assert "today $0.000843" in widget.value
        assert "1 call today" in widget.value
        assert len(drawn) < 20

    def test_a_closed_one_listens_no_more(self, ledger):
        widget = views.meter(ledger)
        ask(ledger)
        widget.close()
        ask(ledger)
        assert ledger._listeners == []

    def test_it_survives_saving(self, ledger):
        ask(ledger)
        widget = views.meter(ledger)
        bundle = widget._repr_mimebundle_()
        assert "$0.000843" in bundle["text/html"]
        assert bundle["text/plain"].startswith("idle · today $0.000843")


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_days_are_those_of_the_calls(busy):
    today = dt.date.today()
    days = [today - dt.timedelta(days=n) for n in (2, 1, 0)]
    assert list(busy.total(by="day")) == [day.isoformat() for day in days]
