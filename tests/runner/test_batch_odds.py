"""Batches at hosts that answer oddly: nothing is lost, nothing bought again."""

import json
import threading

import httpx
import pytest
from runner.test_batches import ONCE, TEXTS, ask, closed, host, session  # noqa: F401
from support.batch_host import KEY, BatchHost

from kimikit import BadInput, KimiError, errors
from kimikit.runner import batch_looks
from kimikit.wire.batch_results import CALLED, OVER


def once_over(kimi, job):
    while not (batch := kimi.client.batches.get(job.shards[0].batch_id)).over:
        pass
    return batch


def with_failures_first(content):
    found = []
    for line in content.splitlines():
        failed = {
            "custom_id": json.loads(line)["custom_id"],
            "error": {"code": "again"},
        }
        found += [json.dumps(failed).encode(), line]
    return b"\n".join(found)


def of_editors(content):
    return b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")


def as_texts(content):
    found = []
    for line in map(json.loads, content.splitlines()):
        line["response"] = json.dumps(line["response"] | {"status_code": 201})
        found.append(json.dumps(line).encode())
    return b"\n".join(found)


@pytest.mark.parametrize("change", [with_failures_first, of_editors, as_texts])
def test_whatever_holds_an_answer_is_one(host, change):  # noqa: F811
    host.change = change
    replies = ask(session(host)).wait()
    assert replies.texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


@pytest.mark.parametrize(
    ("dialect", "page"),
    [
        ("files", b"<html>busy</html>"),
        ("together", b'{"error": "busy"}'),
        ("inline", b'{"data": []}'),
        ("inline", b'{"results": "busy"}'),
    ],
)
def test_a_page_in_the_place_of_answers_loses_none(host, dialect, page):  # noqa: F811
    host.change = lambda _: page
    kimi = session(host, dialect)
    job = ask(kimi)
    once_over(kimi, job)
    with pytest.raises(
        errors.ConnectionFailed, match="a part of them, or something else"
    ):
        job.collect()
    host.change = bytes
    assert ask(kimi).wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


@pytest.mark.parametrize("end", [-2, -30, 700, 50])
def test_a_part_of_a_file_loses_no_answer(host, end):  # noqa: F811
    kimi = session(host)
    job = ask(kimi)
    once_over(kimi, job)
    host.change = lambda content: content[:end]
    with pytest.raises(errors.ConnectionFailed, match="sent a part of them"):
        job.collect()
    host.change = bytes
    assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


def without_counts(said):
    return json.dumps({**json.loads(said), "request_counts": None}).encode()


@pytest.mark.parametrize("counts", ["told", "not told"])
@pytest.mark.parametrize("kept", [5, 2])
@pytest.mark.parametrize("dialect", ["files", "inline"])
def test_answers_cut_between_two_lines_lose_none(host, dialect, kept, counts):  # noqa: F811
    kimi = session(host, dialect)
    job = ask(kimi)
    batch = once_over(kimi, job)

    def change(content):
        if content.startswith(b'{"id"') and b'"request_counts"' in content:
            return without_counts(content) if counts == "not told" else content
        if dialect == "files":
            return b"".join(content.splitlines(keepends=True)[:kept])
        said = json.loads(content)
        return json.dumps({**said, "data": said["data"][:kept]}).encode()

    host.changed = ("/content", "/results", batch.id)
    host.change = change
    with pytest.raises(errors.ConnectionFailed, match=rf"{6 - kept} without an answer"):
        job.collect()
    host.change = bytes
    assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


@pytest.mark.parametrize("word", ["SUCCEEDED", "timed-out", "Error", "canceled"])
def test_a_batch_is_over_by_any_word(host, word):  # noqa: F811
    made = session(host).client.batches._awaited._batch({"id": "b", "status": word})
    assert made.over
    assert set(CALLED.values()) <= {*OVER, "cancelling"}


def test_files_that_are_deleted_give_their_requests_free(host):  # noqa: F811
    kimi = session(host)
    job = ask(kimi)
    batch = once_over(kimi, job)
    deleted = httpx.delete(
        f"{host.url}/files/{batch.output_file_id}",
        headers={"authorization": f"Bearer {KEY}"},
    )
    assert deleted.is_success
    replies = job.wait()
    assert sorted(replies.failed) == list(range(6))
    assert kimi.ledger.calls(1)[0].state == "lost"  # the host may bill it
    assert ask(kimi).wait().failed == {}


@pytest.mark.parametrize("late_s", [3600, -90_000])
def test_a_complete_batch_without_files_is_not_asked_about_for_ever(
    host, monkeypatch, late_s  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr(batch_looks, "LATE_S", late_s)
    kimi = session(host)
    job = ask(kimi)
    host.changed = (once_over(kimi, job).id,)
    host.change = lambda said: json.dumps(
        {**json.loads(said), "output_file_id": None}
    ).encode()
    if late_s < 0:
        assert sorted(job.wait(60).failed) == list(range(6))
        assert kimi.ledger.calls(1)[0].state == "lost"  # the host may bill it
        return
    with pytest.raises(errors.ConnectionFailed, match="names no file"):
        job.collect()
    host.change = bytes
    assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


@pytest.mark.parametrize("listed_s", [60, 0])
def test_a_host_that_forgets_a_batch_for_a_moment_is_asked_again(
    host, monkeypatch, listed_s  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr(batch_looks, "LISTED_S", listed_s)
    kimi = session(host)
    job = ask(kimi)
    known, host.gone = job.shards[0].batch_id, 1
    assert job.collect().failed == {}
    assert job.shards[0].batch_id == known
    assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


def test_a_batch_that_was_begun_at_another_address_is_not_lost(
    host, tmp_path, monkeypatch  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr(batch_looks, "LISTED_S", 0)
    job = ask(session(host))
    (tmp_path / "other").mkdir()
    with BatchHost(tmp_path / "other") as other:
        kimi = session(other)
        assert ask(kimi, TEXTS[:2]).wait().failed == {}
        with pytest.raises(BadInput, match=f"begun at {host.url}"):
            kimi.jobs()[-1].collect()
        assert kimi.map(TEXTS[:3], name="n", max_tokens=6, progress=False).missing == []
    assert job.wait().texts == [f"Re: {text}" for text in TEXTS]
    assert host.bought == ONCE


def test_a_batch_that_others_began_in_part_is_completed(host):  # noqa: F811
    sessions = [session(host) for _ in range(3)]
    for kimi in sessions:
        kimi.ledger.calls()  # which makes the file
    found = {}
    threads = [
        threading.Thread(
            target=lambda n=n, kimi=kimi: found.update({n: ask(kimi, TEXTS[:n]).wait()})
        )
        for n, kimi in zip((6, 5, 4), sessions, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {n: len(replies.replies) for n, replies in found.items()} == {
        6: 6,
        5: 5,
        4: 4,
    }
    assert host.bought == ONCE


@pytest.mark.parametrize("damage", ["no database", "another's"])
def test_a_file_of_jobs_that_is_none_is_told_so(host, damage):  # noqa: F811
    import sqlite3

    kimi = session(host)
    path = kimi.ledger.jobs.path
    if damage == "no database":
        path.write_bytes(b"mine" * 100)
    else:
        with sqlite3.connect(path) as db:
            db.execute("create table lines (x)")
        db.close()
    with pytest.raises(KimiError, match="move the file away"):
        ask(kimi)
    assert host.requests == []


@pytest.mark.parametrize("name", ["half \ud800 pair", "🙂/'; drop table jobs;--"])
def test_a_batch_may_have_any_name(host, name):  # noqa: F811
    kimi = session(host)
    assert ask(kimi, name=name).wait().missing == []
    assert ask(kimi, name=name).done
    assert len(kimi.jobs()) == 1
    assert host.bought == ONCE
