"""Set aside a module that jsonschema imports for the format "iri" alone, in 3 s."""

import sys

NAME = "rfc3987_syntax"

sys.modules[NAME] = None  # type: ignore[assignment]


def program(module: str) -> str:
    """Return the Python that runs ``main`` of a module without it."""
    return (
        f'import sys\nsys.modules["{NAME}"] = None\nfrom {module} import main\nmain()'
    )
