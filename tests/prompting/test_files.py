"""Files go before the question: text and PDF anywhere, all else where the host reads it."""

import pandas as pd
import pytest
from support.fault_server import FaultServer, plain
from support.files import ANSWER, DOCX, MP4, PNG, WAV, kimi_at, pdf

from kimikit import BadInput, NotSupported, StatusError


@pytest.fixture
def server(monkeypatch, tmp_path):
    # A ledger of its own, in whose folder uploads are remembered.
    monkeypatch.setenv("KIMIKIT_LEDGER", str(tmp_path / "ledger.sqlite3"))
    with FaultServer() as made:
        yield made


def asked(server, **params):
    kimi = kimi_at(server)
    try:
        kimi.chat("What is it?", stream=False, **params)
    finally:
        kimi.close()
    return server.requests[-1].json["messages"]


def test_texts_and_pdfs_stand_before_the_question_in_their_order(server, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_bytes("\ufeffZürich is quiet.".encode())
    server.play(ANSWER)
    (message,) = asked(server, file=[notes, pdf("Lagos is loud."), str(notes)])
    content = message["content"]
    assert content.endswith("\n\nWhat is it?")
    assert content.startswith('<file name="notes.txt">\nZürich is quiet.\n</file>')
    assert '<file name="file 2">\nLagos is loud.\n</file>' in content
    assert content.count("Zürich is quiet.") == 2


def test_beside_a_picture_the_text_is_a_part_of_its_own(server):
    server.play(ANSWER)
    (message,) = asked(server, file=b"a,b\n1,2", image=PNG)
    first, second, third = message["content"] if len(message["content"]) == 3 else [
        {"text": ""}, *message["content"]]  # fmt: skip
    assert third["type"] == "image_url"
    assert "a,b\n1,2" in first["text"] + second["text"]
    assert "What is it?" in second["text"]


@pytest.mark.parametrize("data", [DOCX, pdf("not read here")])
def test_moonshot_reads_what_is_no_text_and_keeps_no_copy(data, server):
    server.play(plain({"id": "f1", "object": "file", "status": "ok"}))
    server.play(plain({"content": "Seven ships.", "type": "file"}))
    server.play(plain({"id": "f1", "deleted": True}))
    server.play(ANSWER)
    kimi = kimi_at(server, "moonshot", "kimi-k3")
    kimi.chat("How many?", file=data, stream=False)
    kimi.close()
    up, get, gone, chat = server.requests
    assert (up.method, up.path) == ("POST", "/v1/files")
    assert b"file-extract" in up.body
    assert data in up.body
    assert (get.method, get.path) == ("GET", "/v1/files/f1/content")
    assert (gone.method, gone.path) == ("DELETE", "/v1/files/f1")
    assert "Seven ships." in chat.json["messages"][0]["content"]


def test_a_copy_is_deleted_also_where_it_could_not_be_read(server):
    server.play(plain({"id": "f1"}))
    server.play(plain({"error": {"message": "no such kind"}}, 400))
    server.play(plain({"id": "f1", "deleted": True}))
    kimi = kimi_at(server, "moonshot", "kimi-k3")
    with pytest.raises(StatusError):
        kimi.chat("How many?", file=DOCX)
    kimi.close()
    assert [r.method for r in server.requests] == ["POST", "GET", "DELETE"]


@pytest.mark.parametrize(
    ("file", "error", "words"),
    [
        (DOCX, NotSupported, "Moonshot reads Office documents"),
        (b"\xff\xfb\x90 sound", NotSupported, "no Kimi hears"),
        (MP4, NotSupported, "Together AI is not known for file 1, which is a video"),
        ([b"text", MP4], NotSupported, "moonshot"),
        (pdf(""), BadInput, "may be scanned"),
        (b"%PDF-1.4 broken \xff", BadInput, "cannot be read as PDF"),
        (b"  \n", BadInput, "holds no text"),
        ("no-such-file.txt", BadInput, "cannot be read"),
        (7, BadInput, "Pass a path, bytes"),
        (b"word " * 4_000_000, BadInput, "the window of"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_sent(
    file, error, words, server
):
    kimi = kimi_at(server)
    with pytest.raises(error, match=words):
        kimi.chat("What is it?", file=file)
    kimi.close()
    assert server.requests == []


def test_a_large_file_is_not_even_read(server, tmp_path):
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(100_000_001)
    kimi = kimi_at(server, "moonshot", "kimi-k3")
    with pytest.raises(BadInput, match="more than 100,000,000 bytes"):
        kimi.chat("What is it?", file=large)
    kimi.close()
    assert server.requests == []


def test_a_picture_is_shown_and_stands_among_texts_in_its_place(server, tmp_path):
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    server.play(ANSWER)
    (message,) = asked(
        server, file={"a.txt": b"A fox.", "b": path, "c.txt": b"No fox."}
    )
    kinds = [part["type"] for part in message["content"]]
    assert kinds == ["text", "image_url", "text", "text"]
    assert message["content"][0]["text"].startswith('<file name="a.txt">')
    assert message["content"][1]["image_url"]["url"].startswith(
        "data:image/png;base64,"
    )
    assert message["content"][3]["text"] == "What is it?"


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (MP4, {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,"}}),
        (b"\x1aE\xdf\xa3" + bytes(20), {"type": "video_url", "video_url": {"url": "data:video/webm;base64,"}}),
        (WAV, {"type": "input_audio", "input_audio": {"format": "wav"}}),
        (b"ID3\x04" + bytes(20), {"type": "input_audio", "input_audio": {"format": "mp3"}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("host", ["openrouter", "vllm"])
def test_videos_and_sounds_where_a_host_takes_them(host, data, part, server):
    server.play(ANSWER)
    with_kimi = kimi_at(server, host, "qwen/omni")
    with_kimi.chat("What is it?", file=data, stream=False)
    with_kimi.close()
    sent = server.requests[-1].json["messages"][0]["content"][0]
    assert sent["type"] == part["type"]
    if part["type"] == "video_url":
        assert sent["video_url"]["url"].startswith(part["video_url"]["url"])
    else:
        assert sent["input_audio"]["format"] == part["input_audio"]["format"]


@pytest.mark.parametrize(
    ("host", "model", "data", "words"),
    [
        ("openrouter", "moonshotai/kimi-k3", WAV, "no Kimi hears"),
        ("vllm", "my-kimi", WAV, "no Kimi hears"),
        ("moonshot", "kimi-k2-0905-preview", MP4, "kimi-k2-0905-preview is not known for"),
        ("moonshot", "kimi-k2.7-code", MP4, "Leave it out, or ask one of kimi-k2.5"),
    ],
)  # fmt: skip
def test_a_model_that_neither_sees_nor_hears_it_is_not_asked(
    host, model, data, words, server
):
    kimi = kimi_at(server, host, model)
    with pytest.raises(NotSupported, match=words):
        kimi.chat("What is it?", file=data)
    kimi.close()
    assert server.requests == []


def test_a_budget_does_not_hold_a_video_whose_tokens_nobody_knows(server):
    kimi = kimi_at(server, "openrouter", "moonshotai/kimi-k3")
    with (
        kimi.budget(usd=5),
        pytest.raises(BadInput, match="A video or a sound is read"),
    ):
        kimi.chat("What is it?", file=MP4, max_tokens=5)
    kimi.close()
    assert server.requests == []


# Every verb.


def test_a_conversation_keeps_files_in_its_history(server):
    server.play(ANSWER)
    kimi = kimi_at(server)
    talk = kimi.conversation()
    talk.say("What is it?", file=b"A fox.", stream=False)
    talk.say("And now?", stream=False)
    kimi.close()
    first, *_, last = server.requests[-1].json["messages"]
    assert "A fox." in first["content"]
    assert last["content"] == "And now?"


def test_map_run_stream_and_race_take_files(server):
    server.play(ANSWER)
    kimi = kimi_at(server)
    kimi.map(["One?", "Two?"], file=b"A fox.", stream=False, progress=False)
    for sent in server.requests:
        assert "A fox." in sent.json["messages"][0]["content"]
    run = kimi.run("Three?", [], file={"f.txt": b"A hen."}, stream=False)
    assert "A hen." in server.requests[-1].json["messages"][0]["content"]
    with pytest.raises(BadInput, match="with the first question"):
        kimi.run(run, [], file=b"A cow.")
    for _ in kimi.stream("Four?", file=b"A cow.", stream=False):
        pass
    assert "A cow." in server.requests[-1].json["messages"][0]["content"]
    kimi.race("Five?", {"a": {"stream": False}}, file=b"A dog.", show=False)
    assert "A dog." in server.requests[-1].json["messages"][0]["content"]
    kimi.close()


def test_each_row_of_a_map_may_name_its_own_files(server, tmp_path):
    server.play(ANSWER)
    kimi = kimi_at(server)
    once = {"stream": False, "progress": False, "concurrency": 1}
    fox, hen = tmp_path / "fox.txt", tmp_path / "hen.txt"
    fox.write_text("A fox."), hen.write_text("A hen.")
    rows = [
        {"ask": "One?", "page": fox},
        {"ask": "Two?", "page": [str(fox), hen]},
        {"ask": "Three?", "page": b"A cow."},
    ]
    for given in (rows, pd.DataFrame(rows)):
        server.requests.clear()
        found = kimi.map(given, template="{ask}", file="{page}", **once)
        assert len(found.replies) == 3
        sent = [request.json["messages"][0]["content"] for request in server.requests]
        assert [text.count("<file") for text in sent] == [1, 2, 1]
        assert "A cow." in sent[2]
        assert sent[2].endswith("Three?")
    server.requests.clear()
    with pytest.raises(BadInput, match=r"file= wants 'pages'.*mean 'page'"):
        kimi.map(rows, template="{ask}", file="{pages}", **once)
    rows[1]["page"] = None
    with pytest.raises(BadInput, match="Row 1 has no value for 'page'"):
        kimi.map(rows, template="{ask}", file="{page}", **once)
    rows[1]["page"] = tmp_path / "gone.txt"
    with pytest.raises(BadInput, match=r"gone\.txt"):
        kimi.map(rows, template="{ask}", file="{page}", **once)
    assert server.requests == []  # all are read before the first is asked
    kimi.close()


def test_files_of_a_sweep_are_an_axis_or_a_constant(server, tmp_path):
    server.play(ANSWER)
    kimi = kimi_at(server)
    once = {"repeats": 1, "stream": False, "progress": False}
    fox, hen = tmp_path / "fox.txt", tmp_path / "hen.txt"
    fox.write_text("A fox."), hen.write_text("A hen.")
    found = kimi.sweep("What?", file=[fox, [fox, hen]], **once)
    assert [p["file"] for p in found.summary()] == ["fox.txt", "fox.txt, hen.txt"]
    sent = [r.json["messages"][0]["content"].count("<file") for r in server.requests]
    assert sorted(sent) == [1, 2]
    kimi.sweep("What?", file=fox, temperature=[0, 1], name="same", **once)
    asked_before = len(server.requests)
    kimi.sweep("What?", file=fox, temperature=[0, 1], name="same", **once)
    assert len(server.requests) == asked_before, "it was paid once"
    fox.write_text("Another fox.")
    kimi.sweep("What?", file=fox, temperature=[0, 1], name="same", **once)
    assert len(server.requests) == asked_before + 2, (
        "another content is another question"
    )
    kimi.close()


def test_hosts_of_a_sweep_read_files_each_in_its_way(server, monkeypatch):
    """Together is sent the text that pypdf reads, Moonshot the text that it reads."""
    monkeypatch.setenv("MOONSHOT_API_KEY", "m" * 20)
    kimi = kimi_at(server)
    with pytest.raises(NotSupported, match="Together AI reads no such file"):
        kimi.sweep("What?", file=DOCX, host=[None, "moonshot"], repeats=1)
    kimi.close()
    assert server.requests == []
