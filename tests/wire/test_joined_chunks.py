"""Joined chunks hold the bytes that came, and what is wrong with them stays wrong."""

import itertools

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fault_server import END, chunk, head

from kimikit.wire.joined_chunks import Chunks


def received(pieces: list[bytes]) -> tuple[bytes, str]:
    """Return the body that HTTP's own reader makes of pieces, and how it ends."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    body, pieces = b"", [piece for piece in pieces if piece]
    try:
        for piece in [*pieces, b""]:
            reader.receive_data(piece)
            while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return body, f"whole, then {reader.trailing_data[0]!r}"
    except h11.RemoteProtocolError as error:
        return body, str(error)[:24]
    return body, "open"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


HEADS = (
    head(),
    b"HTTP/1.1 100 Continue\r\n\r\n" + head(),
    b"HTTP/1.1 200 OK\nTRANSFER-ENCODING:\tchunked \nx: y\n\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: 1\r\n transfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 204 No\r\ntransfer-encoding: chunked\r\n\r\n",
    b"no head\r\n\r\n",
)
ODD = (
    b"3\r\nabcXX", b"3\r\nabc\rX", b"3\r\nabc\n", b"3\r\nabc5\r\nworld\r\n",
    b"3;x=1\r\nabc\r\n", b"03\r\nabc\r\n", b"A\r\n0123456789\r\n", b"g\r\n", b"\r\n",
    b"0\r\nx: y\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", b"-1\r\n", b"123456789",
    b"3 \r\nabc\r\n", b"00000000000\r\n\r\n", b"3\r", b"3\nabc\n",
)  # fmt: skip
PARTS = st.one_of(
    st.binary(min_size=1, max_size=40).map(chunk), st.sampled_from([*ODD, END])
)


@given(
    st.sampled_from(HEADS),
    st.lists(PARTS, max_size=8),
    st.lists(st.integers(0, 2**16), max_size=12),
)
def test_http_reads_them_as_it_reads_what_came(
    top: bytes, parts: list[bytes], places: list[int]
) -> None:
    pieces = cut(top + b"".join(parts), places)
    chunks = Chunks()
    joined = [*map(chunks.feed, pieces), chunks.finish()]
    assert received(joined) == received(pieces)


def test_what_came_together_is_one_chunk_and_is_never_held_back() -> None:
    chunks = Chunks()
    assert chunks.feed(head()) == head()
    assert (
        chunks.feed(chunk(b"a") * 300 + b"5\r\nHel") == chunk(b"a" * 300 + b"Hel")[:-2]
    )
    assert chunks.feed(b"l") == b"\r\n1\r\nl"
    assert chunks.feed(b"o\r\n" + END) == b"\r\n1\r\no\r\n" + END


@pytest.mark.parametrize("size", [1, 7])
def test_a_head_and_sizes_in_small_pieces(size: int) -> None:
    sent = head() + chunk(b"x" * 300) + chunk(b"y") + END
    chunks = Chunks()
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert received([*map(chunks.feed, pieces)]) == (
        b"x" * 300 + b"y",
        "whole, then b''",
    )


def test_an_endless_head_is_left_to_http() -> None:
    chunks = Chunks()
    line = b"x: y\r\n" * 999
    for _ in range(99):
        assert chunks.feed(line) == line
