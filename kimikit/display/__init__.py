"""Make the parts of views: footers, plots, progress bars; ``html`` has their HTML.

Enter at ``renderable.Renderable``, the base of all results that show themselves.
"""
