"""Parts follow a document's structure, and citations are looked up."""

import builtins
import os.path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.prompting import FakeClient

from kimikit.errors import BadInput, MissingDependency
from kimikit.prompting import brief, check_citations, split
from kimikit.prompting.history import estimate_tokens

REPORT = "\n\n".join(
    f"## Section {i}\n\n{'The pump ran without a fault. ' * 20}" for i in range(4)
)


def test_a_short_document_is_one_part():
    (part,) = split("A short text.")
    assert (part.number, part.title, part.text) == (1, "document 1", "A short text.")


def test_a_long_one_is_cut_at_its_headings():
    parts = split(REPORT, part_tokens=200)
    assert [part.text.splitlines()[0] for part in parts] == [
        f"## Section {i}" for i in range(4)
    ]
    assert [part.number for part in parts] == [1, 2, 3, 4]


@given(st.text(), st.integers(1, 60))
def test_no_part_is_too_long_and_no_word_is_lost(text, most):
    assume(text.strip())
    # A text that names a file that exists is refused, and hypothesis tries such names.
    assume(not os.path.exists(text))
    parts = split(text, part_tokens=most)
    assert all(part.tokens <= most or len(part.text) == 1 for part in parts)
    assert "".join("".join(part.text for part in parts).split()) == "".join(
        text.split()
    )
    assert all(part.text in text for part in parts)


def test_tokens_are_counted_as_the_caller_wants():
    parts = split("one two three four", part_tokens=2, count=lambda t: len(t.split()))
    assert [part.text for part in parts] == ["one two", "three four"]


def test_documents_come_as_files_lists_and_titles(tmp_path):
    path = tmp_path / "pump.md"
    path.write_text("It r\u00e4n.", encoding="utf-8")
    assert [p.title for p in split([path, "text"])] == ["pump.md", "document 2"]
    assert [p.title for p in split({"a": "x", "b": "y"})] == ["a", "b"]
    assert split(path)[0].text == "It r\u00e4n."
    assert [p.text for p in split(["x", "  ", "y"])] == ["x", "y"], "blank ones go"


def test_bad_documents_are_refused(tmp_path):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("\u00e4".encode("latin-1"))
    for documents in (tmp_path / "none.md", latin, tmp_path, [3], "", []):
        with pytest.raises(BadInput):
            split(documents)
    with pytest.raises(BadInput, match="part_tokens is 0"):
        split("x", part_tokens=0)


def test_without_the_splitter_the_error_names_it(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "semantic_text_splitter":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert split("Short texts need no splitter.")
    with pytest.raises(
        MissingDependency, match=r"pip install .*semantic-text-splitter"
    ):
        split(REPORT, part_tokens=50)


def test_the_brief_is_the_final_user_message():
    made = brief(
        {"log": "The pump failed.", 'a "b"': "It rained."},
        "What failed?",
        instructions="Briefly.",
    )
    body, order = (message["content"] for message in made.messages)
    assert [message["role"] for message in made.messages] == ["user", "user"]
    assert '<part number="1" from="log">\nThe pump failed.\n</part>' in body
    assert '<part number="2" from="a \'b\'">' in body
    assert order.startswith("Executive brief\nWhat failed?\nBriefly.\n")
    assert "cite" in order
    assert made.tokens == pytest.approx(estimate_tokens(body + order), abs=2)
    assert repr(made).startswith("Brief of 2 parts")


def test_other_places_are_there_to_compare():
    orders = {
        place: [m["content"][:4] for m in brief("x", "?", place=place).messages]
        for place in ("last", "first", "both")
    }
    assert orders == {
        "last": ["<par", "Exec"],
        "first": ["Exec", "<par"],
        "both": ["Exec", "<par", "Exec"],
    }


def test_too_much_for_one_question_is_refused():
    with pytest.raises(BadInput, match="map_reduce"):
        brief("word " * 1000, "?", limit_tokens=100)
    with pytest.raises(BadInput, match="question=' '"):
        brief("x", " ")
    with pytest.raises(BadInput, match="place='middle'"):
        brief("x", "?", place="middle")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("It failed [2].", {2: 1}),
        ("It failed[1][2]. Then [1].", {1: 2, 2: 1}),
        ("Both [1, 3] and [1; 2].", {1: 2, 2: 1, 3: 1}),
        ("All [1-3] or [1\u20132].", {1: 2, 2: 2, 3: 1}),
        ("None.", {}),
        ("See [1](http://x), `a[2]` and ```\nx[3]\n```.", {}),
        ("Too wide [1-1000000000].", {1: 1, 1000000000: 1}),
        ("[a] [1.5] [] [ 1 ]", {}),
    ],
)
def test_citations_are_found(text, counts):
    assert check_citations(text, split(["a", "b", "c"])).counts == counts


def test_citations_of_parts_that_do_not_exist_are_named():
    found = check_citations("So [2] and [7].", split(["a", "b <i>", "c"]))
    assert [part.number for part in found.used] == [2]
    assert found.unknown == (7,)
    assert not found.ok
    assert "1 of 3 parts cited; [7] cited though there is no such part." in str(found)
    assert "b &lt;i&gt;" in found._repr_html_()
    assert not check_citations("So.", split("a")).ok
    assert str(check_citations("So.", split("a"))) == "0 of 1 part cited."


def test_a_brief_asks_and_checks():
    client = FakeClient(["The pump <b>failed</b> [1]."])
    report = brief(["The pump failed.", "It rained."], "What?").ask(
        client, max_tokens=50
    )
    assert client.calls[0]["max_tokens"] == 50
    assert report.citations.ok
    page = report._repr_html_()
    assert "&lt;b&gt;failed" in page
    assert "fake-1" in page
    assert str(report).startswith("The pump <b>failed</b> [1].\n\npart")
    assert "1 of 2 parts cited." in repr(report)


@pytest.mark.parametrize(
    "given", [{"instructions": 5}, {"limit_tokens": "4k"}, {"count": 5}], ids=str
)
def test_what_is_of_another_type_makes_no_brief(given):
    with pytest.raises(BadInput):
        brief("The pump failed.", "What failed?", **given)
