"""Add to the playground's page what widgets lack: keys, names for screen readers."""

from __future__ import annotations

STYLE = """.kimikit-said{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
.kimikit-playground [class*=Collapse-header]{color:inherit}"""
"""What only screen readers find; and titles of panes that can be read when dark."""

# Core widgets have no key events, send a number only when its field is left, and their
# sliders have no name for screen readers. Where a page runs handlers in HTML, as
# JupyterLab does, this one mends that; elsewhere Tab and Space press Run.
HANDLER = """<img hidden alt="" src="data:," onerror="
window.kimikitNames ||= () => document.querySelectorAll('.kimikit-playground')
.forEach(app => {
app.querySelectorAll('.widget-slider').forEach(e => e.querySelector('[role=slider]')
.setAttribute('aria-label', e.querySelector('label').textContent));
app.querySelectorAll('.kimikit-status, .kimikit-said').forEach(e => {
e.setAttribute('role', 'status'); e.setAttribute('aria-live', 'polite'); });
app.querySelectorAll('.kimikit-column').forEach(e => {
e.setAttribute('role', 'group');
e.setAttribute('aria-label', 'Column ' + e.querySelector('b').textContent); });
});
setTimeout(window.kimikitNames, 300);
window.kimikitKeys ||= document.addEventListener('keydown', e => {
const app = e.target.closest('.kimikit-playground');
const stops = [...(app || document).querySelectorAll('.kimikit-stop:not([disabled])')];
const asks = app && e.key === 'Enter' && (e.ctrlKey || e.metaKey);
const ends = e.key === 'Escape' && stops.length === 1
&& (app || !e.target.closest('input, textarea, [contenteditable]'));
if (!asks && !ends) return;
e.preventDefault(); e.stopPropagation();
if (ends) stops[0].click();
else { e.target.dispatchEvent(new Event('change', {bubbles: true}));
app.querySelector('.kimikit-run').click(); }
}, true) || true">"""

NAME_AGAIN = (
    '<img hidden alt="" src="data:," onerror="'
    'setTimeout(() => window.kimikitNames?.(), 300)">'
)
"""Comes with fields that are added later, and lets them be named too."""

NO_WIDGETS = (
    "The playground is made of Jupyter's widgets, which are not shown here. "
    "kimi.race(prompt, models=[...]) has answers side by side."
)
"""What stands in its place where there are none."""
