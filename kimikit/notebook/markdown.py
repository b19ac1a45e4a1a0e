"""Keep the import path of ``safe`` from 0.3.0 for code elsewhere."""

from kimikit.markdown import safe

__all__ = ["safe"]
