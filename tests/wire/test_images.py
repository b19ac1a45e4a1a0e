"""What is given as ``image=`` is read by its content, and refused in a short message."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit import errors
from kimikit.wire.media import image_kind, image_url

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
GIF = b"GIF89a" + bytes(40)
WEBP = b"RIFF\x2c\0\0\0WEBPVP8 " + bytes(40)


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("data", "kind"),
    [(PNG, "png"), (JPEG, "jpeg"), (GIF, "gif"), (WEBP, "webp")],
)
def test_a_picture_in_any_form(data: bytes, kind: str, tmp_path: Path) -> None:
    want, text = data_url(f"image/{kind}", data), base64.b64encode(data).decode()
    file = tmp_path / "picture.dat"
    file.write_bytes(data)
    lines = "\n".join(text[i : i + 20] for i in range(0, len(text), 20))
    given_: list[Any] = [data, bytearray(data), memoryview(data), file, str(file)]
    given_ += [text, f" {text}\n", lines, data_url("image/bmp", data), want]
    for each in given_:
        assert image_url(each) == want


@pytest.mark.parametrize(
    "url", ["https://x/a.png", "ms://file-1", "data:video/mp4;base64,AA"]
)
def test_addresses_stay_as_they_are(url: str) -> None:
    assert image_url(url) == url


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7" + bytes(99), "a PDF document"),
        (b"<svg xmlns='x'>", "an SVG drawing"),
        (b"<?xml version='1'?>\n<svg>", "an SVG drawing"),
        (b"<!doctype html>", "HTML"),
        (b"BM" + bytes(99), "a BMP picture"),
        (b"II*\0" + bytes(99), "a TIFF picture"),
        (b"\0\0\0\x18ftypheic" + bytes(9), "a HEIC picture"),
        (b"\0\0\0\x18ftypisom" + bytes(9), "a video"),
        (b"PK\x03\x04" + bytes(9), "a ZIP archive"),
        (b"RIFF\x2c\0\0\0WAVEfmt ", "unknown"),
        (b'{"a": 1}', "JSON"),
        (b"", "empty"),
    ],
)
def test_another_kind_of_file_is_named(data: bytes, said: str) -> None:
    with pytest.raises(errors.BadInput, match=f"no PNG, JPEG, GIF or WebP but {said}"):
        image_url(data)


@pytest.mark.parametrize(
    "given_",
    ["A" * 100_000, "no/such/" + "x" * 5000, "a\0b", "~nobody-here/x.png", "", "x" * 32,
     base64.b64encode(b"%PDF-1.7" * 1000).decode()],
)  # fmt: skip
def test_no_message_holds_what_was_given_whole(given_: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        image_url(given_)
    assert len(str(caught.value)) < 300


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none()))
def test_nothing_else_breaks_it(given_: Any) -> None:
    try:
        assert isinstance(image_url(given_), str)
    except errors.BadInput:
        assert not isinstance(given_, bytes) or not image_kind(given_)
