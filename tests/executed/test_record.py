"""``make record``: what it says before it asks anybody, and what it leaves."""

import io
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from support import notebooks, record

from kimikit import Kimi

ASKED = "kimi.chat('Name a colour.', max_tokens=5)"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "notebooks" / "90-colours.ipynb"
    path.parent.mkdir()
    first = v4.new_code_cell("from kimikit import Kimi\n\nkimi = Kimi()")
    nbformat.write(v4.new_notebook(cells=[first, v4.new_code_cell(ASKED)]), path)
    return path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("together", "5"), "TOGETHER_API_KEY"),
        (("togehter", "5"), "togehter"),
        (("local", ""), "USD=5"),
        (("local", "-1"), "USD=5"),
        (("local", "nan"), "USD=5"),
        (("", "5"), "HOST=together"),
        (("local", "5"), "make notebooks"),
    ],
)
def test_it_refuses_before_anything_is_asked(given, said, monkeypatch, tmp_path):
    monkeypatch.setattr(record, "LOCAL", tmp_path)
    with pytest.raises(SystemExit, match=said):
        record.main(*given)


def test_a_notebook_is_priced_and_recorded(book, local_host, monkeypatch, capsys):
    kept = book.parent / "recordings" / "90-colours.kimi"
    monkeypatch.setattr(record.notebooks, "all_notebooks", lambda: [book])
    monkeypatch.setattr(record, "LOCAL", kept.parent)
    for name in ("KIMIKIT_HOST", "KIMIKIT_RECORD", record.PER_DAY):
        monkeypatch.delenv(name, raising=False)
    record.record(book, "local")
    outputs = notebooks.code_cells(nbformat.read(book, 4))[1].outputs
    assert "local stand-in, not Kimi" in str(outputs)
    answer = Kimi("replay", path=kept, speed=None, show=False).chat(
        "Name a colour.", max_tokens=5
    )
    assert repr(answer.text)[1:-1] in str(outputs)  # it may have lines

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    before = kept.read_bytes()
    with pytest.raises(SystemExit, match="Nothing was asked"):
        record.main("local", "2")
    said = capsys.readouterr().out
    assert f"90-colours  1      {answer.usage.prompt_tokens}" in said
    assert "At most $2" in said
    assert kept.read_bytes() == before
