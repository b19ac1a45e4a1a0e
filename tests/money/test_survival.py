"""Killed kernels, full disks, turned clocks, other versions, many kernels at once."""

import datetime as dt
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest
from support.money import ask, make_call, make_reply

from kimikit.errors import KimiWarning
from kimikit.money import migrations
from kimikit.money.ledger import Ledger

ROOT = Path(__file__).parents[2]
COST = Decimal("0.000843")


def child(code, ledger, **options):
    """Start Python with ``ledger`` as its ledger and ``L``, ``ask`` at hand."""
    prelude = (
        "import sys, time, warnings\n"
        "from support.money import ask, make_call, make_reply\n"
        "from kimikit.money.ledger import Ledger\n"
        "L = Ledger()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "KIMIKIT_LEDGER": str(ledger),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def test_a_killed_kernel_leaves_a_row_with_what_it_can_have_cost(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    code = """
        ask(L)
        L.opened(make_call("doomed", max_tokens=1000))
        print("open", flush=True)
        time.sleep(60)
    """
    process = child(code, path)
    assert process.stdout.readline() == "open\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ledger = Ledger(path)
    killed, whole = ledger.calls()
    assert (whole.state, whole.cost) == ("complete", COST)
    assert killed.state == "open"
    # 1,000 answer tokens at $15 a million, and a prompt of less than $0.001.
    assert Decimal("0.015") < killed.at_most < Decimal("0.016")
    assert killed.cost_text.startswith("unknown, at most $0.015")
    assert ledger.read(killed.id)[0]["messages"][0]["content"] == "doomed"
    total = ledger.total()
    assert total.cost_text.startswith("at least $0.000843 (1 unknown, at most $0.015")
    ask(ledger)
    ledger.close()


def test_a_full_disk_loses_nothing_and_is_said_once(tmp_path):
    """The file may not grow past 1 MB: a write fails in the midst of a call."""
    path = tmp_path / "ledger.sqlite3"
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        warnings.simplefilter("always")
        waiting = make_call("opened early")
        L.opened(waiting)
        while not L.failure:
            ask(L, "x" * 500)
            count = L.total().calls
        with warnings.catch_warnings(record=True) as again:
            last = ask(L, "after the disk was full", meta={"key": "k/1"})
            L.closed(waiting, make_reply("late"), None)
        assert again == []
        assert L.calls(1)[0].id == waiting.id, L.calls(1)
        assert L.calls(2)[1].id == last.id
        assert L.answers("k")["k/1"].text == "Hi"
        assert L.read(waiting.id)[1].text == "late"
        total = L.total()
        assert (total.calls, total.unknown) == (count + 1, 0), (total, count)
        assert len(L.calls(None)) == total.calls
        assert len({row.id for row in L.calls(None)}) == total.calls
        assert len(L.search("after")) == 1
        print(total.calls, L.failure)
    """
    out, err = finish(child(code, path))
    assert int(out.split()[0]) > 10
    assert err.count("KimiWarning") == 1
    assert "cannot be written" in err
    on_disk = Ledger(path)
    assert on_disk.total().calls > 10
    on_disk.close()


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_ledger_that_cannot_be_written_is_read_and_goes_on_in_memory():
    """As another user, since root may write anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "ledger.sqlite3"
        ledger = Ledger(path)
        ask(ledger, "before")
        ledger.close()
        path.chmod(0o444)
        folder.chmod(0o555)
        code = """
            import os
            from kimikit.money import catalogue
            catalogue.installed()  # its late imports: a root's Python is closed to others
            if os.getuid() == 0:
                os.setgid(65534), os.setuid(65534)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                ask(L, "now")
                ask(L, "again")
            print(len(said), len(L.calls()), L.total().calls, L.total(by="day"))
            print([L.read(row.id)[0]["messages"][0]["content"] for row in L.calls()])
            print(len(L.search("before")), len(L.search("again")))
        """
        out, _ = finish(child(code, path))
        lines = out.splitlines()
        assert lines[0].startswith("1 3 3 ")
        assert lines[1:] == ["['again', 'now', 'before']", "1 1"]
        folder.chmod(0o755)


def test_a_folder_that_cannot_be_made_and_a_file_that_is_no_ledger(tmp_path):
    (tmp_path / "file").write_text("not a ledger, " * 100)
    for path in (tmp_path / "file" / "ledger.sqlite3", tmp_path / "file"):
        ledger = Ledger(path)
        with pytest.warns(KimiWarning, match="KIMIKIT_LEDGER"):
            ask(ledger)
        ask(ledger)
        assert len(ledger.calls()) == 2
        assert "memory only" in repr(ledger)
        ledger.close()
    assert (tmp_path / "file").read_text().startswith("not a ledger")


def test_a_clock_turned_back_changes_neither_order_nor_sums(tmp_path):
    ledger = Ledger(tmp_path / "l")
    now = time.time()
    late = make_call(created=now)
    ledger.opened(late)
    early = ask(ledger, created=now - 3 * 86400)
    ledger.closed(late, make_reply(duration_s=2.0), None)
    ahead = ask(ledger, created=now + 30 * 86400)
    assert [r.id for r in ledger.calls()] == [ahead.id, early.id, late.id]
    assert ledger.calls()[2].duration_s == 2.0
    days = ledger.total(by="day")
    assert [d.calls for d in days.values()] == [1, 1, 1]
    assert list(days)[1] == dt.date.fromtimestamp(now).isoformat()
    assert ledger.total().cost == 3 * COST
    assert ledger.session_total(ledger.session).calls == 3
    ledger.close()


class TestVersions:
    def test_a_landed_migration_still_makes_the_schema_it_made(self):
        """Also when what totals add up, from which its triggers are made, changes."""
        shape = (
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        made, kept = (sqlite3.connect(":memory:", isolation_level=None) for _ in (1, 2))
        migrations.MIGRATIONS[0](made)
        kept.executescript((Path(__file__).parent / "schema_1.sql").read_text())
        assert made.execute(shape).fetchall() == kept.execute(shape).fetchall()
        made.close()
        kept.close()

    def test_a_ledger_of_version_1_opens_with_its_rows(self, tmp_path):
        path = tmp_path / "old.sqlite3"
        db = sqlite3.connect(path)
        db.executescript((Path(__file__).parent / "schema_1.sql").read_text())
        db.close()
        ledger = Ledger(path)
        killed, unpriced, whole = ledger.calls()
        assert (whole.state, whole.cost) == ("complete", COST)
        assert unpriced.cost_text == "unpriced"
        assert killed.cost_text == "unknown, at most $0.0150"
        assert ledger.read(whole.id)[1].text == "Hi"
        assert ledger.total().cost_text.startswith("at least $0.000843 (1 unpriced")
        assert len(ledger.search("Hello")) == 2
        ask(ledger)
        assert ledger.total().calls == 4
        ledger.close()

    def test_version_1_left_the_stand_in_without_a_cost(self, tmp_path):
        path = tmp_path / "old.sqlite3"
        db = sqlite3.connect(path)
        db.executescript((Path(__file__).parent / "schema_1.sql").read_text())
        for state in ("complete", "failed"):
            db.execute(
                "INSERT INTO calls (id, created, day, session, endpoint, host, model,"
                " tag, notebook, stand_in, state, prompt_tokens) VALUES"
                " (?, 1795000200, '2026-11-18', 's', 'chat', 'local', 'smollm2', '',"
                " '', 1, 'open', 7)",
                [state],
            )
            db.execute("UPDATE calls SET state = id WHERE id = ?", [state])
        db.commit()
        db.close()
        ledger = Ledger(path)
        failed, whole = ledger.calls(host="local")
        assert (whole.cost, whole.at_most, whole.cost_text) == (0, 0, "$0.00")
        assert (failed.cost, failed.cost_text) == (None, "–")
        local = ledger.total(by="host")["local"]
        assert (local.calls, local.unpriced, local.cost_text) == (2, 0, "$0.00")
        ledger.close()

    def test_newer_code_brings_an_older_file_along(self, tmp_path, monkeypatch):
        """Also while a kernel of the older version still writes to it."""
        path = tmp_path / "ledger.sqlite3"
        older = Ledger(path)
        ask(older)

        def newest(db):
            db.execute("ALTER TABLE calls ADD COLUMN mood TEXT DEFAULT 'fine'")

        monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, newest))
        newer = Ledger(path)
        ask(newer)
        ask(older)
        with sqlite3.connect(path) as db:
            versions = db.execute("PRAGMA user_version").fetchone()
            assert versions == (len(migrations.MIGRATIONS),)
            assert db.execute("SELECT DISTINCT mood FROM calls").fetchall() == [
                ("fine",)
            ]
        db.close()
        assert newer.total().calls == older.total().calls == 3
        newer.close()
        older.close()

    def test_older_code_leaves_a_newer_file_alone(self, tmp_path):
        path = tmp_path / "ledger.sqlite3"
        ledger = Ledger(path)
        ask(ledger)
        ledger.close()
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        before = path.read_bytes()
        ledger = Ledger(path)
        with pytest.warns(KimiWarning, match=r"newer kimikit.*schema 99.*another file"):
            ask(ledger)
        assert ledger.total().calls == 1
        ledger.close()
        assert path.read_bytes() == before

    def test_a_failed_migration_changes_nothing(self, tmp_path, monkeypatch):
        path = tmp_path / "ledger.sqlite3"
        ledger = Ledger(path)
        ask(ledger)
        ledger.close()

        def broken(db):
            db.execute("ALTER TABLE calls ADD COLUMN mood TEXT")
            db.execute("SELECT no_such_function()")

        with monkeypatch.context() as patch:
            patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, broken))
            db = sqlite3.connect(path, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError):
                migrations.migrate(db)
            db.close()
        again = Ledger(path)
        ask(again)
        assert again.total().calls == 2
        assert again.failure is None
        again.close()


def test_eight_kernels_write_500_rows_each_and_none_is_lost(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    code = "for _ in range(500): ask(L)\nassert L.session_total(L.session).calls == 500"
    with ExitStack() as stack:
        for process in [stack.enter_context(child(code, path)) for _ in range(8)]:
            finish(process)
    ledger = Ledger(path)
    assert ledger.total().calls == 4000
    assert ledger.total().cost == 4000 * COST
    assert len({row.id for row in ledger.calls(None)}) == 4000
    assert len({row.session for row in ledger.calls(None)}) == 8
    ledger.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_writes_through_its_own_connection(tmp_path):
    code = """
        import os
        ask(L, "parent")
        child = os.fork()
        ask(L, "both")
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert L.total().calls == 3, L.total()
            print("done")
        else:
            os._exit(0 if L.failure is None else 1)
    """
    out, _ = finish(child(code, tmp_path / "l"))
    assert out == "done\n"
