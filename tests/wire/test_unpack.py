"""Packed bodies are read whole, whatever their header says, refused by name, bounded."""

import contextlib
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import DONE, chunk, text
from support.both import Both
from support.fault_server import END, FaultServer, event, head, plain
from support.fault_server import chunk as http_chunk

from kimikit import errors
from kimikit.wire import unpack
from kimikit.wire.unpack import BadPacking, Unpacker

EVENTS = [event(value) for value in (*text("Hel", "lo"), chunk("stop"), DONE)]
HELLO = b"".join(EVENTS)
GZIP, DEFLATE, BR = (f"content-encoding: {c}" for c in ("gzip", "deflate", "br"))
MEMBERS = b"".join(map(gzip.compress, EVENTS))
RAW = zlib.compressobj(wbits=-15)
RAW_HELLO = RAW.compress(HELLO) + RAW.flush()
WHOLE: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a member for each event": (MEMBERS, (GZIP,)),
    "an empty member between": (
        gzip.compress(EVENTS[0]) + gzip.compress(b"") + gzip.compress(b"".join(EVENTS[1:])),
        (GZIP,),
    ),
    "zeros after the end": (gzip.compress(HELLO) + b"\0" * 512, (GZIP,)),
    "garbage after the end": (MEMBERS + b"trailer", (GZIP,)),
    "gzip said to be deflate": (gzip.compress(HELLO), (DEFLATE,)),
    "gzip said to be brotli": (gzip.compress(HELLO), (BR,)),
    "gzip that no header tells": (gzip.compress(HELLO), ()),
    "deflate said to be gzip": (zlib.compress(HELLO), (GZIP,)),
    "deflate with its head": (zlib.compress(HELLO), (DEFLATE,)),
    "deflate without a head": (RAW_HELLO, (DEFLATE,)),
    "plain said to be brotli": (HELLO, (BR,)),
    "x-gzip": (MEMBERS, ("content-encoding: x-gzip",)),
}  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_is_read_whole(
    name: str, size: int, server: FaultServer, both: Both
) -> None:
    data, headers = WHOLE[name]
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    server.play(head(200, *headers) + b"".join(map(http_chunk, pieces)) + END)
    reply = both.chat(server.url)
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")


@pytest.mark.parametrize("coding", [GZIP, DEFLATE])
def test_a_body_of_another_endpoint_in_two_members(
    coding: str, server: FaultServer, both: Both
) -> None:
    data = json.dumps({"data": [{"id": "kimi-k2"}]}).encode()
    packed = gzip.compress(data[:9]) + gzip.compress(data[9:])
    server.play(plain(packed, 200, coding))
    assert both.call(server.url, "models").ids == ["kimi-k2"]


@pytest.mark.parametrize(
    ("data", "header", "said"),
    [
        (b"\x28\xb5\x2f\xfd\x04\x00", "content-encoding: zstd", "zstd"),
        (b"\x8b\x02\x80Hello\x03", BR, "br"),
        (b"\x93\x01", "content-encoding: odd", "odd"),
        (HELLO, GZIP, "plain bytes where it said gzip"),
        # No time in them: bytes are a test's name, and all workers call it the same.
        (gzip.compress(HELLO, mtime=0)[:9] + b"\xff" * 99, GZIP, "damaged"),
        (gzip.compress(HELLO, mtime=0)[:-9] + b"\0" * 9, GZIP, "damaged"),
    ],
)
def test_another_packing_is_refused_by_name_and_not_paid_for_again(
    data: bytes, header: str, said: str, server: FaultServer, both: Both
) -> None:
    server.play(plain(data, 200, header))
    with pytest.raises(errors.ConnectionFailed, match=said):
        both.chat(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_bomb_is_left_early(
    stream: bool, server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "FREE", 2**20)
    bomb = gzip.compress(b'{"choices":[{"message":{"content":"' + b"a" * 2**24)
    server.play(plain(bomb, 200, GZIP))
    with pytest.raises(errors.ConnectionFailed, match="unpack to more than"):
        both.chat(server.url, stream=stream)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_bombs_elsewhere(
    status: int, server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "FREE", 2**20)
    server.play(plain(gzip.compress(b"[" * 2**24), status, GZIP))
    with pytest.raises(errors.HostError):
        both.call(server.url, "models", client={"max_retries": 0})


def test_an_error_body_is_read_only_so_far(server: FaultServer, both: Both) -> None:
    server.play(plain(b"a" * 2**22, 400))
    with pytest.raises(errors.BadRequest) as caught:
        both.chat(server.url)
    assert len(caught.value.body) <= errors.BODY_LIMIT


def test_what_packs_well_is_no_bomb() -> None:
    data = json.dumps([{"embedding": [0.123456] * 100}] * 1000).encode()
    assert Unpacker("gzip").feed(gzip.compress(data)) == data


@given(st.binary(), st.sampled_from(["gzip", "deflate", "br", "x"]), st.integers(1, 9))
def test_no_bytes_break_it(data: bytes, coding: str, size: int) -> None:
    made = Unpacker(coding)
    with contextlib.suppress(BadPacking):
        for i in range(0, len(data), size):
            assert isinstance(made.feed(data[i : i + size]), bytes)


@given(st.lists(st.binary(), min_size=1, max_size=5), st.integers(1, 50))
def test_members_cut_anywhere(parts: list[bytes], size: int) -> None:
    made, packed = Unpacker("gzip"), b"".join(map(gzip.compress, parts))
    out = [made.feed(packed[i : i + size]) for i in range(0, len(packed), size)]
    assert b"".join(out) == b"".join(parts)
