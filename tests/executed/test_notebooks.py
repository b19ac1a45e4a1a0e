"""Each notebook keeps the rules, runs from top to bottom, and replays without its host.

It runs on the local host, which is recorded; then it runs again from the recording
alone: there is no local host then, and nothing but this machine can be reached.
"""

import nbformat
import pytest
from support import notebooks, replays
from support.lab import ARTIFACTS

BOOKS = notebooks.all_notebooks()
by_name = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
LONGEST = ("16", "07", "05", "14", "08", "04", "03", "00")
"""Numbers of those that begin first, each a minute or more of the local model's work."""
in_time = pytest.mark.parametrize(
    "path",
    sorted(BOOKS, key=lambda path: (*LONGEST, path.stem[:2]).index(path.stem[:2])),
    ids=lambda path: path.stem,
)
RECORDINGS = ARTIFACTS / "recordings"


def test_there_are_notebooks():
    assert BOOKS


@by_name
def test_a_committed_notebook_keeps_the_rules(path):
    assert notebooks.faults(path) == []


@pytest.mark.notebook  # each takes its time; in `make test` a page opens the first one
@in_time
def test_a_notebook_runs_and_replays(path, local_host, monkeypatch, tmp_path):
    RECORDINGS.mkdir(exist_ok=True, parents=True)
    recording = RECORDINGS / f"{path.stem}.kimi"
    recording.unlink(missing_ok=True)
    monkeypatch.setenv("KIMIKIT_RECORD", str(recording))
    live = notebooks.execute(path, keep=ARTIFACTS / path.name)
    text = "\n".join(notebooks.output_text(c) for c in notebooks.code_cells(live))
    assert notebooks.SOURCE.search(text), "its outputs name their source"

    if not recording.exists():  # the index asks nobody
        assert path.stem == "index"
        return
    monkeypatch.delenv("KIMIKIT_RECORD")
    monkeypatch.setenv("KIMIKIT_REPLAY", str(recording))
    monkeypatch.setenv("KIMIKIT_REPLAY_SPEED", "none")
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path / "runtime"))
    monkeypatch.setenv("KIMIKIT_LEDGER", str(tmp_path / "replayed.sqlite3"))
    again = notebooks.execute(path, keep=tmp_path / path.name, offline=True)
    assert not (tmp_path / "runtime").exists(), "a local host was started"
    assert list(replays.differences(live, again)) == []
    assert "replayed" in nbformat.writes(again)
