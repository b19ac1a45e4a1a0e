"""Which price holds for a host's model, and where it is from."""

import datetime as dt
import time
from decimal import Decimal

import pytest

from kimikit.errors import BadInput
from kimikit.money import prices
from kimikit.money.prices import PriceBook, PriceRow, is_stale, table
from kimikit.types import Usage

NOW = dt.datetime(2026, 11, 23, 12).timestamp()


@pytest.fixture
def book(monkeypatch, tmp_path):
    monkeypatch.setenv("KIMIKIT_PRICES", str(tmp_path / "prices.toml"))
    return PriceBook()


def test_the_page_the_project_started_from_is_priced(book):
    """$1 for input and $3 for output, a million tokens each; retired and dated."""
    model = "moonshotai/Kimi-K2-Instruct"
    (row,) = (r for r in table() if (r.host, r.model) == ("together", model))
    assert (row.input, row.output, row.state) == (1, 3, "retired")
    assert row.as_of
    assert book("together", row.model, Usage(1_000_000, 1_000_000), NOW) == 4


def test_every_row_has_its_source_and_day():
    for row in table():
        assert row.source
        dt.date.fromisoformat(row.as_of)
        assert row.input > 0
        assert row.output > 0
        assert row.cached_input is None or 0 < row.cached_input <= row.input
        assert row.context in (131072, 262144, 1048576)
    pairs = [(row.host, row.model.lower()) for row in table()]
    assert len(pairs) == len(set(pairs))


def test_models_are_compared_without_case_and_hosts_are_kept_apart(book):
    assert book.lookup("together", "MOONSHOTAI/kimi-k3", NOW).output == 15
    assert book.lookup("nowhere", "moonshotai/Kimi-K3", NOW) is None
    assert book.lookup("together", "", NOW) is None


def test_cached_tokens_have_their_own_price(book):
    usage = Usage(1000, 0, cached_tokens=1000)
    assert book("moonshot", "kimi-k2.6", usage, NOW) == Decimal("0.00016")
    assert book("novita", "moonshotai/kimi-k2-instruct", usage, NOW) == Decimal(
        "0.00057"
    )


def test_what_the_host_charged_wins_even_where_nothing_is_known(book):
    usage = Usage(1, 1, cost_usd=Decimal("0.5"))
    assert book("nowhere", "no-model", usage, NOW) == Decimal("0.5")
    assert book("nowhere", "no-model", Usage(1, 1), NOW) is None


def test_a_price_set_here_comes_first_and_reads_as_written(book):
    book.set("together", "moonshotai/Kimi-K3", input=0.1, output="0.20")
    price = book.lookup("together", "moonshotai/kimi-k3", NOW)
    assert (price.input, price.output) == (Decimal("0.1"), Decimal("0.20"))
    assert price.source == "set by you"
    assert book.longest("together", "moonshotai/Kimi-K3") == 1048576
    book.set("vllm", "mine", input=0, output=0)
    assert book("vllm", "mine", Usage(5, 5), NOW) == 0
    book.set("local", "smollm2", input=1, output=2)
    assert book("local", "smollm2", Usage(0, 1_000_000), NOW) == 2


@pytest.mark.parametrize("wrong", ["much", -1, float("inf"), "nan"])
def test_what_is_no_price_is_refused(book, wrong):
    with pytest.raises(BadInput, match="output="):
        book.set("vllm", "mine", input=0, output=wrong)


def test_the_users_file_overrides_the_table(book):
    book.path.write_text(
        '["together"."moonshotai/Kimi-K3"]\ninput = 2.75\noutput = 14\n'
        'cached_input = 0.275\n["my-vllm"."k2"]\ninput = 0.0\noutput = 0.0\n'
    )
    again = PriceBook()
    price = again.lookup("together", "moonshotai/Kimi-K3", NOW)
    assert (price.input, price.cached_input) == (Decimal("2.75"), Decimal("0.275"))
    assert price.as_of == dt.date.today().isoformat()
    assert again("my-vllm", "k2", Usage(5, 5), NOW) == 0


@pytest.mark.parametrize(
    "text",
    ["input = ", "together = 3", '["a"."b"]\ninput = 1\n', '["a"."b"]\nprice = 1\n',
     '["a"."b"]\ninput = "x"\noutput = 1\n'],
)  # fmt: skip
def test_a_broken_file_is_refused_at_once_with_its_name(book, text):
    book.path.write_text(text)
    with pytest.raises(BadInput, match=r"prices\.toml could not be used"):
        PriceBook()


def test_other_currencies_price_nothing(book, monkeypatch):
    row = PriceRow(
        host="h", model="m", input=Decimal(1), output=Decimal(1), currency="CNY"
    )
    monkeypatch.setattr(prices, "table", lambda: (row,))
    assert PriceBook().lookup("h", "m", NOW) is None


def test_prices_older_than_90_days_are_stale(book):
    assert not is_stale("2026-08-25", NOW)
    assert is_stale("2026-08-24", NOW)
    assert not is_stale("", NOW)
    assert is_stale(
        book.lookup("together", "moonshotai/Kimi-K2-Instruct", NOW).as_of, NOW
    )
    assert not is_stale(book.lookup("moonshot", "kimi-k3.1-pro", NOW).as_of, NOW)
    book.set("together", "moonshotai/Kimi-K2-Instruct", input=1, output=3)
    own = book.lookup("together", "moonshotai/Kimi-K2-Instruct", NOW)
    assert not is_stale(own.as_of, time.time())


def test_the_stand_in_is_free_which_is_known(book):
    assert book("local", "any-model", Usage(1000, 1000), NOW) == 0
    assert book.lookup("local", "", NOW).source == "the local stand-in is free"
    assert book("vllm", "any-model", Usage(1000, 1000), NOW) is None


class TestOtherPeoplesTable:
    def test_models_outside_the_table_are_priced_by_genai_prices(self, book):
        pytest.importorskip("genai_prices")
        price = book.lookup("together", "moonshotai/Kimi-K3.1-Pro", NOW)
        assert (price.input, price.output, price.cached_input) == (
            2, 10, Decimal("0.2"),
        )  # fmt: skip
        assert price.source.startswith("genai-prices ")
        assert not is_stale(price.as_of, NOW)

    def test_a_base_url_of_a_known_host_is_priced_too(self, book):
        pytest.importorskip("genai_prices")
        price = book.lookup("api.together.xyz", "moonshotai/Kimi-K3", NOW)
        assert (price.input, price.output) == (3, 15)

    def test_ones_own_machine_has_no_price(self, book):
        for host in ("vllm", "127.0.0.1:8000", "localhost", "[::1]:1"):
            assert book.lookup(host, "moonshotai/Kimi-K3", NOW) is None

    def test_near_names_and_other_providers_are_not_taken(self, book):
        pytest.importorskip("genai_prices")
        assert book.lookup("together", "gpt-4o", NOW) is None
        assert book.lookup("my-proxy", "moonshotai/Kimi-K3", NOW) is None
        assert book.lookup("proxy.example.org", "moonshotai/Kimi-K3", NOW) is None

    def test_prices_in_tiers_are_left_unpriced(self, book):
        pytest.importorskip("genai_prices")
        assert book.lookup("google", "gemini-2.5-pro", NOW) is None

    def test_without_the_package_a_price_is_unknown(self, book, monkeypatch):
        prices._from_genai.cache_clear()
        monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
        assert book.lookup("together", "moonshotai/Kimi-K3.1-Pro", NOW) is None
        prices._from_genai.cache_clear()

    def test_moonshot_has_another_name_there(self, book):
        pytest.importorskip("genai_prices")
        assert book.lookup("moonshot", "kimi-k2", time.time()) is not None
