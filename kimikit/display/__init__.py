"""Make what every view consists of beside ``html``: footers, plots, progress bars.

Enter at ``renderable.Renderable``, the base of all results that show themselves.
"""
