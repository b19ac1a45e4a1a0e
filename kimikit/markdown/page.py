"""Write a model's Markdown as inert HTML, for views that are HTML themselves."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from kimikit import html
from kimikit.markdown import density, parser, tex

_COPY = (
    '<button type="button" class="copy" hidden aria-label="Copy this code" '
    'onclick="navigator.clipboard.writeText(this.nextElementSibling.textContent)'
    ".then(() => this.textContent = 'Copied')\">Copy</button>"
)
# It is hidden where the style sheet is taken away, since scripts are then too.


def as_html(text: str) -> str:
    """Return ``text`` as HTML that runs nothing; code has a button to copy it.

    Args:
        text: Markdown as a model wrote it.
    """
    plain = html.clean(text)
    try:
        if density.is_dense(plain):
            return html.pre(plain)
        shown = _renderer().render(parser.tokens(plain), _OPTIONS, {})
    except Exception:  # no text may cost the answer, whatever is wrong with it
        return html.pre(plain)
    return f'<div class="answer">{html.clean(shown)}</div>'


_OPTIONS: Any = {"xhtmlOut": False, "breaks": False, "langPrefix": "", "html": False}


@functools.cache
def _renderer() -> RendererHTML:
    made = RendererHTML()
    rules: Any = {"fence": _code, "code_block": _code, "image": _image}
    rules |= {"math": _math, "math_block": _math}
    made.rules.update(rules)
    return made


def _code(tokens: Sequence[Token], index: int, *_: Any) -> str:
    code = tokens[index].content.removesuffix("\n")
    return f'<div class="code">{_COPY}<pre><code>{html.esc(code)}</code></pre></div>'


def _math(tokens: Sequence[Token], index: int, *_: Any) -> str:
    body = tex.rewritten(tokens[index].content, table=False)
    if not body or not tex.is_harmless(body):
        return f"<code>{html.esc(tokens[index].content)}</code>"
    mark = "$$" if "$$" in (tokens[index].markup or "$$") else "$"
    # MathJax leaves the rest of a view alone, see ``html.wrap``.
    kind = "mathjax_process tex2jax_process"
    return f'<span class="{kind}">{mark}{html.esc(body)}{mark}</span>'


def _image(tokens: Sequence[Token], index: int, *_: Any) -> str:
    url, name = str(tokens[index].attrs.get("src", "")), tokens[index].content
    if not html.is_link(url):
        return html.esc(name)
    return f'<a href="{html.esc(url)}">{html.esc(name or "image")}</a>'
