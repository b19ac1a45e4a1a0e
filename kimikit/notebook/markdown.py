"""The path of ``safe`` in 0.3.0 and 0.4.0, which code outside the package imports."""

from kimikit.markdown import safe

__all__ = ["safe"]
