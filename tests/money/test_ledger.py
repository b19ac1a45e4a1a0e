"""What the ledger keeps of a call, and what it answers when asked."""

import csv
import datetime as dt
import json
import sqlite3
import stat
import threading
import time
from contextlib import suppress
from decimal import Decimal

import pytest
from support.money import KIMI_K3, LOCAL, ask, make_call, make_reply

from kimikit.errors import (
    BadInput,
    ConnectionFailed,
    KimiWarning,
    MissingDependency,
    RateLimited,
    StreamError,
    TimedOut,
)
from kimikit.money import exports
from kimikit.money.ledger import Ledger, tag
from kimikit.money.prices import whole_table
from kimikit.types import Reply, ToolCall, Usage

COST = Decimal("0.000843")
"""(30 * 3.00 + 10 * 0.30 + 50 * 15.00) / 1,000,000, by hand."""


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "data" / "ledger.sqlite3")
    yield made
    made.close()


class TestRows:
    def test_a_row_is_there_before_the_request_and_complete_after_it(self, ledger):
        call = make_call(max_tokens=100)
        ledger.opened(call)
        (row,) = ledger.calls()
        assert (row.state, row.usage, row.cost) == ("open", None, None)
        assert row.at_most >= Decimal("0.0015")
        assert row.cost_text.startswith("unknown, at most $0.0")
        ledger.closed(call, make_reply(), None)
        (row,) = ledger.calls()
        assert (row.state, row.usage, row.cost) == ("complete", Usage(40, 50, 10), COST)
        assert row.duration_s == 1.5
        assert row.cost_text == "$0.000843"

    def test_the_price_used_is_frozen_into_the_row(self, ledger):
        ask(ledger)
        ledger.prices.set("together", KIMI_K3, input=100, output=100)
        (row,) = ledger.calls()
        assert row.cost == COST
        assert (row.price.input, row.price.output) == (3, 15)
        assert row.price.source
        assert row.price.as_of == whole_table().as_of

    def test_what_the_host_charged_wins(self, ledger):
        charged = Decimal("0.00023492")
        ask(ledger, reply=make_reply(usage=Usage(40, 50, cost_usd=charged)))
        (row,) = ledger.calls()
        assert (row.cost, row.price) == (charged, None)

    def test_an_unknown_price_is_unpriced_and_never_zero(self, ledger):
        ask(ledger, model="somebody/else")
        (row,) = ledger.calls()
        assert (row.cost, row.cost_text) == (None, "unpriced")
        total = ledger.total()
        assert (total.unpriced, total.cost_text) == (1, "unpriced")
        ask(ledger)
        assert ledger.total().cost_text == "at least $0.000843 (1 unpriced)"

    def test_the_local_stand_in_costs_nothing_and_is_not_kimi(self, ledger):
        """Its price is known, so its cost is 0 and not unknown: everywhere."""
        ask(ledger, host=LOCAL, model="smollm2")
        ask(ledger, host=LOCAL, model="smollm2", error=TimedOut("silent", "x"))
        ledger.opened(make_call(host=LOCAL, model="smollm2"))
        stopped = make_reply(usage=Usage(9, 2, estimated=True), partial=True)
        ask(ledger, host=LOCAL, model="smollm2", reply=stopped)
        rows = ledger.calls()
        assert [row.cost_text for row in rows] == ["$0.00"] * 4
        assert [row.cost for row in rows] == [0, None, None, 0]
        assert {row.at_most for row in rows} == {0}
        assert "local stand-in, not Kimi" in repr(rows)
        total = ledger.total()
        assert (total.unpriced, total.unknown, total.cost_text) == (0, 0, "$0.00")
        flat = list(ledger.flat())
        assert [row["cost_usd"] for row in flat] == [0, None, None, 0]
        assert flat[0]["price_source"] == "the local stand-in is free"

    @pytest.mark.parametrize(
        ("reply", "error", "state"),
        [
            (make_reply(partial=True), KeyboardInterrupt(), "partial"),
            (make_reply(truncated=True), None, "truncated"),
            (make_reply(), StreamError("broke", "x", reply=make_reply()), "truncated"),
            (None, RateLimited("too many", "wait"), "failed"),
            (None, BadInput("no", "x"), "failed"),
            (None, TimedOut("silent", "x"), "lost"),
            (None, KeyboardInterrupt(), "lost"),
        ],
    )
    def test_how_a_call_ended(self, ledger, reply, error, state):
        """A failed call costs nothing; one that may have been billed is unknown."""
        ask(ledger, reply=reply, error=error, max_tokens=10)
        (row,) = ledger.calls()
        assert row.state == state
        assert ledger.total().unknown == (state == "lost")
        assert (row.cost is not None) == (reply is not None)
        assert (row.cost_text == "–") == (state == "failed")
        assert error is None or row.error.startswith(type(error).__name__)

    def test_a_connection_that_was_never_made_cost_nothing(self, ledger):
        class ConnectError(Exception):
            """Has the name of httpx's own."""

        error = ConnectionFailed("no route", "check the address")
        error.__cause__ = ConnectError()
        ask(ledger, error=error)
        assert ledger.calls()[0].state == "failed"

    def test_a_call_seen_only_at_its_end_is_a_row_too(self, ledger):
        ledger.closed(make_call(), make_reply(), None)
        assert ledger.calls()[0].cost == COST

    def test_a_model_the_host_chose_is_named_once_it_is_known(self, ledger):
        call = make_call(model="", endpoint="embed")
        ledger.opened(call)
        assert ledger.calls()[0].model == ""
        ledger.closed(call, make_reply(model="wordllama"), None)
        assert ledger.calls()[0].model == "wordllama"
        assert list(ledger.total(by="model")) == ["wordllama"]

    def test_closing_twice_counts_once(self, ledger):
        call = ask(ledger)
        ledger.closed(call, make_reply(), None)
        assert ledger.total().calls == 1

    def test_tags_join_and_end_with_their_block(self, ledger):
        with tag("sweep"), tag("pilot"):
            ask(ledger)
        ask(ledger)
        assert [row.tag for row in ledger.calls()] == ["", "sweep/pilot"]
        with pytest.raises(BadInput, match="names nothing"), tag(" "):
            pass

    def test_the_notebook_is_named_without_its_folder(self, ledger, monkeypatch):
        monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/secret/05-tokens.ipynb")
        ask(ledger)
        assert ledger.calls()[0].notebook == "05-tokens.ipynb"

    def test_request_and_answer_come_back_as_they_were(self, ledger):
        reply = make_reply(tool_calls=(ToolCall("functions.a:0", "a", '{"b":1}'),))
        call = ask(ledger, "What is it?", reply)
        request, stored = ledger.read(call.id)
        assert request == call.body
        assert stored == reply
        assert ledger.read("nobody") == (None, None)

    def test_the_file_is_the_users_alone(self, ledger):
        ask(ledger)
        for name in ("ledger.sqlite3", "ledger.sqlite3-wal"):
            mode = (ledger.path.parent / name).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600
        ledger.close()
        ledger.path.chmod(0o644)
        ask(Ledger(ledger.path))
        assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600

    def test_no_key_and_no_picture_is_stored(self, ledger, monkeypatch):
        monkeypatch.setenv("TOGETHER_API_KEY", "plain-looking-key-0123")
        pasted = "my keys: sk-abcdefghijklmnop1234 plain-looking-key-0123, task-list"
        picture = {"url": "data:image/png;base64," + "A" * 5000}
        parts = [{"type": "text", "text": pasted}, {"image_url": picture}]
        error = TimedOut(
            f"{'said plain-looking-key-0123 and ' * 15}Bearer abcdefghijklmnopqrst", "x"
        )
        ask(ledger, parts, error=error)
        ledger.close()
        stored = ledger.path.read_bytes()
        for secret in (b"sk-abcdef", b"plain-looking", b"AAAA", b"Bearer abc"):
            assert secret not in stored
        assert b"task-list" in stored

    def test_usage_mode_stores_numbers_only(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KIMIKIT_STORE", "usage")
        ledger = Ledger(tmp_path / "l")
        call = ask(ledger, "whisper", make_reply("murmur"), meta={"key": "k"})
        assert ledger.read(call.id) == (None, None)
        with pytest.raises(BadInput, match=r"numbers only.*Leave name= out"):
            ledger.answers("k")
        assert ledger.total().cost == COST
        ledger.close()
        assert b"whisper" not in ledger.path.read_bytes()
        error = RateLimited("the host repeats: whisper", "wait")
        ask(ledger, "whisper", error=error)
        assert ledger.calls()[0].error == "RateLimited"
        with pytest.raises(BadInput, match=r"KIMIKIT_STORE\) does not know 'some'"):
            Ledger(tmp_path / "l", store="some")

    def test_listeners_hear_each_step_until_they_stop(self, ledger):
        heard = []
        stop = ledger.listen(lambda: heard.append(dict(ledger.running)))
        call = make_call()
        ledger.opened(call)
        ledger.progressed(call, Usage(1, 7))
        ledger.closed(call, make_reply(), None)
        stop()
        ask(ledger)
        assert heard == [{call.id: Usage()}, {call.id: Usage(1, 7)}, {}]


class TestQuestions:
    def test_rows_come_newest_first_and_by_choice(self, ledger):
        calls = [ask(ledger, model=m) for m in ("a", "b", "a")]
        assert [r.id for r in ledger.calls()] == [c.id for c in reversed(calls)]
        assert [r.id for r in ledger.calls(1)] == [calls[-1].id]
        assert [r.model for r in ledger.calls(None, model="a")] == ["a", "a"]
        with pytest.raises(BadInput, match="Did you mean 'model'"):
            ledger.calls(modell="a")
        assert ledger.calls(0) == []
        for limit in (-1, 2.5, "2", True):
            with pytest.raises(BadInput, match="whole number from 0"):
                ledger.calls(limit)

    def test_totals_by_every_group(self, ledger):
        ask(ledger)
        with tag("t"):
            guessed = make_reply(model="b", usage=Usage(1, 2, estimated=True))
            ask(ledger, model="b", reply=guessed)
        ask(ledger, host=LOCAL, model="smollm2")
        total = ledger.total()
        assert (total.calls, total.cost, total.unpriced) == (3, COST, 1)
        assert total.usage == Usage(81, 102, 20, 0, None, True)
        assert list(ledger.total(by="model")) == [KIMI_K3, "b", "smollm2"]
        assert {k: v.calls for k, v in ledger.total(by="tag").items()} == {
            "": 2,
            "t": 1,
        }
        assert ledger.total(by="host")["local"].usage == Usage(40, 50, 10)
        today = dt.date.today().isoformat()
        assert list(ledger.total(by=("day", "model"))) == [
            (today, m) for m in sorted([KIMI_K3, "b", "smollm2"])
        ]
        with pytest.raises(BadInput, match=r"does not know 'modle'.*'model'"):
            ledger.total(by="modle")

    def test_an_empty_ledger_says_so_everywhere(self, ledger):
        assert ledger.total().calls == 0
        assert ledger.total(by="model") == {}
        assert ledger.calls() == []
        assert ledger.answers("") == {}
        assert str(ledger.total()) == "0 calls · 0 -> 0 tokens · $0.00"
        assert list(ledger.flat()) == []

    def test_since_counts_from_that_moment(self, ledger):
        noon = dt.datetime.combine(dt.date.today(), dt.time(12))
        times = [noon - dt.timedelta(days=40), noon - dt.timedelta(days=1), noon,
                 noon + dt.timedelta(hours=1)]  # fmt: skip
        for moment in times:
            ask(ledger, created=moment.timestamp())

        def since(moment):
            assert (
                len(ledger.calls(None, since=moment))
                == ledger.total(since=moment).calls
            )
            return ledger.total(since=moment).calls

        assert since(None) == 4
        assert since("today") == since(dt.date.today()) == 2
        assert since(noon) == since(noon.timestamp()) == since(noon.isoformat()) == 2
        assert since(noon + dt.timedelta(seconds=1)) == 1
        assert since(noon - dt.timedelta(days=1, seconds=1)) == 3
        assert since("month") in (2, 3)
        with pytest.raises(BadInput, match="'yesterday' is not a moment"):
            ledger.total(since="yesterday")

    def test_open_calls_count_from_their_own_moment(self, ledger):
        ledger.opened(make_call(created=time.time() - 100, max_tokens=5))
        assert ledger.total(since=time.time() - 50).unknown == 0
        total = ledger.total(since=time.time() - 150)
        assert (total.unknown, total.calls) == (1, 1)
        assert "1 unknown, at most $0.000" in total.cost_text
        ledger.opened(make_call(model="unknown/model"))
        assert (ledger.total().known_text, ledger.total().cost_text) == (
            "unknown", "2 unknown",
        )  # fmt: skip
        ask(ledger, model="unknown/model")
        assert ledger.total().known_text == "unpriced"
        assert ledger.total().cost_text == "1 unpriced; 2 unknown"
        ask(ledger)
        assert ledger.total().cost_text == "at least $0.000843 (1 unpriced; 2 unknown)"

    def test_answers_are_found_by_the_start_of_their_key(self, ledger):
        for key in ("a/1", "a/2", "b/1"):
            ask(ledger, reply=make_reply(key), meta={"key": key})
        ask(ledger, reply=make_reply("half", partial=True), meta={"key": "a/3"})
        ask(ledger, reply=make_reply("cut", truncated=True), meta={"key": "a/4"})
        ask(ledger, error=TimedOut("x", "y"), meta={"key": "a/5"})
        found = ledger.answers("a/")
        assert {k: v.text for k, v in found.items()} == {"a/1": "a/1", "a/2": "a/2"}
        assert isinstance(found["a/1"], Reply)
        assert found["a/1"].usage == Usage(40, 50, 10)
        assert len(ledger.answers("")) == 3

    def test_keys_asked_in_vain_are_told_until_one_answer_is_complete(self, ledger):
        ask(ledger, meta={"key": "a/0"})
        ask(ledger, reply=make_reply("half", partial=True), meta={"key": "a/1"})
        ask(ledger, reply=make_reply("cut", truncated=True), meta={"key": "a/2"})
        ask(ledger, error=TimedOut("x", "y"), meta={"key": "a/3"})
        ledger.opened(make_call(meta={"key": "a/4"}))  # its kernel died
        ask(ledger, error=TimedOut("x", "y"), meta={"key": "b/1"})
        assert ledger.failed("a/") == {"a/1", "a/2", "a/3", "a/4"}
        ask(ledger, meta={"key": "a/3"})
        assert ledger.failed("a/") == {"a/1", "a/2", "a/4"}
        assert ledger.failed("") == {"a/1", "a/2", "a/4", "b/1"}

    def test_a_session_is_this_kernel(self, ledger):
        other = Ledger(ledger.path)
        ask(other)
        ask(other)
        ask(ledger)
        assert ledger.session_total(ledger.session).calls == 1
        assert ledger.total().calls == 3
        other.close()

    def test_search_finds_words_of_prompts_and_answers(self, ledger):
        a = ask(ledger, "Tell me of badgers", make_reply("They dig setts."))
        b = ask(ledger, "你好，介绍一下注意力机制", make_reply("好的"))
        ask(ledger, 'Say "quoted" AND dashes-too')
        assert [r.id for r in ledger.search("BADGERS dig")] == [a.id]
        assert [r.id for r in ledger.search("注意力")] == [b.id]
        assert len(ledger.search('"quoted" dashes-too AND')) == 1
        assert ledger.search("badgers quoted") == []
        assert ledger.search("user") == []
        c = ask(ledger, "More badgers")
        assert [r.id for r in ledger.search("badgers")] == [c.id, a.id]
        assert [r.id for r in ledger.search("badgers\0")] == [c.id, a.id]
        for nothing in ("  ", "\0"):
            with pytest.raises(BadInput, match="no words"):
                ledger.search(nothing)

    def test_search_goes_on_past_a_batch(self, ledger, monkeypatch):
        monkeypatch.setattr("kimikit.money.search.BATCH", 3)
        for n in range(8):
            ask(ledger, f"word{n} common")
        assert len(ledger.search("common")) == 8
        assert len(ledger.search("word7")) == 1

    def test_search_without_fts5_reads_the_rows(self, ledger, monkeypatch):
        a = ask(ledger, "Tell me of badgers", make_reply("They dig setts."))
        monkeypatch.setattr("kimikit.money.search.index", lambda store: False)
        assert [r.id for r in ledger.search("BADGERS dig")] == [a.id]
        assert ledger.search("badgers otters") == []

    @pytest.mark.parametrize("indexed", [True, False])
    def test_search_takes_many_words_and_refuses_a_document(
        self, ledger, monkeypatch, indexed
    ):
        if not indexed:
            monkeypatch.setattr("kimikit.money.search.index", lambda store: False)
        many = " ".join(f"{n:x}" for n in range(500))
        a = ask(ledger, many)
        assert [r.id for r in ledger.search(many)] == [a.id]
        assert [r.id for r in ledger.search("1f " * 600)] == [a.id]
        assert ledger.search(f"{many} otters") == []
        for document in ("word " * 50_000, "字" * 50_000):
            with pytest.raises(BadInput, match=r"0,000 characters.*Give a few words"):
                ledger.search(document)


class TestForget:
    @pytest.fixture
    def secrets(self, ledger):
        old = time.time() - 90 * 86400
        ask(ledger, "xylophone one", created=old)
        ask(ledger, "keep", make_reply("marimba two"))
        call = ask(ledger, "glockenspiel three")
        assert len(ledger.search("keep")) == 1
        return call.id

    @pytest.mark.parametrize(
        ("what", "word", "count"),
        [
            ({"before": "2026-01-01"}, b"xylophone", 0),
            ({"before": "month"}, b"xylophone", 1),
            ({"text": "marimba"}, b"marimba", 1),
            ({"id": "third"}, b"glockenspiel", 1),
            ({"everything": True}, b"o", 3),
        ],
    )
    def test_nothing_is_left_in_the_file(self, ledger, secrets, what, word, count):
        """Rows, index and free pages are gone, and the totals follow."""
        if "id" in what:
            what = {"id": secrets}
        assert ledger.forget(**what) == count
        assert ledger.total().calls == len(ledger.calls(None)) == 3 - count
        files = ledger.path.parent.glob("ledger.sqlite3*")
        stored = b"".join(path.read_bytes() for path in files)
        assert (word in stored) == (count == 0 or word == b"o")
        if count == 3:
            assert b"xylophone" not in stored
            assert ledger.total(by="day") == {}

    def test_exactly_one_thing_is_asked_for(self, ledger):
        for wrong in ({}, {"id": "a", "text": "b"}):
            with pytest.raises(BadInput, match="takes one of"):
                ledger.forget(**wrong)

    def test_a_busy_kernel_is_named_as_the_reason_for_traces(self, ledger, secrets):
        reader = sqlite3.connect(ledger.path)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM calls").fetchone()
        with pytest.warns(UserWarning, match="another kernel was using"):
            ledger.forget(secrets)
        reader.close()

    def test_what_a_failed_disk_keeps_is_said(self, ledger, secrets):
        def full(db):
            raise sqlite3.OperationalError("database or disk is full")

        with pytest.warns(KimiWarning, match="full"), suppress(sqlite3.Error):
            ledger._store.write(full)
        ask(ledger, "in memory")
        with pytest.warns(KimiWarning, match=r"may still be in .*disk is full"):
            assert ledger.forget(everything=True) == 1
        assert len(ledger.calls()) == 3


class TestElsewhere:
    def test_csv_holds_the_numbers_and_jsonl_the_words_too(self, ledger, tmp_path):
        ask(ledger, "first, with a comma")
        ask(ledger, error=TimedOut("x", "y"))
        with ledger.export("csv", tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["state"] for row in rows] == ["complete", "lost"]
        assert [row["cost_usd"] for row in rows] == ["0.000843", ""]
        lines = ledger.export("jsonl", tmp_path / "a.jsonl").read_text().splitlines()
        first = json.loads(lines[0])
        assert first["request"]["messages"][0]["content"] == "first, with a comma"
        assert first["reply"]["text"] == "Hi"
        assert first["cost_usd"] == "0.000843"

    def test_parquet_holds_the_numbers_exactly_and_page_by_page(
        self, ledger, tmp_path, monkeypatch
    ):
        parquet = pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr(exports, "PAGE", 2)
        calls = [ask(ledger) for _ in range(7)]
        ask(ledger, error=TimedOut("x", "y"), model="somebody/else")
        ledger.forget(id=calls[2].id)
        rows = list(ledger.flat())
        assert [row["id"] for row in rows][:6] == [c.id for c in calls if c != calls[2]]
        assert list(rows[0]) == list(exports.KINDS)
        table = parquet.read_table(ledger.export("parquet", tmp_path / "a.parquet"))
        assert table.column("cost_usd").to_pylist() == [COST] * 6 + [None]
        assert table.to_pylist() == rows

    def test_calls_kept_in_memory_come_last_and_once(self, ledger):
        ask(ledger, "on disk")
        begun = make_call("begun on disk")
        ledger.opened(begun)

        def full(db):
            raise sqlite3.OperationalError("database or disk is full")

        with pytest.warns(KimiWarning, match="full"), suppress(sqlite3.Error):
            ledger._store.write(full)
        ledger.closed(begun, make_reply(), None)
        ask(ledger, "in memory")
        rows = list(ledger.flat())
        assert [row["state"] for row in rows] == ["complete"] * 3
        assert rows[1]["id"] == begun.id

    def test_export_refuses_what_it_cannot_do(self, ledger, tmp_path):
        with pytest.raises(BadInput, match="does not know 'xlsx'"):
            ledger.export("xlsx", tmp_path / "a")
        with pytest.raises(BadInput, match="cannot be written"):
            ledger.export("csv", tmp_path / "none" / "a.csv")

    def test_to_pandas_gives_floats_and_times(self, ledger):
        pytest.importorskip("pandas")
        ask(ledger)
        ask(ledger, model="no/price")
        frame = ledger.to_pandas()
        assert frame["cost_usd"].tolist()[0] == pytest.approx(0.000843)
        assert frame["cost_usd"].isna().tolist() == [False, True]
        assert frame["prompt_tokens"].sum() == 80

    def test_without_pandas_it_says_how_to_get_it(self, ledger, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(MissingDependency, match=r"pip install .*pandas"):
            ledger.to_pandas()

    def test_many_threads_share_one_ledger(self, ledger):
        def work():
            for _ in range(25):
                ask(ledger)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledger.total().calls == 200
        assert ledger.total().cost == 200 * COST


def test_default_place_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("KIMIKIT_LEDGER")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    ledger = Ledger()
    assert ledger.path.name == "ledger.sqlite3"
    assert tmp_path in ledger.path.parents
    assert not ledger.path.exists()
