"""State our version, and those of packages that are installed; all may read it."""

__version__ = "1.0.0"


def installed(package: str) -> str:
    """Return the version of a package that is installed, empty if none is."""
    from importlib import metadata  # slow to import

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
