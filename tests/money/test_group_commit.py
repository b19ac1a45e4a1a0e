"""Rows of calls that begin or end together share a transaction, and none is late."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from decimal import Decimal

import pytest
from support.money import make_call, make_reply

from kimikit.errors import BudgetExceeded
from kimikit.money import store
from kimikit.money.budget import PER_DAY, Budgets
from kimikit.money.ledger import Ledger
from kimikit.wire import AsyncClient
from tests.money.test_survival import child

AT_ONCE = 20
_CHOICE = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 40, "completion_tokens": 50}
_BODY = json.dumps({"choices": [_CHOICE], "usage": _USAGE}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
ANSWER += b"%d\r\n\r\n%b" % (len(_BODY), _BODY)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite3"


def states(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return [state for (state,) in db.execute("SELECT state FROM calls")]


@pytest.fixture
def transactions(monkeypatch):
    """Count the transactions of ledgers."""
    begun, count = store.transaction, []

    def counted(db):
        count.append(1)
        return begun(db)

    monkeypatch.setattr(store, "transaction", counted)
    return count


@contextlib.asynccontextmanager
async def host(path, calls):
    """Answer ``calls`` at once when all are there; tell the rows that each found."""
    seen, all_there, left = asyncio.Queue(), asyncio.Event(), iter(range(calls - 1))

    async def answer(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
                await reader.readexactly(size)
                await seen.put(states(path))
                if next(left, None) is None:
                    all_there.set()
                await all_there.wait()
                writer.write(ANSWER)
        writer.close()
        await writer.wait_closed()

    handlers = []
    server = await asyncio.start_server(
        lambda *pair: handlers.append(asyncio.create_task(answer(*pair))),
        "127.0.0.1",
        0,
    )
    port = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1", seen
    all_there.set()
    server.close()
    await asyncio.gather(*handlers)


def client(url, ledger, **options):
    known = {"api_key": "x", "model": "moonshotai/Kimi-K3", "max_retries": 0}
    return AsyncClient(
        "together", base_url=url, observers=[Budgets(ledger)], **known, **options
    )


def test_calls_that_begin_and_end_together_are_written_together(path, transactions):
    async def main():
        ledger = Ledger(path)
        ledger.total()  # opens the file
        transactions.clear()
        async with (
            host(path, AT_ONCE) as (url, seen),
            client(url, ledger, stream=False) as asked,
        ):
            chats = [asked.chat(f"Question {n}") for n in range(AT_ONCE)]
            replies = await asyncio.gather(*chats)
            # Each row was on disk before its call was sent: none was before it.
            found = [await seen.get() for _ in range(AT_ONCE)]
            assert all(rows.count("open") == AT_ONCE for rows in found)
            assert states(path) == ["complete"] * AT_ONCE  # read past the ledger
        assert [reply.text for reply in replies] == ["Hi"] * AT_ONCE
        # One to open all; answers come in a few turns of the loop.
        assert len(transactions) < AT_ONCE
        assert ledger.total().calls == AT_ONCE
        assert len({row.id for row in ledger.calls(None)}) == AT_ONCE
        ledger.close()

    asyncio.run(main())


def three_calls(asked):
    return [asyncio.create_task(asked.chat("Hello")) for _ in range(3)]


async def cancelled(tasks):
    """Cancel tasks; return what each of them ended with."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_stopped_call_is_written_when_its_task_ends(path):
    async def main():
        ledger = Ledger(path)
        async with host(path, 99) as (url, seen), client(url, ledger) as asked:
            tasks = three_calls(asked)
            for _ in range(3):
                await seen.get()
            await cancelled(tasks)
            assert "open" not in states(path)
            assert len(states(path)) == 3
        ledger.close()

    asyncio.run(main())


def test_a_task_that_is_cancelled_before_its_row_is_written_sends_nothing(path):
    async def main():
        ledger = Ledger(path)
        async with host(path, 1) as (url, seen), client(url, ledger) as asked:
            tasks = three_calls(asked)
            await asyncio.sleep(0)  # all have begun, and wait for their rows
            found = await cancelled(tasks)
            assert all(isinstance(each, asyncio.CancelledError) for each in found)
            assert seen.empty()
        assert "open" not in states(path)
        ledger.close()

    asyncio.run(main())


def test_the_limit_of_a_day_is_checked_one_call_after_the_other(path, monkeypatch):
    monkeypatch.setenv(PER_DAY, "0.04")  # each may take 0.015 and its prompt

    async def main():
        ledger = Ledger(path)
        async with (
            host(path, 2) as (url, seen),
            client(url, ledger, max_tokens=1000) as asked,
        ):
            chats = [asked.chat("Hello", stream=False) for _ in range(5)]
            found = await asyncio.gather(*chats, return_exceptions=True)
            assert sum(isinstance(each, BudgetExceeded) for each in found) == 3
            assert seen.qsize() == 2
        ledger.close()

    asyncio.run(main())


def test_a_killed_kernel_has_all_rows_of_what_it_sent_and_got(path):
    code = """
        import asyncio
        from tests.money.test_group_commit import client, host

        async def main():
            async with host(L.path, 4) as (url, _), client(url, L) as asked:
                chats = [asked.chat("Hello", stream=False) for _ in range(4)]
                await asyncio.gather(*chats)
            async with host(L.path, 99) as (url, seen), client(url, L) as asked:
                tasks = [asyncio.create_task(asked.chat("more")) for _ in range(3)]
                for _ in tasks:
                    await seen.get()
                print("sent", flush=True)
                time.sleep(60)

        asyncio.run(main())
    """
    process = child(code, path)
    assert process.stdout.readline() == "sent\n", process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sorted(states(path)) == ["complete"] * 4 + ["open"] * 3
    ledger = Ledger(path)
    assert ledger.total().unknown == 3
    ledger.close()


def queued(ledger, *calls):
    """Open and close calls as one who will flush does, up to the flush."""
    for call in calls:
        call.grouped = True
        ledger.opened(call)
        ledger.closed(call, make_reply(), None)


def test_whoever_reads_writes_or_ends_writes_what_waits_first(path):
    ledger = Ledger(path)
    ledger.total()
    queued(ledger, make_call("read"))
    assert states(path) == []
    assert ledger.total().calls == 1
    queued(ledger, make_call("written"))
    ledger.opened(make_call("opened"))
    assert states(path) == ["complete", "complete", "open"]
    queued(ledger, make_call("ended"))
    ledger.close()
    assert states(path) == ["complete", "complete", "open", "complete"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_what_waits_is_written_by_the_parent_alone(path):
    ledger = Ledger(path)
    ledger.total()
    queued(ledger, make_call("before"))
    if (pid := os.fork()) == 0:
        ledger.flush()
        os._exit(len(states(path)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ledger.flush()
    assert states(path) == ["complete"]
    ledger.close()


def test_a_locked_file_gets_the_group_later(path, monkeypatch):
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    ledger = Ledger(path)
    ledger.total()
    queued(ledger, make_call(), make_call())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(match="cannot be written"):
        ledger.flush()
    assert ledger.total().calls == 2
    other.execute("COMMIT")
    other.close()
    ledger.close()
    assert states(path) == ["complete"] * 2


def test_a_row_that_cannot_be_written_costs_no_other(path):
    ledger = Ledger(path)
    queued(ledger, make_call("one"))
    ledger._store.later(lambda db: 1 / 0)
    queued(ledger, make_call("two"))
    with pytest.raises(ZeroDivisionError):
        ledger.flush()
    ledger._store.later(lambda db: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.opened(make_call("three"))
    assert ledger.total().calls == 3
    assert ledger.total().cost == 2 * Decimal("0.000843")
    ledger.close()
