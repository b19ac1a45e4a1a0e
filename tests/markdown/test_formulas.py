"""What is a price, a ticker or a variable of a shell, and what is a formula."""

from __future__ import annotations

import pytest

from kimikit.markdown import safe

DOLLAR = "<span>&#36;</span>"

TEXT = [
    "A carbon price of $50/t CO2 and of $60/t.",
    "Pay $20/month or 200$ a year.",
    "It costs $5 and $10, or US$3.",
    "US$5/t or A$6/t, and NZ$7-A$",
    "Between $1.5M (or €1.4M) and 2M$.",
    "100$/kg, then 200$/t",
    "(100$) and (200$)",
    "from $5–$10 to 20$",
    "价格是$50/吨，每年200$。",
    "Tesla ($TSLA) and Apple ($AAPL) rose.",
    "The pair ($BTC/$ETH) fell.",
    "Short $TSLA,$AAPL and hold",
    "A$AP Rocky and Ke$ha",
    "Add $HOME/bin:$PATH to it.",
    "export PATH=${HOME}/bin:${PATH}",
    "Use $HOME and then $USER.",
    "$i++;$j++",
    "$this->call($that)",
    "$$ is the process and $$! is none",
    "Restaurants: $$ - $$$",
    "An escaped \\$5 and \\$6.",
    "a lone $ and another $ here",
]
MATH = {
    "A price of $x$ for $5.": "A price of $x$ for ¤5.",
    "A carbon price of $50/t CO$_2$ is low.": "A carbon price of ¤50/t CO$_2$ is low.",
    "It costs $1–2 per m$^3$.": "It costs ¤1–2 per m$^3$.",
    "H$_2$O and 5$\\mu$m": "H$_2$O and 5$\\mu$m",
    "the $n$th of $2n+1$, O($n$)": "the $n$th of $2n+1$, O($n$)",
    "$n$-th and $[0,1)$ and $]0,1[$": "$n$-th and $[0,1)$ and $]0,1[$",
    "$5$ and $10^{-5}$ and $1/2$": "$5$ and $10^{-5}$ and $1/2$",
    "$10 kg$ and $3 m/s$": "$10 kg$ and $3 m/s$",
    "$5 \\text{ apples}$": "$5 \\text{ apples}$",
    "$f(x) = mx + b$, $\\sin x$, $sin x$": "$f(x) = mx + b$, $\\sin x$, $sin x$",
    "$Cost = Fixed + Variable$": "$Cost = Fixed + Variable$",
    "$a$,$b$ and $c$.": "$a$,$b$ and $c$.",
    "**$x$** and *$y$*": "**$x$** and *$y$*",
    "\\(n\\) and \\(n+1\\)": "$n$ and $n+1$",
}
NO_MATH = {
    "\\[sic\\] and \\[1\\]": "[sic] and [1&#93;",
    "\\[a\\](http://x.y)": "[a&#93;(<http://x.y>)",
    "\\(see there, or here\\)": "(see there, or here)",
}


@pytest.mark.parametrize("text", TEXT)
def test_prices_tickers_and_variables_stay_text(text: str) -> None:
    shown = safe(text)
    assert "$" not in shown
    plain = shown.replace(DOLLAR, "$").replace("\\-", "-")
    assert plain == text.replace("\\$", "$").replace("->", "->"), "nothing is lost"


@pytest.mark.parametrize("text", MATH)
def test_what_pandoc_takes_for_math_is_math(text: str) -> None:
    assert safe(text).replace(DOLLAR, "¤") == MATH[text]


@pytest.mark.parametrize("text", NO_MATH)
def test_brackets_that_were_escaped_are_no_math(text: str) -> None:
    assert safe(text) == NO_MATH[text]


def test_an_environment_ends_with_its_own_end() -> None:
    inner = "\\begin{array}{c}x\\end{array}"
    text = f"\\begin{{array}}{{c}}{inner}\\end{{array}}"
    assert safe(text) == f"$$\n{text}\n$$"
    assert safe(f"so {text} is it") == f"so $$\n{text}\n$$ is it"


FORBIDDEN = ["href", "style", "gdef", "require", "unicode", "raise", "rule", "class"]


@pytest.mark.parametrize("macro", FORBIDDEN)
@pytest.mark.parametrize(
    "hidden",
    [
        "\\begin{equation}",
        "\\begin{equation*}\\end{equation*}",
        "\\label{x}",
        "\\hspace{1em}",
        "%\n",
    ],
)
@pytest.mark.parametrize(
    "marks", [("$$", "$$"), ("$", "$"), ("\\[", "\\]"), ("\\(", "\\)")]
)
def test_no_macro_is_put_together_by_what_is_taken_out(macro, hidden, marks) -> None:
    tex = f"\\{macro[:2]}{hidden}{macro[2:]}{{javascript:pwn()}}{{x}}"
    if hidden == "\\begin{equation}":
        tex += "\\end{equation}"
    shown = safe(f"so {marks[0]}{tex}{marks[1]} it is")
    assert f"\\{macro}" not in shown


@pytest.mark.parametrize(
    "tex",
    [
        r"a\\[999em]b", r"a\\[-9em]b", r"\colorbox{url(http://c.test)}{x}",
        r"\color{red;position:fixed}{x}", r"\fcolorbox{red}{url(x)}{y}",
        r"\genfrac{}{}{99em}{}{a}{b}", r"\verb|\href|", r"\parbox{99em}{x}",
        r"\begin{array}{p{99em}}a\end{array}", r"\definecolor{red}{rgb}{0,0,0}",
    ],
)  # fmt: skip
def test_nothing_leaves_its_place_or_fetches(tex: str) -> None:
    assert "$" not in safe(f"so ${tex}$ it is")


@pytest.mark.parametrize(
    "tex",
    [
        r"a \\[2pt] b", r"\color{red}{x}", r"\colorbox{#ff0}{x}", r"\color[rgb]{1,0,0} x",
        r"\genfrac{}{}{0pt}{}{n}{k}", r"\left( \frac{1}{2} \right]", r"x_{10 in}", "10 cm",
        r"\fcolorbox{red}{blue}{x}", r"\begin{array}{l|cr} a & b \end{array}",
    ],
)  # fmt: skip
def test_plain_formulas_stay(tex: str) -> None:
    assert safe(f"so ${tex}$ it is") == f"so ${tex}$ it is"
