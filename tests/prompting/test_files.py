"""Files go before the question: text and PDF anywhere, all else where the host reads it."""

import pytest
from support.fault_server import FaultServer, plain

from kimikit import BadInput, Kimi, NotSupported, StatusError

ANSWER = plain(
    {
        "id": "x",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}
        ],
    }
)  # fmt: skip
DOCX = b"PK\x03\x04\x00\x00\xff\xfe word/document.xml"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def pdf(text: str) -> bytes:
    """Return a PDF file of one page with a line of text."""
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET".encode() if text else b""
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + table
    return out + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % start


@pytest.fixture
def server():
    with FaultServer() as made:
        yield made


def kimi_at(server, host="together", model="moonshotai/Kimi-K3"):
    return Kimi(
        host,
        base_url=server.url,
        api_key="k" * 20,
        model=model,
        show=False,
        max_retries=0,
    )


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


@pytest.mark.parametrize("data", [DOCX, pdf("not read here"), PNG])
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
        (b"\xff\xfb\x90 sound", NotSupported, "kimi.transcribe"),
        (PNG, BadInput, "Pass it as image="),
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
    with pytest.raises(BadInput, match="at most 100,000,000"):
        kimi.chat("What is it?", file=large)
    kimi.close()
    assert server.requests == []
