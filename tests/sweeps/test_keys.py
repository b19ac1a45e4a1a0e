"""What makes a request the same: an answer is bought once, and another question anew."""

import os
import shutil
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.made_by_0_3_0 import work
from support.sweeps import ColourHost, FakeClient

from kimikit import Kimi
from kimikit.errors import BadInput
from kimikit.money.ledger import Ledger
from kimikit.prompting import map_reduce, vote
from kimikit.sweeps import sweep
from kimikit.types import Host

OLD = Path(__file__).parent.parent / "data"


def png(colour: tuple[int, int, int]) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" + bytes(colour)))
    return b"\x89PNG\r\n\x1a\n" + body + part(b"IEND", b"")


@pytest.fixture
def at(tmp_path):
    """Make a ``Kimi`` of a host at an address, all with one ledger."""

    def make(host: ColourHost, name: str = "vllm", **options: Any) -> Kimi:
        given = {"base_url": host.base_url, "api_key": "k", "model": "m", **options}
        return Kimi(name, ledger=tmp_path / "ledger.sqlite3", show=False, **given)

    return make


@pytest.mark.parametrize("name", ["vllm", "mine"])
def test_another_address_under_one_name_is_asked_and_the_first_is_not_again(at, name):
    asked = {"repeats": 2, "name": "compare", "progress": False}
    with ColourHost("obeys").running() as one, ColourHost("obeys").running() as two:
        at(one, name).sweep("q", **asked)
        at(two, name).sweep("q", **asked)
        assert (len(one.requests), len(two.requests)) == (2, 2)
        at(one, name).sweep("q", **asked)
        at(two, name).sweep("q", **asked)
    assert (len(one.requests), len(two.requests)) == (2, 2)


def test_another_address_is_asked_by_votes_and_map_reduce_too(at):
    def ask(kimi: Kimi) -> None:
        quiet = {"progress": False, "store": kimi.ledger}
        vote(kimi.client, "What colour?", 2, name="v", **quiet)
        map_reduce(kimi.client, ["It rained."], "Why?", name="m", **quiet)

    with ColourHost("obeys").running() as one, ColourHost("obeys").running() as two:
        for host in (one, two, one, two):
            ask(at(host))
    assert (len(one.requests), len(two.requests)) == (4, 4)


@pytest.mark.parametrize("changed", ["max_tokens", "top_p", "model"])
def test_another_default_is_another_question(at, changed):
    with ColourHost("obeys").running() as host:
        for value in ("a", "b") if changed == "model" else (10, 20):
            given = value if changed != "top_p" else value / 100
            kimi = at(host, **{changed: given})
            kimi.sweep("q", repeats=1, name="d", progress=False)
    assert len(host.requests) == 2


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("several", [False, True])
def test_a_picture_that_changed_is_another_question(at, tmp_path, kind, several):
    chart, other = tmp_path / "chart.png", tmp_path / "other.png"
    other.write_bytes(png((9, 9, 9)))
    image: Any = kind(chart)
    image = [[kind(other), image]] if several else image
    asked = {"image": image, "repeats": 2, "name": "c", "progress": False}
    with ColourHost("obeys").running() as host:
        kimi = at(host)
        for colour in ((255, 0, 0), (0, 0, 255), (255, 0, 0)):
            chart.write_bytes(png(colour))
            kimi.sweep("What colour?", **asked)
        assert len(host.requests) == 4  # the first picture's answers are kept
        sent = host.requests[-1]["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["text"] + ["image_url"] * (1 + several)
    assert all(part["image_url"]["url"].startswith("data:") for part in sent[1:])


def test_pictures_are_an_axis_by_path_or_by_their_bytes(tmp_path):
    chart = tmp_path / "chart.png"
    chart.write_bytes(png((1, 2, 3)))
    pictures = [str(chart), png((4, 5, 6)), "https://pictures.test/a.png"]
    fake = FakeClient(lambda prompt, **params: params["image"][:9])
    found = sweep(lambda _: fake, "What?", image=pictures, repeats=1, progress=False)
    first, second, third = found.axes["image"]
    assert (first, third) == (str(chart), pictures[2])
    assert second.startswith("picture #")
    assert [reply.text for reply in found.replies] == [
        "data:imag", "data:imag", "https://p",
    ]  # fmt: skip
    with pytest.raises(BadInput, match="twice"):
        sweep(lambda _: fake, "What?", image=[png((1, 2, 3))] * 2, progress=False)


def test_a_picture_that_is_not_there_costs_nothing(tmp_path):
    fake = FakeClient()
    with pytest.raises(BadInput, match="cannot be read"):
        sweep(lambda _: fake, "What?", image=tmp_path / "none.png", progress=False)
    assert fake.asked == []


def test_a_vote_on_a_picture_that_changed_is_asked_anew(at, tmp_path):
    chart = tmp_path / "chart.png"
    with ColourHost("obeys").running() as host:
        kimi = at(host)
        for colour in ((255, 0, 0), (0, 0, 255), (0, 0, 255)):
            chart.write_bytes(png(colour))
            options = {"image": str(chart), "name": "v", "progress": False}
            vote(kimi.client, "What colour?", 2, store=kimi.ledger, **options)
    assert len(host.requests) == 4


def test_tools_described_otherwise_are_other_questions_and_points(at):
    def tool(text: str) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {}}
        about = {"name": "find", "description": text, "parameters": parameters}
        return {"type": "function", "function": about}

    asked = {"repeats": 1, "name": "t", "progress": False}
    with ColourHost("obeys").running() as host:
        kimi = at(host)
        both = [[tool("Finds.")], [tool("Finds a town.")]]
        found = kimi.sweep("q", tools=both, **asked)
        assert len(host.requests) == 2
        assert len(set(found.axes["tools"])) == 2
        assert all(label.startswith("find #") for label in found.axes["tools"])
        kimi.sweep("q", tools=both, **asked)
        assert len(host.requests) == 2


def test_another_patience_buys_nothing_again():
    host = Host(name="fake", base_url="https://fake.test", model="m")
    fake = FakeClient(host=host)
    keys = set()
    for patience in (10, 20):
        sweep(lambda _: fake, "q", repeats=1, name=None, timeout=patience,
              progress=False)  # fmt: skip
        keys.add(fake.asked[-1]["meta"]["key"].split("/")[3:][0])
    assert len(keys) == 1


@pytest.fixture
def old_ledger(tmp_path):
    return Path(shutil.copy(OLD / "ledger_0_3_0.sqlite3", tmp_path))


def test_what_0_3_0_paid_for_is_not_bought_again(old_ledger):
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400, json={"error": {"message": "asked again"}})

    colours, tools, own, digest, votes = work(old_ledger, refuse)
    assert asked == []
    assert [len(some.replies) for some in (colours, tools, own)] == [12, 2, 4]
    assert all(trial.stored for trial in colours.trials)
    assert digest.reused == 3
    assert len(votes.replies) == 3
    # That name has no profile, so the key says which host but not where it was.
    assert any("0.3.0" in note for note in own.notes)
    assert not any("0.3.0" in note for note in colours.notes)


def test_a_profile_at_another_address_is_not_what_0_3_0_asked(old_ledger):
    with ColourHost("obeys").running() as host:
        kimi = Kimi("together", model="moonshotai/Kimi-K2-Instruct", api_key="k",
                    base_url=host.base_url, ledger=old_ledger, max_tokens=50,
                    top_p=0.9, show=False)  # fmt: skip
        prompts = ["Name a colour.", "Name a fruit."]
        kimi.sweep(prompts, temperature=[0, 0.5, 1.0], system="Be brief.", repeats=2,
                   name="colours", progress=False)  # fmt: skip
    assert len(host.requests) == 12


def test_an_old_answer_on_a_file_holds_until_the_file_is_written(tmp_path):
    chart = tmp_path / "chart.png"
    chart.write_bytes(png((1, 1, 1)))
    long_ago = time.time() - 1000
    os.utime(chart, (long_ago, long_ago))
    ledger = Ledger(tmp_path / "l.sqlite3")
    host = Host(name="together", base_url="https://api.together.xyz/v1", model="m")
    fake = FakeClient(host=host)
    asked = {"image": str(chart), "repeats": 1, "name": "c", "progress": False}

    class Old:
        """A store that holds the answer under the key that 0.3.0 made."""

        def answers(self, prefix: str) -> dict[str, Any]:
            from support.sweeps import reply

            from kimikit.json_values import digest
            from kimikit.sweeps.grid import make_grid

            grid = make_grid("What?", 1, {"image": str(chart)}).fingerprint()
            cell = digest("together", "m", {"prompt": "What?", "image": str(chart)})
            key = f"{prefix}0/{grid}/{cell}/0"
            return {key: reply("red", created=long_ago + 500)}

        def failed(self, prefix: str) -> set[str]:
            return set()

    found = sweep(lambda _: fake, "What?", store=Old(), **asked)
    assert [r.text for r in found.replies] == ["red"]
    assert fake.asked == []
    chart.write_bytes(png((2, 2, 2)))
    sweep(lambda _: fake, "What?", store=Old(), **asked)
    assert len(fake.asked) == 1
    ledger.close()
