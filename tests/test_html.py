"""What every view is made of stays within bounds, whatever it is made from."""

import pytest

from kimikit import html
from kimikit.display.renderable import Table
from kimikit.errors import BadInput, HostError, KimiWarning, warn
from kimikit.prompting.documents import Part, check_citations
from kimikit.prompting.tree import Branch, Tree, Turn
from kimikit.types import Reply
from kimikit.wire.results import Models


def test_a_long_cell_opens_to_a_part_that_says_what_is_missing() -> None:
    cell = html.opening("word " * 100_000, 48)
    assert isinstance(cell, html.Cell)
    assert len(cell.text) <= 48
    assert "more characters" in cell.rich
    assert len(cell.rich) < 2 * html.TEXT_SHOWN
    assert html.opening("a  b\nc", 48) == "a b c"


def test_a_tree_and_citations_of_long_texts_are_bounded() -> None:
    said = [{"role": "user", "content": "x " * 200_000}]
    answer = {"role": "assistant", "content": "<b>" * 100_000}
    tree = Tree(
        turns=[Turn(asked=said, answer=answer)], branches={"main": Branch(None, {}, 0)}
    )
    parts = [Part(1, "t" * 500_000, "y " * 300_000, 5)]
    for found in (tree, check_citations("[1]", parts)):
        assert len(found._repr_html_()) < 60_000
        assert len(repr(found)) < 20_000
        assert len(found.to_markdown()) < 120_000


def test_a_table_of_many_rows_says_how_many_are_left_out() -> None:
    table = Table(["a", "b"], [[n, "x" * 300] for n in range(5_000)])
    assert "990 more rows, 4,000 more are left out" in table.rich
    assert table.text.endswith("4,000 more are left out")
    assert "4,000 more are left out" in table.markdown.replace("&#44;", ",")
    assert len(table.rich.split("<tr>")) < 1_010


def test_one_wide_cell_does_not_widen_all_rows() -> None:
    rows = [["x" * 100_000], *[["y"]] * 999]
    assert len(html.text_table(["a"], rows)) < 20_000


def test_a_warning_and_a_line_of_json_carry_no_escapes() -> None:
    import json
    import warnings

    from kimikit import Reply
    from kimikit.cli.ask import as_json
    from kimikit.errors import warn
    from kimikit.notebook.next_cell import cell
    from kimikit.types import ToolCall

    bad = "\x1b]0;x\x07 \x9b31m \u202e"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn(f"The server {bad} has gone.")
    call = ToolCall(bad, bad, json.dumps({"a": bad}, ensure_ascii=False))
    line = as_json(
        Reply(text=bad, model=bad, host=bad, notes=(bad,), tool_calls=(call,))
    )
    for shown in (str(said[0].message), line):
        assert not [c for c in shown if not c.isprintable()]
    assert json.loads(line)["text"] == " 31m "
    assert cell("~~~python\nok = 1 \u202e# x\u2066\n~~~") == "ok = 1 # x"


@pytest.mark.parametrize("width", [20, 40])
def test_what_is_to_be_copied_stays_whole(width):
    whole = "'semantic-text-splitter>=0.24'", "/tmp/a-long-folder/of-many-parts/x.db"
    text = f"write: pip install {whole[0]}, then look into {whole[1]} for what it did"
    lines = html.filled(text, width, indent=4).split("\n")
    assert all(any(each in line for line in lines) for each in whole)
    assert all(line.startswith("    ") for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == text


@pytest.mark.parametrize(
    "part", ["x" * 100_000, "a · " * 50_000, "a · " + "x" * 100_000]
)
def test_a_footer_is_a_line_whatever_it_is_made_of(part: str) -> None:
    line = html.footer_line([part, "$0.10"])
    assert len(line) < 2_000
    assert "…" in line


@pytest.mark.parametrize(
    "name", ["m · 1 -> 1 tokens · $0.00", "m·$0.00", "m\n·\n$0.00 ·"]
)
def test_a_name_passes_for_no_other_part_of_a_footer(name: str) -> None:
    plain = Reply(model="m", host="h").footer().count("·")
    assert Reply(model=name, host=name).footer().count("·") == plain
    shown = Models(ids=[name], raw={}, reply=Reply(host=name, created=1.0))
    assert shown._parts()[2].count("·") == 1


@pytest.mark.parametrize("created", [1e300, -1e300, float("nan"), float("inf"), 1e17])
def test_an_answer_of_no_day_is_shown(created: float) -> None:
    reply = Reply(text="blue", created=created, model="m")
    for shown in (repr(reply), reply._repr_html_(), reply.to_markdown()):
        assert "blue" in shown
        assert "unknown day" in shown.replace("&#32;", " ")


@pytest.mark.parametrize("kind", [BadInput, HostError])
def test_an_error_is_as_long_as_can_be_read(kind: type) -> None:
    error = kind("a column " * 100_000, "Say with answer= " * 100_000)
    for shown in (str(error), error._repr_html_(), "".join(error._render_traceback_())):
        assert "more characters" in shown
        assert len(shown) < 3 * html.TEXT_SHOWN
    with pytest.warns(KimiWarning) as caught:
        warn("a tool " * 100_000)
    assert len(str(caught[0].message)) < 2 * html.TEXT_SHOWN


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\n\n"])
def test_no_cell_of_a_plain_table_makes_a_row(end: str) -> None:
    rows = [[f"bad{end}total", 1], [html.Cell(f"a{end}b", ""), 2]]
    table = html.text_table([f"na{end}me", "n"], rows)
    assert len(table.splitlines()) == 4
    assert [line.split()[-1] for line in table.splitlines()[2:]] == ["1", "2"]
