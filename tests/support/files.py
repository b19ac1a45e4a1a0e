"""Files of several kinds, and a Kimi to ask about them."""

from support.fault_server import plain

from kimikit import Kimi
from kimikit.prompting import files
from kimikit.wire import hosts

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
MP4 = b"\0\0\0\x18ftypmp42" + bytes(20)
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(20)
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


def kimi_at(server, host="together", model="moonshotai/Kimi-K3"):
    return Kimi(
        host,
        base_url=server.url,
        api_key="k" * 20,
        model=model,
        show=False,
        max_retries=0,
    )


class TakesFiles:
    """The part of a session that puts files before a prompt."""

    def _with_files(self, prompt, file, model, host):
        if file is None:
            return prompt
        at = files.Where(hosts.resolve(host), model, None)
        return files.files(files.read(file), [at]).before(prompt, host)
