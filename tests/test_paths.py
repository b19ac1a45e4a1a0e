"""A name that no file can have is refused before anything is done, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from kimikit import Kimi, Sweep
from kimikit.errors import BadInput
from kimikit.paths import path_of, taking_place, writing
from kimikit.prompting.conversation import Conversation
from kimikit.replay.commands import show
from kimikit.types import Reply
from kimikit.verify.findings import Verification
from kimikit.wire.results import Picture

ANSWER = {
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "blue"},
            "finish_reason": "stop",
        }
    ]
}
NAMES = ["a" * 5_000, "a\0b", "a\ud800", "=x " * 2_000]

TAKERS: dict[str, Callable[[Any, Any, Any], object]] = {
    "path_of": lambda kimi, sweep, path: path_of(path),
    "replay": lambda kimi, sweep, path: Kimi("replay", path=path),
    "record": lambda kimi, sweep, path: kimi.record(path).__enter__(),
    "show": lambda kimi, sweep, path: show(path),
    "from_results": lambda kimi, sweep, path: Sweep.from_results(path),
    "from_batch_file": lambda kimi, sweep, path: Sweep.from_batch_file(path, path),
    "to_batch_file": lambda kimi, sweep, path: sweep.to_batch_file(path),
    "to_csv": lambda kimi, sweep, path: sweep.to_csv(path),
    "to_parquet": lambda kimi, sweep, path: sweep.to_parquet(path),
    "results": lambda kimi, sweep, path: kimi.sweep("q", temperature=[0], results=path),
    "export": lambda kimi, sweep, path: kimi.ledger.export("jsonl", path),
    "save": lambda kimi, sweep, path: kimi.conversation().save(path),
    "load": lambda kimi, sweep, path: Conversation.load(path, kimi),
    "picture": lambda kimi, sweep, path: Picture(data=b"x", reply=Reply()).save(path),
    "verification": lambda kimi, sweep, path: Verification(
        findings=(), models={}
    ).to_json(path),
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kimi = Kimi(
        "mine", base_url="http://x/v1", api_key="k", model="m", show=False,
        ledger=tmp_path_factory.mktemp("ledger") / "l.sqlite",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER)),
    )  # fmt: skip
    yield kimi, kimi.sweep("q", temperature=[0, 1], repeats=1, progress=False)
    kimi.close()


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("name", NAMES, ids=["long", "NUL", "half", "words"])
def test_what_is_no_name_of_a_file_is_refused(
    taker: str, name: str, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as caught:
        TAKERS[taker](*asked, name)
    assert len(str(caught.value)) < 600
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", "missing/file", "file/file"])
def test_a_place_that_cannot_be_written_is_told(
    place: str, asked: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for taker in ("save", "picture", "verification", "to_csv"):
        with pytest.raises(BadInput, match="cannot be written"):
            TAKERS[taker](*asked, tmp_path / place)


def test_a_link_that_goes_in_a_circle_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BadInput, match="no path of a file"):
        path_of(tmp_path / "loop")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev")
@pytest.mark.parametrize("name", ["image", "file"])
@pytest.mark.parametrize("endless", [True, False])
def test_a_file_without_an_end_is_not_read_for_ever(name, endless, tmp_path):
    """A device has a size of 0; a sparse file takes no place on the disk."""
    path = Path("/dev/zero")
    if not endless:
        path = tmp_path / "large"
        with path.open("wb") as file:
            file.truncate(100_000_001)
    kimi = Kimi("together", api_key="k", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(BadInput, match="has more than 100,000,000 bytes"):
        kimi.chat("?", **{name: path})


def write(path: Path, text: str) -> None:
    with writing(path) as fresh:
        fresh.write_text(text)


def test_threads_that_write_one_file_leave_what_one_of_them_wrote(tmp_path: Path):
    target, texts = tmp_path / "x.json", [letter * 100_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:  # raises what a thread raised
        for _ in pool.map(lambda text: write(target, text), texts * 20):
            pass
    assert target.read_text() in texts
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["写" * 84, "é" * 125 + ".txt", "x" * 255])
def test_a_file_is_written_under_any_name_that_a_disk_takes(tmp_path: Path, name: str):
    write(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole"


def test_a_link_is_followed_and_rights_and_devices_stay(tmp_path: Path):
    target, link = tmp_path / "x", tmp_path / "link"
    target.write_text("before")
    target.chmod(0o600)
    link.symlink_to(target)
    write(link, "after")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("after", 0o600)
    assert link.is_symlink()
    write(Path("/dev/null"), "gone")
    with pytest.raises(BadInput, match="cannot be written"):
        write(tmp_path, "no file")


@pytest.mark.parametrize("how", ["csv", "jsonl", "parquet"])
def test_an_export_that_ends_early_leaves_the_last_one(how: str, tmp_path: Path):
    kimi = Kimi("together", api_key="k", ledger=tmp_path / "ledger.db")
    path, ledger = tmp_path / "out", kimi.ledger
    ledger.export(how, path)
    before = path.read_bytes()
    ledger.flat = lambda: (1 / 0 for _ in range(1))
    with pytest.raises(ZeroDivisionError):
        ledger.export(how, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.glob("*out*")) == ["out"]


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_file_whose_writing_ended_early_is_as_before(tmp_path: Path, fault: type):
    target = tmp_path / "x"
    target.write_text("before")

    def cut() -> None:
        with taking_place(target) as fresh:
            fresh.write_text("ha")
            raise fault

    with pytest.raises(fault):
        cut()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
