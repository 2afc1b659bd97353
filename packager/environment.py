"""The environment variables that say how `pack` shall speak; `packager.config` reads those that say what to build."""

from __future__ import annotations

import os


def wants_traceback() -> bool:
    """Whether ``PACK_DEBUG`` asks to see where a bug is."""
    return os.environ.get("PACK_DEBUG", "") not in {"", "0"}


def wants_colour() -> bool:
    """Whether a terminal may be coloured: neither ``NO_COLOR`` nor ``TERM=dumb`` speaks against it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def wants_redrawing() -> bool:
    """Whether lines of a terminal may be redrawn: neither ``CI`` nor ``TERM=dumb`` speaks against it."""
    return not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def named_variable(name: str) -> str | None:
    """The variable that the command line names; None where it is not set."""
    return os.environ.get(name)
