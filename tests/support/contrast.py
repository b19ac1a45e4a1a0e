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
    return f"<meta charset=utf-8><style>{colours}body{{{body}}}</style>{shown}"
