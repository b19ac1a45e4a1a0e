"""Hostile text through every view: what is emitted holds our own tags and no escapes."""

from __future__ import annotations

import io
import re

import pytest
from markdown_it import MarkdownIt
from support.hostile import PAYLOADS, SUBTLE, values

from kimikit.markdown import safe, small_print
from kimikit.markdown.page import _COPY
from kimikit.notebook import progress, stream_view, trace_view
from kimikit.notebook.blocks import Splitter, preview
from kimikit.sweeps.side_by_side import marked
from kimikit.tools.values import (
    CallFinished,
    CallStarted,
    RunFinished,
)
from kimikit.types import Delta, Wait

EVERY = {**PAYLOADS, **SUBTLE}
TAGS = (
    "p a code pre em strong del s span sub sup kbd br h1 h2 h3 h4 h5 h6 ul ol li hr div "
    "blockquote table thead tbody tr th td style small details summary b u caption wbr"
)
NOT_OURS = re.compile(rf"<(?!/?(?:{'|'.join(TAGS.split())})(?:\s[^<>]*)?/?>)")
ATTRIBUTE = re.compile(r"<[a-z0-9]+\s([^<>]*)>")
ESCAPE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]"
    r"|[\ud800-\udfff\ufdd0-\ufdef]"
)
TEX = re.compile(
    r"\\(?:href|url|class|cssId|style|require|unicode|includegraphics|[gex]?def|let"
    r"|newcommand|bbox|rule|raise|lower|kern|html\w*|data|verb)(?![a-zA-Z])"
)
FENCED = re.compile(r"(?ms)^[ >]*(?:(?:[-+*]|\d+[.)]) )*(`{3,}).*?^[ >]*\1$|`[^`\n]*`")
render = (
    MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render
)


def is_inert(page: str) -> None:
    body = re.sub(r"(?s)<style>.*?</style>", "", page).replace(_COPY, "")
    found = NOT_OURS.search(body)
    assert found is None, body[found.start() :][:80]
    for attributes in ATTRIBUTE.findall(body):
        bare = re.sub(r'"[^"]*"', '""', attributes)
        assert not re.search(r"\bon\w+\s*=|srcdoc|\bsrc\b|\bid\b", bare), attributes
        for url in re.findall(r'href="([^"]*)"', attributes):
            assert re.match(r"https?://|mailto:", url)


def is_clean(text: str) -> None:
    found = ESCAPE.search(text)
    assert found is None, ascii(text[max(0, found.start() - 20) :][:60])


def is_harmless(markdown: str) -> None:
    is_clean(markdown)
    is_inert(render(markdown))
    for formula in re.findall(r"\$[^$]+\$", FENCED.sub("", markdown)):
        assert not TEX.search(formula)


@pytest.mark.parametrize("images", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_markdown_is_inert(name: str, images: bool) -> None:
    shown = safe(EVERY[name], images=images)
    is_clean(shown)
    if not images:
        is_harmless(shown)
        is_harmless(safe(preview(EVERY[name])))


@pytest.mark.parametrize("name", EVERY)
def test_each_part_of_a_growing_answer_is_inert(name: str) -> None:
    text = EVERY[name][:2_000]
    splitter = Splitter()
    for at in range(0, len(text), 17):
        for block in splitter.feed(text[at : at + 17]):
            is_harmless(safe(block))
        is_harmless(safe(preview(splitter.open)))


@pytest.mark.parametrize("name", EVERY)
def test_views_are_inert_and_clean(name: str) -> None:
    text = EVERY[name]
    for value in values(text).values():
        shown = value._repr_html_()
        is_inert(shown)
        is_clean(shown)
        is_clean(str(value) if isinstance(value, Exception) else repr(value))
    reply = values(text)["reply"]
    bundles = [
        progress.thinking(text, 2.0), progress.below(reply, reply.footer()),
        progress.calls_so_far([text]), progress.status(text), trace_view._answered(reply),
    ]  # fmt: skip
    for bundle in bundles:
        for kind, shown in bundle.items():
            is_clean(shown)
            if kind == "text/html":
                is_inert(shown)
            elif kind == "text/markdown":
                is_harmless(shown)
    is_harmless(small_print(text))
    is_inert(marked("a b", text))


@pytest.mark.parametrize("name", EVERY)
def test_a_terminal_gets_no_escapes(name: str) -> None:
    text = EVERY[name]
    made = values(text)
    out = io.StringIO()
    view = stream_view.TextView(out, lambda reply: reply.footer())
    for step in (Delta(text), Delta("", text), Wait(1.0, text, 1)):
        view(step)
    view.finish(made["reply"])
    trace = trace_view.TextTrace(out)
    result = made["run"].steps[0].results[0]
    for event in (
        Delta(text), Wait(1.0, text, 1), CallStarted(0, result.call),
        CallFinished(0, result), RunFinished(made["run"]),
    ):  # fmt: skip
        trace(event)
    print(Delta(text), made["error"], file=out)
    out.write("\n".join(made["error"]._render_traceback_()))
    is_clean(out.getvalue())
