"""The lines of code that the README shows do what it says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support import files
from support.batch_host import KEY, BatchHost

from kimikit import Kimi, Sweep
from kimikit.evals import Task

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
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
