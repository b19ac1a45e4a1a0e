"""Which price holds for a host's model, and where it is from."""

import datetime as dt
import difflib
import time
from decimal import Decimal

import pytest

from kimikit.errors import BadInput
from kimikit.money import catalogue, prices
from kimikit.money.prices import PriceBook, PriceRow, is_stale, table
from kimikit.types import Usage
from kimikit.wire.hosts import profiles

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
        assert row.context > 0
        assert not row.since or dt.date.fromisoformat(row.since)
    pairs = [(row.host, row.model.lower(), row.since) for row in table()]
    assert len(pairs) == len(set(pairs))
    for host in profiles().values():
        for model in host.models:
            assert model.source
            dt.date.fromisoformat(model.as_of)
            assert model.family
            assert model.context > 0


@pytest.mark.parametrize(
    ("host", "model", "input", "cached", "output"),
    [
        ("together", "moonshotai/Kimi-K3.1-Pro", "2", "0.2", "10"),
        ("together", "moonshotai/Kimi-K3", "3", "0.3", "15"),
        ("fireworks", "accounts/fireworks/models/kimi-k3", "3", "0.3", "15"),
        ("fireworks", "accounts/fireworks/models/kimi-k3p1-pro", "2", "0.2", "10"),
        ("novita", "moonshotai/kimi-k2.6", "0.8", "0.16", "3.4"),
        ("novita", "moonshotai/kimi-k3", "3", "0.3", "15"),
        ("openrouter", "moonshotai/kimi-k2.6", "0.95", "0.16", "4"),
        ("openrouter", "moonshotai/kimi-k2.7-code", "0.95", "0.19", "4"),
        ("openrouter", "moonshotai/kimi-k3", "3", "0.3", "15"),
        ("openrouter", "moonshotai/kimi-k3:batch", "0.917", "0.226", "6"),
        ("huggingface", "moonshotai/Kimi-K2.5:together", "0.5", None, "2.8"),
        ("huggingface", "moonshotai/Kimi-K2.5", "0.6", None, "3"),
        ("baseten", "moonshotai/Kimi-K3", "3", "0.3", "15"),
        ("deepinfra", "moonshotai/Kimi-K3", "2.7", "0.27", "13.5"),
        ("nebius", "moonshotai/Kimi-K3", "3", None, "15"),
    ],
)
def test_what_was_stale_is_right(book, host, model, input, cached, output):
    price = book.lookup(host, model, NOW)
    found = price.input, price.cached_input, price.output
    assert found == (Decimal(input), cached and Decimal(cached), Decimal(output))


@pytest.mark.parametrize(
    ("day", "input"),
    [("2026-10-18", "0.68"), ("2026-10-19", "0.65"), ("2026-11-02", "0.65"),
     ("2026-11-03", "0.95"), ("2020-01-01", "0.68")],
)  # fmt: skip
def test_a_price_holds_from_its_day_in_utc_on(book, day, input):
    midnight = dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
    for at in (midnight, midnight + 86399):
        price = book.lookup("openrouter", "moonshotai/kimi-k2.6", at)
        assert price.input == Decimal(input)


@pytest.mark.parametrize(
    ("model", "five_minutes", "an_hour"),
    [("kimi-k3", 3, 6), ("kimi-k3.1-pro", 2, 4), ("kimi-k3.1-pro-highspeed", 4, 8)],
)
def test_moonshot_charges_for_what_it_writes_to_its_cache(
    book, model, five_minutes, an_hour
):
    price = book.lookup("moonshot", model, NOW)
    assert (price.cache_write, price.cache_write_1h) == (five_minutes, an_hour)
    written = Usage(1_000_000, 0, cache_write_tokens=1_000_000)
    assert book("moonshot", model, written, NOW) == five_minutes
    kept = Usage(
        1_000_000, 0, 200_000, cache_write_tokens=500_000, cache_write_1h_tokens=300_000
    )
    parts = (
        Decimal("0.2") * price.cached_input,
        Decimal("0.3") * price.input,
        Decimal("0.2") * five_minutes,
        Decimal("0.3") * an_hour,
    )
    assert book("moonshot", model, kept, NOW) == sum(parts)
    assert price.dearest_input == an_hour


def test_a_host_without_a_price_of_writing_charges_it_as_input(book):
    usage = Usage(1000, 0, cache_write_tokens=400, cache_write_1h_tokens=100)
    assert book("together", "moonshotai/Kimi-K3", usage, NOW) == Decimal("0.003")
    book.set("vllm", "m", input=1, output=1, cache_write=2)
    assert book("vllm", "m", usage, NOW) == Decimal("0.0014")
    book.set("vllm", "m", input=1, output=1, cache_write=2, cache_write_1h=5)
    assert book("vllm", "m", usage, NOW) == Decimal("0.0017")


def differences(kept, made):
    """Return every line that two texts do not share, marked as ``diff`` does."""
    lines = difflib.unified_diff(kept.splitlines(), made.splitlines(), lineterm="", n=0)
    return [
        line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]


def test_the_tables_are_what_genai_prices_and_the_overlay_make():
    """What differs is named line by line; ``make prices`` takes it over."""
    pytest.importorskip("genai_prices")
    from support.make_prices import DATA, made

    for name, text in made().items():
        assert differences((DATA / name).read_text("utf-8"), text) == [], name


def test_a_stale_table_is_told_by_its_differences():
    pytest.importorskip("genai_prices")
    from support.make_prices import DATA, made

    kept = (DATA / "prices.json").read_text("utf-8")
    stale = kept.replace('"0.8", "output": "3.4"', '"0.95", "output": "4"')
    lost, found = differences(stale, made()["prices.json"])[:2]
    assert '"input": "0.95"' in lost
    assert '"input": "0.8"' in found


def test_a_hosts_default_is_what_its_list_begins_with():
    """Served before not, K2 Instruct, then the newest family, then the cheaper."""
    order = {"served": 0, "unknown": 1, "retired": 2}
    released = ["kimi-k3.1-pro", "kimi-k3", "kimi-k2.7-code", "kimi-k2.6", "kimi-k2.5"]
    for host in profiles().values():
        states = [order[model.state] for model in host.models]
        assert states == sorted(states), host.name
        served = [model for model in host.models if model.state == "served"]
        instruct = [m for m in served if m.family.startswith("kimi-k2-instruct")]
        if served and not instruct:
            newest = min(released.index(model.family) for model in served)
            assert served[0].family == released[newest], host.name
            book = PriceBook()
            prices = [
                book.lookup(host.name, model.id, NOW)
                for model in served
                if model.family == served[0].family and ":" not in model.id
            ]
            if all(prices):
                assert prices[0].output == min(price.output for price in prices)


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
    @pytest.fixture
    def changed(self, monkeypatch):
        """Prices that the package would have if it were read a second time today."""
        genai = pytest.importorskip("genai_prices.data_snapshot")
        from genai_prices import types

        def put(**amounts):
            info = types.ModelInfo(
                "moonshotai/Kimi-K3",
                types.ClauseEquals("moonshotai/kimi-k3"),
                prices=types.ModelPrice(**amounts),
            )
            provider = types.Provider(
                "together", "T", r"https://t\.example", models=[info]
            )
            monkeypatch.setattr(
                genai, "_custom_snapshot", genai.DataSnapshot([provider], True)
            )

        return put

    def test_fetched_prices_win_over_our_table(self, book, changed):
        changed(input_mtok=Decimal("2.5"), output_mtok=Decimal(12))
        price = book.lookup("together", "moonshotai/Kimi-K3", NOW)
        assert (price.input, price.output) == (Decimal("2.5"), 12)
        changed(input_mtok=Decimal("2.25"), output_mtok=Decimal(11))
        assert book.lookup("together", "moonshotai/Kimi-K3", NOW).output == 11
        # What it has no more, or not flat, still has our table's price.
        assert book.lookup("novita", "moonshotai/kimi-k3", NOW).output == 15
        changed(
            input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)
        )
        assert book.lookup("together", "moonshotai/Kimi-K3", NOW).output == 15
        book.set("together", "moonshotai/Kimi-K3", input=1, output=2)
        assert book.lookup("together", "moonshotai/Kimi-K3", NOW).output == 2

    @pytest.mark.parametrize(
        ("version", "wins"),
        [("99.0.0", True), ("0.2.10", True), ("0.2.2", False), ("", False)],
    )
    def test_a_newer_package_wins_over_our_table(
        self, book, monkeypatch, version, wins
    ):
        pytest.importorskip("genai_prices")
        older = prices.PriceTable(
            "0.2.3", "2026-11-28",
            (PriceRow(host="together", model="moonshotai/Kimi-K3",
                      input=Decimal(9), output=Decimal(9)),),
        )  # fmt: skip
        monkeypatch.setattr(prices, "whole_table", lambda: older)
        monkeypatch.setattr(catalogue, "installed", lambda: version)
        prices._outdated.cache_clear()
        price = PriceBook().lookup("together", "moonshotai/Kimi-K3", NOW)
        prices._outdated.cache_clear()
        assert price.output == (15 if wins else 9)

    def test_models_outside_the_table_are_priced_by_genai_prices(self, book):
        pytest.importorskip("genai_prices")
        price = book.lookup("quicksilverpro", "kimi-k3.1-pro", NOW)
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
        catalogue._model.cache_clear()
        monkeypatch.setitem(__import__("sys").modules, "genai_prices", None)
        assert book.lookup("quicksilverpro", "kimi-k3.1-pro", NOW) is None
        assert book.lookup("together", "moonshotai/Kimi-K3.1-Pro", NOW).output == 10
        catalogue._model.cache_clear()

    def test_moonshot_has_another_name_there(self, book):
        pytest.importorskip("genai_prices")
        assert book.lookup("moonshot", "kimi-k2", time.time()) is not None


@pytest.mark.parametrize("wrong", ["yesterday", 7, "2026-13-01", True])
def test_what_is_no_day_is_refused_at_once(book, wrong):
    with pytest.raises(BadInput, match="is no day"):
        book.set("vllm", "mine", input=1, output=2, as_of=wrong)


def test_a_day_of_toml_is_one(book):
    book.path.write_text('["vllm"."mine"]\ninput = 1\noutput = 2\nas_of = 2026-01-02\n')
    assert PriceBook(book.path).lookup("vllm", "mine", 0).as_of == "2026-01-02"
