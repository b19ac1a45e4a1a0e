"""``kimikit recording``: what it shows, and what is left in what it makes."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from replay.test_file import HOST, answer, question
from support.answers import DONE, chunk, text
from support.fault_server import CLOSE, FaultServer, plain, sse

from kimikit import Kimi
from kimikit.cli import main
from kimikit.replay import RecordingFile
from kimikit.testing import replay

SECRET = "Project Nightingale"


def record(server: FaultServer, path: Path, *questions: str) -> None:
    kimi = Kimi("mine", base_url=server.url, model="m", api_key="k", record=path,
                show=False, max_retries=0)  # fmt: skip
    for asked in questions:
        kimi.chat(asked)
    kimi.close()


@pytest.fixture
def lesson(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("KIMIKIT_RECORDED_BY", "Ada")
    for said in ("one", "two", "three"):
        server.play(sse(*text(said), chunk("stop"), DONE))
    server.play(sse(*text("About Project Night", "ingale."), chunk("stop"), DONE))
    server.play(sse(*text("cut")), CLOSE)
    path = tmp_path / "lesson.kimi"
    record(server, path, "a", "a", "b", f"What is {SECRET}?", "c")
    return path


def said(path: Path) -> list[str]:
    raw = [b"".join(p for _, p in row[2].pieces).decode() for row in
           RecordingFile(path).rows()]  # fmt: skip
    return [row[1].body + answer for row, answer in
            zip(RecordingFile(path).rows(), raw, strict=True)]  # fmt: skip


def run(*words: object) -> None:
    assert main(["recording", *map(str, words)]) == 0


def test_show_says_who_recorded_what_and_when(
    lesson: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("show", lesson, "--most", 3)
    shown = capsys.readouterr().out
    assert "Recorded by Ada." in shown
    assert "5 answers to 4 questions, recorded 20" in shown
    assert "from mine" in shown
    assert "1 more: --most 4" in shown
    assert shown.index(" a\n") < shown.index(" b\n")


def test_show_says_of_a_script_that_it_is_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.toml"
    path.write_text("title='T'\n[[turn]]\nuser='x'\n[[turn]]\ncalls=[{f={a=1}}]")
    run("show", path)
    assert "T · scripted, not a model" in (shown := capsys.readouterr().out)
    assert 'calls f({"a": 1})' in shown


def test_trim_keeps_a_part(lesson: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.kimi"
    run("trim", lesson, "--to", new, "--repeats", 1, "--good")
    assert RecordingFile(new).size()[:2] == (3, 3)
    run("trim", lesson, "--to", tmp_path / "b.kimi", "--containing", '"b"')
    assert RecordingFile(tmp_path / "b.kimi").size()[:2] == (1, 1)


@pytest.mark.parametrize(("good", "left"), [([], "0"), (["--good"], "1")])
def test_trim_keeps_the_answers_that_were_asked_first(
    tmp_path: Path, good: list[str], left: str
) -> None:
    path, new = tmp_path / "x.kimi", tmp_path / "new.kimi"
    file = RecordingFile(path, new=True)
    for asked in (3, 1, 2):
        file.add(question(), answer(f"{asked}", asked), HOST, {})
    cut = msgspec.structs.replace(answer("0", 0.5), good=False)
    file.add(question(), cut, HOST, {})
    file.close()
    run("trim", path, "--to", new, "--repeats", 1, *good)
    found = RecordingFile(new).find(question(), 0, good=False)
    assert found is not None
    assert found.pieces[0][1].decode() == left


def test_redact_hides_a_word_spread_over_a_stream(lesson: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.kimi"
    run("redact", lesson, SECRET, "--to", new)
    assert not any("Nightingale" in each or "ingale" in each for each in said(new))
    assert SECRET.encode() not in new.read_bytes()
    again = Kimi("replay", path=new, speed=None, show=False)
    assert again.chat("a").text == "one"
    assert again.chat("What is ***?").text == f"About {'*' * len(SECRET)}."


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("word", ["Müller", "王伟", 'Ann "Q" Bell', "Mu\u0308ller"])
def test_redact_hides_a_word_however_it_is_written(
    word: str, *, escaped: bool, server: FaultServer, tmp_path: Path
) -> None:
    path, new = tmp_path / "x.kimi", tmp_path / "new.kimi"
    arguments = json.dumps({"who": word})
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    message = {"role": "assistant", "content": f"{word} is here", "tool_calls": [call]}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "model": "m"}
    server.play(plain(json.dumps(answer, ensure_ascii=escaped).encode()))
    server.play(sse(*text(f"{word}?"), chunk("stop"), DONE))
    kimi = Kimi("mine", base_url=server.url, model="m", api_key="k", record=path)
    kimi.chat(f"Is {word} here?", stream=False)
    kimi.chat(f"Who is {word}?")
    kimi.close()
    run("redact", path, word, "--to", new)
    again = Kimi("replay", path=new, speed=None, show=False)
    hidden = again.chat("Is *** here?", stream=False)
    assert re.fullmatch(r"\*{3,} is here", hidden.text)
    assert set(json.loads(hidden.tool_calls[0].arguments)["who"]) == {"*"}
    assert re.fullmatch(r"\*{3,}\?", again.chat("Who is ***?").text)


@pytest.mark.parametrize("word", ["Nightingale", "127.0.0.1", "mine"])
def test_redact_hides_a_word_in_hosts_and_prices_too(
    word: str, lesson: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.kimi"
    run("redact", lesson, word, "--to", new)
    assert word.encode() not in new.read_bytes()
    again = Kimi("replay", path=new, speed=None, show=False)
    assert again.chat("b").text == "three"


@pytest.mark.parametrize("word", ["model", "e", "*", "tool_call", '"'])
def test_redact_refuses_what_all_requests_are_made_of(
    word: str, lesson: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["recording", "redact", str(lesson), word, "--to", str(tmp_path / "n")]
    assert main(told) == 1
    assert "is a part of how" in capsys.readouterr().err


def test_redact_of_a_number_leaves_no_broken_json_and_no_file(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, new = tmp_path / "x.kimi", tmp_path / "new.kimi"
    server.play(sse(*text("1764"), {**chunk("stop"), "created": 17641764}, DONE))
    record(server, path, "my number")
    told = ["recording", "redact", str(path), "1764", "--to", str(new)]
    assert main(told) == 1
    assert "no stars can stand" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir() if "ledger" not in p.name] == ["x.kimi"]


@pytest.mark.parametrize("count", ["-1", "0"])
def test_a_count_that_is_none_is_refused(
    count: str, lesson: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["trim", str(lesson), "--to", str(tmp_path / "n"), "--repeats", count]
    assert main(["recording", *told]) == 1
    assert "whole number from 1" in capsys.readouterr().err


def test_merge_keeps_answers_asked_in_one_tick_of_a_clock(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.kimi", "b.kimi")]
    for path in files:
        file = RecordingFile(path, new=True)
        for said in ("one", "two"):
            file.add(question(), answer(said), HOST, {})
        file.close()
    run("merge", *files, "--to", tmp_path / "new.kimi")
    assert RecordingFile(tmp_path / "new.kimi").size()[:2] == (1, 2)


def test_merge_takes_each_answer_once(
    lesson: Path, server: FaultServer, tmp_path: Path
) -> None:
    other, new = tmp_path / "other.kimi", tmp_path / "new.kimi"
    other.write_bytes(lesson.read_bytes())
    record(server, other, "d")
    run("merge", lesson, other, "--to", new)
    assert RecordingFile(new).size()[:2] == (5, 6)
    assert "Recorded by Ada." in RecordingFile(new).readme()


@pytest.mark.parametrize("verb", [["trim"], ["redact", "xyz"], ["merge"]])
def test_a_file_that_is_there_is_left(
    verb: list[str], lesson: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lesson.read_bytes()
    name, *words = verb
    told = ["recording", name, str(lesson), *words, "--to", str(lesson)]
    assert main(told) == 1
    assert "is there already" in capsys.readouterr().err
    assert lesson.read_bytes() == before


kimi = replay(Path(__file__).parent / "answers.toml")


def test_the_fixture_answers_from_a_file(kimi: Kimi) -> None:
    assert kimi.chat("Summarise it.").text == "Lagos is warm."


def test_each_test_begins_anew(kimi: Kimi) -> None:
    assert kimi.chat("Summarise it.").text == "Lagos is warm."
