"""What is uploaded to Moonshot: once for the same bytes, remembered, and deleted."""

import pytest
from support.fault_server import FaultServer, plain
from support.files import ANSWER, DOCX, MP4, PNG, kimi_at

from kimikit import BadInput, NotSupported, StatusError


def held(id_: str) -> bytes:
    return plain({"id": id_, "object": "file", "status": "ok"})


GONE = plain({"error": {"message": "no such file"}}, 404)


@pytest.fixture
def server(monkeypatch, tmp_path):
    # A ledger of its own, in whose folder uploads are remembered.
    monkeypatch.setenv("KIMIKIT_LEDGER", str(tmp_path / "ledger.sqlite3"))
    with FaultServer() as made:
        yield made


def moonshot(server, **more):
    return kimi_at(server, "moonshot", "kimi-k3")


def paths(server):
    return [f"{r.method} {r.path.removeprefix('/v1')}" for r in server.requests]


def test_a_video_goes_up_once_and_is_asked_about_by_its_id(server):
    server.play(held("v1"))
    server.play(ANSWER)
    server.play(held("v1"))  # a later session looks whether it is still there
    server.play(ANSWER)
    for question in ("How many?", "Where?"):
        kimi = moonshot(server)
        kimi.chat(question, file={"clip.mp4": MP4}, stream=False)
        kimi.close()
    assert paths(server) == [
        "POST /files", "POST /chat/completions", "GET /files/v1", "POST /chat/completions",
    ]  # fmt: skip
    up, first, _, second = server.requests
    assert b'name="purpose"\r\n\r\nvideo' in up.body
    assert b"Content-Type: video/mp4" in up.body
    part = {"type": "video_url", "video_url": {"url": "ms://v1"}}
    for sent in (first, second):
        assert sent.json["messages"][0]["content"][0] == part


def test_one_session_does_not_even_look_again(server):
    server.play(held("v1"))
    server.play(ANSWER)
    kimi = moonshot(server)
    kimi.map(["a?", "b?"], file=MP4, stream=False, progress=False)
    kimi.chat("c?", file=MP4, stream=False)
    kimi.close()
    assert paths(server).count("POST /files") == 1
    assert "GET /files/v1" not in paths(server)


def test_what_the_host_has_lost_goes_up_again(server):
    server.play(held("v1"))
    kimi = moonshot(server)
    kimi.upload(MP4)
    kimi.close()
    server.play(GONE)
    server.play(held("v2"))
    kimi = moonshot(server)
    assert kimi.upload(MP4).url == "ms://v2"
    assert [each.id for each in kimi.uploads()] == ["v2"]
    kimi.close()


def test_other_bytes_another_key_and_another_address_are_other_uploads(server):
    server.play(held("v1"))
    server.play(held("v2"))
    kimi = moonshot(server)
    kimi.upload(MP4)
    kimi.upload(MP4 + b"more")
    assert [each.id for each in kimi.uploads()] == ["v1", "v2"]
    kimi.close()
    with FaultServer() as other:
        kimi = moonshot(other)
        assert len(kimi.uploads()) == 0
        kimi.close()
    from kimikit import Kimi

    kimi = Kimi("moonshot", base_url=server.url, api_key="x" * 20, show=False)
    assert len(kimi.uploads()) == 0
    kimi.close()


def test_the_list_is_shown_and_deletes_by_name_or_all(server):
    for id_ in ("p1", "v1"):
        server.play(held(id_))
    for id_ in ("v1", "p1"):
        server.play(plain({"id": id_, "deleted": True}))
    kimi = moonshot(server)
    picture = kimi.upload(PNG)
    assert picture.purpose == "image"
    kimi.upload(MP4)
    shown = repr(kimi.uploads())
    assert "p1" in shown
    assert "v1" in shown
    with pytest.raises(BadInput, match="lists them"):
        kimi.uploads().delete("nothing.mp4")
    kimi.uploads().delete("v1")
    assert [each.id for each in kimi.uploads()] == ["p1"]
    kimi.uploads().delete()
    assert paths(server)[-2:] == ["DELETE /files/v1", "DELETE /files/p1"]
    assert "nothing was uploaded to moonshot" in repr(kimi.uploads())
    kimi.close()


def test_what_the_host_does_not_delete_stays_in_the_list(server):
    server.play(held("v1"))
    server.play(plain({"error": {"message": "busy"}}, 403))
    kimi = moonshot(server)
    kimi.upload(MP4)
    with pytest.raises(StatusError):
        kimi.uploads().delete()
    assert len(kimi.uploads()) == 1
    kimi.close()


def test_a_text_that_moonshot_has_read_is_not_sent_to_be_read_again(server):
    server.play(held("f1"))
    server.play(plain({"content": "Seven ships."}))
    server.play(plain({"id": "f1", "deleted": True}))
    server.play(ANSWER)
    for _ in range(2):
        kimi = moonshot(server)
        kimi.chat("How many?", file=DOCX, stream=False)
        assert "Seven ships." in server.requests[-1].json["messages"][0]["content"]
        assert "its text is kept here" in repr(kimi.uploads())
        kimi.close()
    assert paths(server).count("POST /files") == 1
    kimi = moonshot(server)
    kimi.uploads().delete()  # there is nothing to delete at the host
    assert len(kimi.uploads()) == 0
    kimi.close()


def test_an_id_of_a_host_is_a_part_of_no_other_path(server):
    server.play(held("../models?x="))
    server.play(plain({"deleted": True}))
    kimi = moonshot(server)
    assert kimi.upload(MP4).id == "../models?x="
    kimi.uploads().delete()
    assert paths(server)[-1] == "DELETE /files/..%2Fmodels%3Fx%3D"
    kimi.close()


def test_names_of_files_are_inert_in_the_list(server):
    server.play(held("v1"))
    server.play(ANSWER)
    kimi = moonshot(server)
    kimi.chat("?", file={"<b>x</b>\x1b[31m.mp4": MP4}, stream=False)
    assert "\x1b" not in repr(kimi.uploads())
    assert "<b>x" not in kimi.uploads()._repr_html_()
    kimi.close()


@pytest.mark.parametrize(
    ("host", "file", "error", "words"),
    [
        ("together", PNG, NotSupported, "Hosts that take it: moonshot"),
        ("moonshot", b"text", BadInput, "neither a picture nor a video"),
        ("moonshot", "no-such-file.mp4", BadInput, "cannot be read"),
    ],
)
def test_what_cannot_go_up_is_refused_first(host, file, error, words, server):
    kimi = kimi_at(server, host, "kimi-k3")
    with pytest.raises(error, match=words):
        kimi.upload(file)
    kimi.close()
    assert server.requests == []


def test_what_is_remembered_is_for_its_owner_alone_and_survives_rubbish(server):
    server.play(held("v1"))
    kimi = moonshot(server)
    kimi.upload(MP4)
    [kept] = (kimi.ledger.path.parent / "uploads").glob("*.json")
    assert kept.stat().st_mode & 0o077 == 0
    assert "k" * 20 not in kept.read_text()
    kept.write_bytes(b"rubbish")
    kimi.close()
    kimi = moonshot(server)
    assert len(kimi.uploads()) == 0
    kimi.close()
