"""A model's Markdown as HTML: what it means, and nothing that runs."""

import pytest

from kimikit import Reply, Run, Trial, Usage
from kimikit.markdown import as_html


def test_markdown_is_drawn_and_code_can_be_copied():
    page = as_html(
        "**bold** and $x_1$\n\n```python\nprint(1 < 2)\n```\n\n| a |\n|---|\n| b |"
    )
    assert "<strong>bold</strong>" in page
    assert "<pre><code>print(1 &lt; 2)</code></pre>" in page
    assert 'class="copy" hidden' in page
    assert "$x_1$" in page
    assert "<table>" in page


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "![a](javascript:alert(1))",
        '![a](https://x.test/"onload="alert(1))',
        "$<img src=x onerror=alert(1)>$",
        '```a"><script>\n<script>\n```',
        "`<script>`",
    ],
)
def test_nothing_of_a_model_runs(text):
    page = as_html(text)
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page


def test_an_answer_is_its_text_and_shows_itself_with_one_footer():
    reply = Reply(
        text="**Hi**", host="h", model="m", usage=Usage(1, 2), finish_reason="length"
    )
    assert str(reply) == f"{reply}" == "**Hi**"
    assert repr(reply).startswith("'**Hi**' · cut at max_tokens · h · m")
    for value in (
        reply,
        Run(reply=reply),
        Trial(params={"temperature": 0}, repeat=0, reply=reply),
    ):
        bundle = value._repr_mimebundle_()
        assert "**Hi**" in bundle["text/plain"]
        assert "<strong>Hi</strong>" in bundle["text/html"]
        assert bundle["text/plain"].count("1 -> 2 tokens") == 1
        assert value.to_markdown().startswith("**Hi**")
