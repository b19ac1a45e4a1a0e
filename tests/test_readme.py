"""The lines of code that the README shows do what it says of them."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import files
from support.batch_host import KEY, BatchHost

from kimikit import Kimi, Sweep, __version__
from kimikit.cli import parser
from kimikit.evals import Task
from kimikit.runner.jobs import Job
from kimikit.tools.samples import python

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
BLOCKS = [code for language, code in FENCES if language in ("", "py")]
ELSEWHERE = {
    "from distributed": "tests/runner/test_cluster.py asks by workers of its own",
    "kimikit.testing": "tests/replay has tests that use the fixture",
}


def said(prompt: str) -> str:
    return str(len(prompt))


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the README's lines find: a host in place of Kimi's, and files of their names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.pdf").write_bytes(files.pdf("Lagos is large."))
    rows = [f"What is {n} + 1?,{n + 1}" for n in range(6)]
    (tmp_path / "set.csv").write_text("\n".join(["question,answer", *rows]))
    (tmp_path / "story.toml").write_text(
        '[[turn]]\nuser = "Hi"\n[[turn]]\nassistant = "Hello."\n', encoding="utf-8"
    )
    (tmp_path / "batches").mkdir()
    with BatchHost(tmp_path / "batches", said) as host:
        address = {"base_url": host.url, "api_key": KEY, "model": "m"}

        def make(name: str = "", **own: Any) -> Kimi:
            return Kimi(name, **own) if name == "replay" else Kimi(**address, **own)

        make(record="lesson.kimi", show=False).chat("Hi")
        kimi = make(show=False)
        prompts = ["one", "two"]
        yield {
            "Kimi": make,
            "Sweep": Sweep,
            "Task": Task,
            "kimi": kimi,
            "other": make(show=False),
            "prompts": prompts,
            "reply": kimi.chat("Hi"),
            "sweep": kimi.sweep(prompts, temperature=[0, 1], repeats=2),
            "right": lambda reply: True,
            "frame": pd.DataFrame({"text": ["Tea"], "language": ["French"]}),
        }


def made_small(code: str) -> str:
    """Put hosts of this test where Kimi's are named, and few answers for thousands."""
    code = code.replace("repeats=1000", "repeats=2")
    code = code.replace('"together", "novita"', 'kimi, other, ["Hi"]')
    return code.replace('["novita"]', '{"novita": other}')


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_line_of_code_in_the_readme_runs(
    number: int, known: dict[str, Any]
) -> None:
    code = BLOCKS[number]
    for part, why in ELSEWHERE.items():
        if part in code:
            assert compile(code, "README.md", "exec"), why
            return
    exec(compile(made_small(code), "README.md", "exec"), known)


def test_no_block_of_code_escapes_the_tests() -> None:
    """``python`` and ``sh`` are run or looked up in ``test_package.py``."""
    assert {language for language, _ in FENCES} == {"", "py", "python", "sh", "bibtex"}
    (cited,) = (code for language, code in FENCES if language == "bibtex")
    assert f"version = {{{__version__}}}" in cited


def spans() -> list[str]:
    """Return what stands between backticks in the running text and in tables."""
    text = re.sub(r"^```.*?^```$", "", README, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", text)]


def test_every_call_in_the_running_text_is_one_that_there_is(
    known: dict[str, Any],
) -> None:
    """Each name is looked up, and the arguments are held against its signature."""
    own = {"Kimi": Kimi, "job": Job, "python": python}
    names = {name: getattr(Sweep, name) for name in dir(Sweep)} | known | own
    checked = 0
    for span in spans():
        code = re.sub(r"^with (.*):$", r"\1", span)
        code = f"sweep{code}" if re.match(r"\.\w+\(", code) else code
        name, bracket, _ = code.partition("(")
        root = name.split(".")[0]
        if not re.fullmatch(r"[\w.]+", name) or not (bracket or "." in name):
            continue
        if root not in names:
            assert not bracket or root in ("fn", "help", "plt"), span
            continue
        found = eval(name, {}, names)
        if bracket:
            call = ast.parse(code, mode="eval").body
            assert isinstance(call, ast.Call)
            given = [None for arg in call.args if ast.unparse(arg) != "..."]
            named = {str(keyword.arg): None for keyword in call.keywords}
            inspect.signature(found).bind_partial(*given, **named)
        checked += 1
    assert checked > 30


def test_every_command_in_the_running_text_is_one_that_there_is() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    checked = 0
    for span in spans():
        code = span.replace("\\|", "|").split("| ")[-1]
        match (
            shlex.split(code) if re.match(r"(make|kimikit|python|pip) ", code) else []
        ):
            case ["make", *words]:
                wanted = [rf"(?m)^{word.split('=')[0]}( \?=|:)" for word in words]
                assert all(re.search(each, makefile) for each in wanted), span
            case ["kimikit", *words]:
                value = ["URL"] if words[-1].startswith("--") else []
                parser().parse_args([*words, *value])
            case ["python", path, *_]:
                assert (ROOT / path).exists(), span
            case ["pip", "install", what]:
                wanted = re.findall(r"\w+", what.partition("[")[2])
                assert {*wanted} <= {*extras["optional-dependencies"]}, span
            case []:
                continue
            case _:
                raise AssertionError(span)
        checked += 1
    assert checked > 20
