"""Locks, forks, corrupt, deleted and foreign files: no chat fails, no row is lost."""

import contextlib
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from decimal import Decimal
from pathlib import Path

import pytest
from support.money import ask, make_call, make_reply

from kimikit.errors import BadInput, KimiWarning
from kimikit.money import database, storable, store
from kimikit.money.ledger import Ledger
from kimikit.money.storable import pico
from kimikit.types import Usage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite3"


@contextlib.contextmanager
def held(path):
    """Hold the file as a program does that has begun to write; a warning tells of it."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.warns(KimiWarning, match="as soon as it can"):
            yield
    finally:
        other.execute("COMMIT")
        other.close()


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT count(*) FROM calls WHERE state <> 'open'"
        ).fetchone()[0]


class TestALock:
    @pytest.fixture(autouse=True)
    def hasty(self, monkeypatch):
        monkeypatch.setattr(store, "BUSY_S", 0.05)
        monkeypatch.setattr(store, "AGAIN_S", 0.05)

    def test_what_waits_is_seen_at_once_and_written_when_it_can_be(self, path):
        ledger = Ledger(path)
        early = ask(ledger)
        waiting = make_call("opened before the lock")
        ledger.opened(waiting)
        with held(path):
            late = ask(ledger, "while it was locked", meta={"key": "k/1"})
            ledger.closed(waiting, make_reply("closed during the lock"), None)
            assert "locked" in str(ledger.failure)
            assert {row.id for row in ledger.calls()} == {early.id, waiting.id, late.id}
            assert ledger.total().calls == 3
            assert ledger.total().cost == 3 * Decimal("0.000843")
            assert ledger.total().unknown == 0
            assert ledger.answers("k")["k/1"].text == "Hi"
            assert rows(path) == 1
        ledger.close()
        assert rows(path) == 3
        again = Ledger(path)
        assert again.total().calls == 3
        assert again.failure is None
        assert again.read(waiting.id)[1].text == "closed during the lock"
        again.close()

    def test_an_idle_kernel_writes_it_by_itself(self, path):
        ledger = Ledger(path)
        ask(ledger)
        with held(path):
            ask(ledger)
        ledger._store._retrying.join(30)
        assert ledger.failure is None
        assert rows(path) == 2
        assert ledger.total().calls == 2
        ledger.close()

    def test_a_kernel_that_ends_before_the_lock_leaves_its_rows_beside_it(self, path):
        ledger = Ledger(path)
        doomed = make_call("opened before")
        ledger.opened(doomed)
        with held(path):
            ledger.closed(doomed, make_reply("all is kept"), None)
            other = ask(ledger, "second", tag="t")
            ledger.opened(make_call("never closed"))
            ledger.close()
        assert rows(path) == 0
        assert [p.suffix for p in path.parent.glob("*.pending-*")]
        after = Ledger(path)
        assert after.total().calls == 3
        assert after.total().cost == 2 * Decimal("0.000843")
        assert after.read(doomed.id)[1].text == "all is kept"
        assert after.read(other.id)[0]["messages"][0]["content"] == "second"
        assert [row.state for row in after.calls()] == ["open", "complete", "complete"]
        assert not list(path.parent.glob("*.pending-*"))
        after.close()

    @pytest.mark.parametrize(
        "planted", ["link", "another user's", "folder", "no ledger"]
    )
    def test_what_others_left_beside_it_is_not_taken_in(self, path, planted):
        """In a shared folder anybody may leave a file of that name."""
        theirs, beside = (
            path.with_name("theirs"),
            path.with_name(f"{path.name}.pending-1"),
        )
        made(theirs, 2)
        match planted:
            case "link":
                beside.symlink_to(theirs)
            case "another user's":
                if os.name != "posix" or os.getuid():
                    pytest.skip("only root gives files away")
                theirs.rename(beside)
                os.chown(beside, 65534, 65534)
            case "folder":
                beside.mkdir()
            case "no ledger":
                beside.write_bytes(b"SQLite format 3")
        ledger = Ledger(path)
        ask(ledger, "mine")
        assert ledger.total().calls == 1
        assert ledger.failure is None
        assert os.path.lexists(beside), "and nothing of theirs is removed"
        ledger.close()

    def test_a_permission_is_asked_for_once(self, path):
        ledger, asked = Ledger(path), []
        ask(ledger)
        with held(path):
            call = make_call(max_tokens=5)
            ledger.opened(call, reserve=Decimal(1), check=asked.append)
            ledger.hold(call, Decimal(2), asked.append)
        ledger.close()
        assert asked == [Decimal("0.000843")] * 2
        after = Ledger(path)
        reserved = after._store.read("SELECT reserved FROM calls WHERE state = 'open'")
        assert reserved == [(2 * storable.PICO,)]
        after.close()

    def test_stop_during_a_wait_loses_nothing(self, path, monkeypatch):
        ledger = Ledger(path)
        call = make_call()
        ledger.opened(call)
        begun = store.transaction

        @contextlib.contextmanager
        def stopped(db):
            monkeypatch.setattr(store, "transaction", begun)
            raise KeyboardInterrupt
            yield

        monkeypatch.setattr(store, "transaction", stopped)
        with pytest.raises(KeyboardInterrupt):
            ledger.closed(call, make_reply("kept"), None)
        ledger.close()
        after = Ledger(path)
        assert after.read(call.id)[1].text == "kept"
        after.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_children_forked_while_a_thread_writes_are_not_locked_out(path):
    code = """
import os, threading, warnings
from support.money import ask
from kimikit.money.ledger import Ledger
warnings.simplefilter("error")
L = Ledger(); ask(L); stop = threading.Event()
def write():
    while not stop.is_set(): ask(L)
thread = threading.Thread(target=write); thread.start()
for n in range(12):
    child = os.fork()
    if not child:
        ask(L, "child"); os._exit(0 if L.failure is None else 1)
    assert os.waitpid(child, 0)[1] == 0, n
stop.set(); thread.join(); L.close()
"""
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "KIMIKIT_LEDGER": str(path),
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=300)
    ledger = Ledger(path)
    assert len(ledger.search("child")) == 12
    ledger.close()


def made(path, calls):
    """Return the bytes of a ledger with its index."""
    ledger = Ledger(path)
    for n in range(calls):
        ask(ledger, f"q{n} " + "pad " * 200)
    ledger.search("q5")
    ledger.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a ledger of 150 calls."""
    return made(tmp_path_factory.mktemp("good") / "l", 150)


class TestACorruptFile:
    def works(self, path, keeps=3):
        """Ask, and look at everything; return what was warned of."""
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            ledger = Ledger(path)
            for _ in range(3):
                ask(ledger, "again")
            assert ledger.session_total(ledger.session).calls == 3
            for look in (
                lambda: repr(ledger),
                lambda: ledger._repr_html_(),
                lambda: repr(ledger.calls()),
                lambda: ledger.search("again"),
                lambda: [ledger.read(row.id) for row in ledger.calls(200)],
                lambda: ledger.answers("k"),
                lambda: ledger.samples(),
                lambda: ledger.forget(id="none"),
                lambda: ledger.total(by="day"),
            ):
                look()
            ledger.close()
        # A file that a view found corrupt was moved aside with the new rows in it.
        assert rows(path) >= keeps
        return [str(w.message) for w in said if issubclass(w.category, KimiWarning)]

    @pytest.mark.parametrize("seed", range(25))
    def test_random_bytes_never_fail_a_call_or_a_view(self, path, good, seed):
        chance, data = random.Random(seed), bytearray(good)
        for _ in range(chance.choice((1, 5, 50, 500))):
            data[chance.randrange(100, len(data))] = chance.randrange(256)
        path.write_bytes(data)
        self.works(path)

    @pytest.mark.parametrize("damage", ["header", "pointers", "zeros", "another page"])
    def test_no_page_that_is_broken_fails_a_call_or_a_view(self, tmp_path, damage):
        """Bytes at random mostly hit texts; here the structure of pages is hit."""
        chance, whole = random.Random(damage), made(tmp_path / "whole", 8)
        size = int.from_bytes(whole[16:18], "big")
        for page in chance.sample(range(len(whole) // size), 8):
            data, begin = bytearray(whole), page * size or 100
            match damage:
                case "header":
                    data[begin : begin + 8] = chance.randbytes(8)
                case "pointers":
                    data[begin + 8 : begin + 40] = chance.randbytes(32)
                case "zeros":
                    data[begin : begin + size] = bytes(size)
                case "another page":
                    other = size * chance.randrange(1, len(whole) // size)
                    data[begin : begin + size] = whole[other : other + size]
            path = tmp_path / f"{damage} {page}"
            path.write_bytes(data)
            # What went into a page with wrong pointers may have overwritten itself.
            self.works(path, keeps=0 if damage == "pointers" else 3)

    def test_what_can_be_read_is_in_the_new_file(self, path, good):
        path.write_bytes(good)
        page = good.index(ids(path)[75].encode()) // 4096 * 4096
        path.write_bytes(good[:page] + bytes(4096) + good[page + 4096 :])
        ledger = Ledger(path)
        with pytest.warns(KimiWarning, match=r"corrupt .* the last 1\d\d calls"):
            ledger.calls(None, model="m")
        assert 100 < ledger.total().calls <= 150
        assert ledger.total().cost == ledger.total().calls * Decimal("0.000843")
        texts = [ledger.read(row.id)[1] for row in ledger.calls(None)]
        assert sum(text is not None for text in texts) > 100
        ledger.close()

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
    def test_a_truncated_file_is_moved_aside_with_a_message(self, path, good, share):
        path.write_bytes(good[: int(len(good) * share)])
        said = self.works(path)
        assert len(said) == 1
        assert "corrupt" in said[0]
        (aside,) = path.parent.glob("*.corrupt-*")
        assert aside.name in said[0]
        assert aside.read_bytes()[:16] == good[:16]
        assert rows(path) == 3

    def test_zeros_are_a_file_that_was_a_ledger(self, path, good):
        path.write_bytes(bytes(len(good)))
        assert "corrupt" in self.works(path)[0]

    @pytest.mark.parametrize(
        "sql",
        ["DROP TABLE daily", "DROP TABLE replies", "ALTER TABLE calls DROP COLUMN error",
         "ALTER TABLE calls RENAME TO other"],
    )  # fmt: skip
    def test_a_table_or_column_that_is_gone(self, path, good, sql):
        path.write_bytes(good)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(sql)
        assert "corrupt" in self.works(path)[0]

    @pytest.mark.parametrize(
        ("sql", "taken"),
        [("ALTER TABLE calls DROP COLUMN error", 150),
         ("ALTER TABLE calls DROP COLUMN session", 0),
         ("ALTER TABLE calls RENAME COLUMN id TO other", 0)],
    )  # fmt: skip
    def test_as_many_calls_are_taken_over_as_it_says(self, path, good, sql, taken):
        path.write_bytes(good)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DROP INDEX calls_by_session")
            db.execute(sql)
        ledger = Ledger(path)
        with pytest.warns(KimiWarning, match=f"the last {taken} calls"):
            ledger.calls(1)
        assert ledger.total().calls == taken
        ledger.close()

    def test_indexes_and_triggers_that_are_gone_are_made_again(self, path, good):
        path.write_bytes(good)
        with contextlib.closing(sqlite3.connect(path)) as db:
            for sql in ("INDEX calls_by_day", "INDEX calls_open", "TRIGGER close_call"):
                db.execute(f"DROP {sql}")
        assert self.works(path) == []
        ledger = Ledger(path)
        assert ledger.total().calls == 153
        ledger.close()

    def test_odd_values_of_a_row_are_left_out_and_the_row_is_shown(self, path, good):
        path.write_bytes(good)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(
                "UPDATE calls SET price = 'no json', state = 'odd', created = 'x',"
                " cost = 'much', stand_in = 7, prompt_tokens = 'many' WHERE seq = 150"
            )
            db.execute("UPDATE calls SET model = CAST(x'ff41' AS TEXT) WHERE seq = 149")
            db.execute("UPDATE replies SET body = '{' WHERE seq = 150")
            db.execute("UPDATE requests SET body = '[1]' WHERE seq = 150")
            db.commit()
        assert self.works(path) == []
        ledger = Ledger(path)
        odd = next(
            row for row in ledger.calls(None) if row.id.endswith(ids(path)[149][8:])
        )
        assert (odd.host, odd.price, odd.cost, odd.created) == (
            "together",
            None,
            None,
            0,
        )
        assert ledger.calls(None, model="\ufffdA") == []
        ledger.close()

    @pytest.mark.parametrize("created", [1e300, -1e300, 1e17, "-9e999"])
    def test_a_row_of_no_day_is_shown_and_exported(self, path, good, created):
        path.write_bytes(good)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute(f"UPDATE calls SET created = {created} WHERE seq = 150")
            db.commit()
        assert self.works(path) == []
        ledger = Ledger(path)
        rows = ledger.calls(None)
        for shown in (repr(rows), rows._repr_html_(), rows.to_markdown()):
            assert "unknown day" in shown.replace("&#32;", " ")
        ledger.export("csv", path.with_name("rows.csv"))
        ledger.export("parquet", path.with_name("rows.parquet"))
        assert len(path.with_name("rows.csv").read_text().splitlines()) > 150
        ledger.close()


def ids(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [id_ for (id_,) in db.execute("SELECT id FROM calls ORDER BY seq")]


class TestAFileOfAnother:
    @pytest.mark.parametrize("version", [0, 3, 70])
    def test_a_database_of_another_program_is_left_alone(self, path, version):
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE bookmarks (url)")
            db.execute(f"PRAGMA user_version = {version}")
            db.commit()
        before = path.read_bytes()
        ledger = Ledger(path)
        with pytest.warns(KimiWarning, match="no ledger|newer kimikit"):
            ask(ledger)
        assert ledger.total().calls == 1
        ledger.close()
        assert path.read_bytes() == before
        assert not list(path.parent.glob("*.corrupt-*"))

    @pytest.mark.parametrize("name", ["a" * 300, "a\0b", "folder"])
    def test_a_path_that_can_be_no_file(self, tmp_path, name):
        (tmp_path / "folder").mkdir()
        ledger = Ledger(tmp_path / name)
        with pytest.warns(KimiWarning, match="KIMIKIT_LEDGER"):
            ask(ledger)
        assert ledger.total().calls == 1
        ledger._store._kept.clear()
        ledger.close()

    @pytest.mark.skipif(os.name != "posix", reason="devices are POSIX's")
    def test_a_device_keeps_its_mode(self):
        before = Path("/dev/null").stat().st_mode
        ledger = Ledger("/dev/null")
        with pytest.warns(KimiWarning, match="no file"):
            ask(ledger)
        assert Path("/dev/null").stat().st_mode == before
        ledger._store._kept.clear()
        ledger.close()


class TestAFileThatGoes:
    def test_a_deleted_file_is_noticed_and_begun_anew(self, path):
        ledger = Ledger(path)
        running = make_call("across")
        ledger.opened(running)
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink()
        with pytest.warns(KimiWarning, match="was deleted while it was in use"):
            ask(ledger, "after")
        ledger.closed(running, make_reply("whole"), None)
        assert rows(path) == 2
        assert ledger.read(running.id)[0]["messages"][0]["content"] == "across"
        assert ledger.total().unknown == 0
        ledger.close()

    def test_a_replaced_file_is_what_is_written(self, path, tmp_path):
        ledger, other = Ledger(path), Ledger(tmp_path / "other")
        ask(ledger)
        for _ in range(3):
            ask(other)
        ledger._store.close()
        ask(ledger)
        other.close()
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{end}").unlink()
        shutil.move(tmp_path / "other", path)
        with pytest.warns(KimiWarning, match="was replaced"):
            ask(ledger)
        assert ledger.total().calls == 4
        ledger.close()

    def test_a_notebook_that_changes_its_folder_keeps_its_ledger(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        ledger = Ledger("l.sqlite3")
        ask(ledger)
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ask(ledger)
            ledger.close()
            ask(ledger)
        assert ledger.total().calls == 3
        ledger.close()


def test_warnings_made_errors_are_logged_and_fail_no_call(tmp_path, caplog):
    ledger = Ledger(tmp_path / "file" / "l")
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "kimikit"):
        warnings.simplefilter("error")
        for _ in range(2):
            ask(ledger)
    assert "cannot be written" in caplog.text
    caplog.clear()  # else the test fails for what kimikit warned of
    assert ledger.total().calls == 2
    ledger._store._kept.clear()
    ledger.close()


class TestOddFigures:
    @pytest.mark.parametrize("tokens", [2**63, 2**70, 10**400])
    def test_tokens_that_no_column_holds_are_unknown_and_the_row_is_closed(
        self, path, tokens
    ):
        ledger = Ledger(path)
        call = ask(ledger, reply=make_reply("kept", usage=Usage(tokens, 5)))
        (row,) = ledger.calls()
        assert (row.state, row.cost) == ("complete", None)
        assert row.usage is None or row.usage.completion_tokens == 5
        assert ledger.read(call.id)[1].text == "kept"
        assert ledger.total().unpriced == 1
        ledger.close()

    @pytest.mark.parametrize(
        "cost", ["1e30", "1e999999", "1001", "NaN", "Infinity", "1e-999999"]
    )
    def test_a_cost_that_no_call_has_is_unknown(self, path, cost):
        ledger = Ledger(path)
        usage = Usage(5, 5, cost_usd=Decimal(cost))
        ask(ledger, reply=make_reply("kept", usage=usage, cost=Decimal(cost)))
        (row,) = ledger.calls()
        assert row.state == "complete"
        assert row.cost == (Decimal(0) if cost == "1e-999999" else None)
        assert repr(ledger)
        ledger.close()

    def test_a_thousand_dearest_calls_can_be_added_up(self, path):
        ledger = Ledger(path, store="usage")
        usage = Usage(10**15, 10**15, cost_usd=Decimal(1000))
        for _ in range(1000):
            ask(ledger, reply=make_reply(usage=usage))
        assert ledger.total().cost == 1_000_000
        assert ledger.session_total(ledger.session).cost == 1_000_000
        ledger.close()

    @pytest.mark.parametrize("text", ["\ud800", "a\0b", "x" * 10**6])
    def test_odd_texts_of_a_host(self, path, text):
        ledger = Ledger(path)
        reply = make_reply(text, model=text, finish_reason=text, raw={text: text})
        call = ask(ledger, model=text, reply=reply)
        (row,) = ledger.calls()
        assert row.state == "complete"
        kept = ledger.read(call.id)[1].text
        assert kept == ("?" if text == "\ud800" else text)
        repr(ledger)
        ledger._repr_html_()
        ledger.close()

    def test_pico_rounds_and_refuses(self):
        assert pico(Decimal("1e-13")) == 0
        assert pico(Decimal("1000")) == 10**15
        assert pico(Decimal("1000.01")) is None
        assert pico(None) is None


def test_threads_and_a_lock_lose_nothing(path, monkeypatch):
    monkeypatch.setattr(store, "BUSY_S", 0.005)
    monkeypatch.setattr(store, "AGAIN_S", 0.02)
    ledger = Ledger(path)
    ask(ledger)
    done = threading.Barrier(9)

    def work():
        for _ in range(5):
            ask(ledger)
        done.wait()

    threads = [threading.Thread(target=work) for _ in range(8)]
    with held(path):
        for thread in threads:
            thread.start()
        ask(ledger)
        done.wait()
    for thread in threads:
        thread.join()
    ledger.close()
    assert rows(path) == 42
    after = Ledger(path)
    assert after.total().calls == 42
    after.close()


class Interrupted:
    """A connection beside which another kernel works after each statement."""

    def __init__(self, db, other):
        self.db, self.other = db, other

    def execute(self, sql):
        cursor = self.db.execute(sql)
        found = cursor.fetchall()
        self.other()
        return self.db.execute(f"VALUES {_values(found)}") if found else cursor


def _values(rows):
    texts = [["NULL" if v is None else repr(v) for v in row] for row in rows]
    return ", ".join(f"({', '.join(row)})" for row in texts)


@pytest.mark.parametrize("before", ["nothing", "a ledger"])
def test_two_kernels_that_make_one_ledger_both_know_it_as_one(path, before):
    if before == "a ledger":
        Ledger(path).calls()

    def other():
        made = Ledger(path)
        made.calls()
        made.close()

    with contextlib.closing(database.connect(path)) as db:
        database.check_owner(Interrupted(db, other))
    assert path.stat().st_size


@pytest.mark.parametrize("end", ["", ".jobs", "-wal", " by another name"])
def test_a_ledger_is_not_written_over_by_its_export(path, end):
    ledger = Ledger(path)
    ask(ledger)
    target = path.with_name(f"{path.name}{end}")
    if "name" in end:
        target.symlink_to(path)
    with pytest.raises(BadInput, match="ledger itself"):
        ledger.export("csv", target)
    assert len(Ledger(path).calls()) == 1
