"""Figures take the ink of the page, and are a picture where a page takes no SVG."""

import base64
import io
import pickle
import re
import warnings
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import pytest
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import configure_inline_support
from PIL import Image
from support.contrast import faint, page_of

from kimikit.display import themed
from kimikit.display.plots import canvas, subplots

mpl.use("Agg")
from matplotlib import pyplot as plt

INKS = "letters => letters.map(each => getComputedStyle(each).fill)"

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "stroke: #000000; 0.123456789",
    "]]></svg> & <!-- x",
]


def drawn(label: str = "x"):
    axes = subplots(size=(4, 3))
    axes.plot([1, 2e9], label=label)
    axes.set(xlabel=label, ylabel="y")
    axes.legend()
    return axes.figure


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_a_notebook_gets_svg_in_the_ink_of_the_page_and_a_picture():
    found, _ = DisplayFormatter().format(drawn())
    assert "currentColor" in found["text/html"]
    assert "#000000" not in found["text/html"]
    assert 'aria-label="Figure: y by x"' in found["text/html"]
    assert Image.open(io.BytesIO(found["image/png"])).mode == "P"


@pytest.mark.parametrize(
    ("active", "expected"),
    [(["text/plain", "text/html", "image/png"], ["png", "svg"]), (["text/plain"], [])],
    ids=["notebook", "terminal"],
)
def test_a_figure_is_drawn_once_in_each_form_that_is_shown(
    monkeypatch, active, expected
):
    formats = []
    figure, save = drawn(), Figure.savefig

    def counted(self, target, **how):
        formats.append(how["format"])
        return save(self, target, **how)

    monkeypatch.setattr(Figure, "savefig", counted)
    shell = InteractiveShell.instance()
    try:
        configure_inline_support(shell, "module://matplotlib_inline.backend_inline")
        themed._register()
        shell.display_formatter.active_types = active
        found, _ = shell.display_formatter.format(figure)
    finally:
        InteractiveShell.clear_instance()
    assert sorted(formats) == expected
    assert set(found) == set(active)
    if expected:
        assert base64.b64encode(found["image/png"]).decode() in found["text/html"]


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_every_word_of_a_figure_stands_out_on_any_page(chromium, dark):
    page = chromium.new_page()
    page.set_content(page_of(drawn().as_html(), dark=dark))
    inks = {ink for ink in page.locator("svg use").evaluate_all(INKS) if ink != "none"}
    assert len(inks) == 1
    frames = page.locator("svg path[style*=layout-color]").evaluate_all(INKS)
    assert len(frames) == 1, "a legend's, under its letters"
    assert inks.isdisjoint(frames)
    assert frames != ["rgb(255, 255, 255)"] or not dark
    words = "".join(f'<p style="color:{ink}">Letters are outlines</p>' for ink in inks)
    assert page.locator("svg").is_visible()
    assert not page.locator("img").is_visible()
    page.set_content(page_of(words, dark=dark))
    assert faint(page.locator("body")) == []
    page.close()


@pytest.mark.browser
def test_a_page_that_takes_no_svg_and_no_style_shows_the_picture(chromium):
    page = chromium.new_page()
    shown = re.sub(r"(?s)<(svg|style).*?</\1>", "", drawn().as_html())
    page.set_content(shown)
    assert page.locator("img").evaluate("image => image.naturalWidth") > 100
    page.close()


def test_a_page_that_takes_tags_and_leaves_texts_shows_no_letters():
    """So do JupyterLab in a notebook that is not trusted, and pages of GitHub."""
    shown = re.sub(r"(?s)<style.*?</style>", "", drawn("a label").as_html())
    assert re.sub("<[^>]*>", "", shown) == ""


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_can_be_nothing_but_letters(label):
    svg = re.search(r"(?s)<svg.*</svg>", drawn(label).as_html())
    tree = ElementTree.fromstring(svg[0])
    assert "".join(tree.itertext()).strip() == ""
    drawn_here = {each.tag.rpartition("}")[2] for each in tree.iter()}
    assert drawn_here <= {"svg", "g", "defs", "path", "use", "clipPath", "rect"}


@pytest.mark.parametrize("label", HOSTILE)
def test_letters_that_no_font_has_are_the_browsers_and_nothing_but_letters(label):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the picture lacks them
        svg = re.search(r"(?s)<svg.*</svg>", drawn(f"{label} \U0001cf50").as_html())
    tree = ElementTree.fromstring(svg[0])
    assert f"{label} \U0001cf50" in "".join(tree.itertext())
    drawn_here = {each.tag.rpartition("}")[2] for each in tree.iter()}
    assert drawn_here <= {
        "svg", "g", "defs", "path", "use", "clipPath", "rect", "text", "tspan"
    }  # fmt: skip


@pytest.mark.parametrize(
    "label", ["中文标题", "温度 1", "한국", "ไทย \U0001cf50", "Ελλάδα"]
)
def test_texts_of_the_user_are_outlines_where_a_font_has_them(label):
    axes = subplots(size=(4, 3))
    axes.set(title=label, xlabel=label)
    axes.set_xticks([0, 1], [label, "b"])
    axes.figure.suptitle(label)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        shown = re.sub(r"(?s)<style.*?</style>", "", axes.figure.as_html())
    lacking = any("missing from" in str(each.message) for each in told)
    assert (label in re.sub("<[^>]*>", "", shown)) == lacking


@pytest.mark.parametrize("style", ["dark_background", "ggplot", "Solarize_Light2"])
def test_another_style_stays_as_the_user_has_it(style):
    with plt.style.context(style):
        figure = drawn()
        assert figure.as_html() is None
        found, _ = DisplayFormatter().format(figure)
    assert "text/html" not in found
    assert found["image/png"]


def test_axes_of_the_users_own_figure_stay_theirs():
    own = plt.figure().subplots()
    assert canvas(own, 1, 1) is own
    assert own.figure._repr_html_() is None


def test_a_figure_can_be_kept_and_drawn_again():
    again = pickle.loads(pickle.dumps(drawn()))
    assert again.as_html() == drawn().as_html()


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 1000, "a\n" + "y" * 70_000])
def test_no_text_makes_a_picture_that_is_too_large(text):
    axes = subplots(size=(2, 1), dpi=20)
    axes.set_title(text)
    label = axes.set_ylabel(text)
    width, height = Image.open(io.BytesIO(axes.figure._picture())).size
    assert max(width, height) < 1000
    assert max(map(len, label.get_text().split("\n"))) == themed.LONGEST_LINE + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [("x" * 5000, "x" * 300 + "…"), ("a b " * 90, "a b " * 90), ("a\n" * 5000, None)],
)
def test_a_text_of_wrapped_lines_keeps_the_words_that_have_room(text, shown):
    figure = subplots(size=(2, 1), dpi=20).figure
    note = figure.text(0, 0, text, wrap=True)
    height = Image.open(io.BytesIO(figure._picture())).size[1]
    assert height < 1000
    assert note.get_text() == shown or text.startswith(note.get_text()[:-1])
