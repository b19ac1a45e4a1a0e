"""What every view is made of beside ``html``: renderables, footers, plots, progress.

Enter at ``renderable.Renderable``, the base of all results that show themselves.
"""
