"""How well the words of a page stand out from what is behind them, by WCAG 2.2."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from typing import Any

LEAST = 4.5
"""The ratio that WCAG 2.2 wants of small text (level AA)."""

_FAINT = """
(root) => {
  const parse = text => {
    const n = text.match(/[\\d.]+%?/g).map(parseFloat);
    return text.startsWith('color(') ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1]
      : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (top, alpha, below) => below.map((b, i) => top[i] * alpha + b * (1 - alpha));
  const light = rgb => rgb.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = new Map();
  for (const details of root.querySelectorAll('details')) details.open = true;
  const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  let words = 0;
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.getClientRects().length
        || element.closest('style, script, :disabled, option')) continue;
    const style = getComputedStyle(element);
    if (style.visibility === 'hidden') continue;
    words++;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e));
    let behind = [255, 255, 255], opacity = 1;
    for (const each of chain) {
      opacity *= parseFloat(each.opacity);
      const back = parse(each.backgroundColor);
      behind = over(back, back[3] * opacity, behind);
    }
    const ink = parse(style.color);
    const [a, b] = [light(over(ink, ink[3] * opacity, behind)), light(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < LEAST) found.set(
      `${element.tagName.toLowerCase()}.${element.className}: ${ratio.toFixed(2)}`,
      node.data.trim().slice(0, 60));
  }
  return [words, [...found].map(pair => pair.join(' '))];
}
""".replace("LEAST", str(LEAST))


def faint(target: Any) -> list[str]:
    """Return the texts of an element of a page that stand out too little.

    Args:
        target: A locator of Playwright's; it must hold words.
    """
    words, found = target.evaluate(_FAINT)
    assert words, "there is nothing to read"
    return list(found)


def page_of(shown: str, *, dark: bool) -> str:
    """Return a page with JupyterLab's own colours, as of the version installed."""
    kind = "dark" if dark else "light"
    themes = Path(sysconfig.get_path("data"), "share/jupyter/lab/themes/@jupyterlab")
    sheet = (themes / f"theme-{kind}-extension" / "index.css").read_text()
    colours = "".join(re.findall(r":root\s*\{[^}]*\}", sheet))
    assert "--jp-ui-font-color1" in colours
    body = "background:var(--jp-layout-color0);color:var(--jp-content-font-color1)"
    return f"<!doctype html><meta charset=utf-8><style>{colours}body{{{body}}}</style>{shown}"


def ratio(one: Any, other: Any) -> float:
    """Return the contrast of two colours of matplotlib, from 1 to 21."""
    from matplotlib.colors import to_rgb

    def light(colour: Any) -> float:
        parts = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(colour)
        )
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def faint_in(figure: Any) -> list[str]:
    """Return the texts of a figure that stand out too little from what is behind them.

    Args:
        figure: Of matplotlib; it must hold words, and be opaque: then it is the same on
            light pages and on dark ones.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    words = [
        t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()
    ]
    boxes = [text.get_window_extent() for text in words]
    assert words, "there is nothing to read"
    figure.set_layout_engine("none")
    for text in words:
        text.set_visible(False)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[::-1] / 255
    found = []
    for text, box in zip(words, boxes, strict=True):
        text.set_visible(True)
        left, low, right, high = (max(0, round(edge)) for edge in box.extents)
        behind = pixels[low : high + 1, left : right + 1].reshape(-1, 4)
        if len(behind):  # not of a tick beyond the axes
            red, green, blue, alpha = np.median(behind, axis=0)
            assert alpha == 1, "what is behind it depends on the page"
            if ratio(text.get_color(), (red, green, blue)) < LEAST:
                found.append(text.get_text())
    return found
