"""State the version, alone, so that every package can read it."""

__version__ = "0.4.0"
