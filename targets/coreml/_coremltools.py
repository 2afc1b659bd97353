"""coremltools, imported without the frameworks that it would look for.

It imports TensorFlow, torch, scikit-learn and XGBoost if it finds them, which takes half a minute and changes nothing
for a MIL program; so they are kept out of its sight, here and nowhere else.
"""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

from contextlib import contextmanager

_HIDDEN = ("keras", "libsvm", "sklearn", "tensorflow", "torch", "torchvision", "xgboost")


@cache
def coremltools() -> Any:  # noqa: ANN401 - it ships no types
    """The package, with its parts that build, save and load MIL programs."""
    # What it can't do off a Mac, a line for each; and shapes that we describe ourselves.
    logging.getLogger("coremltools").setLevel(logging.ERROR)
    with _hidden(), warnings.catch_warnings(action="ignore"):
        package = importlib.import_module("coremltools")
        importlib.import_module("coremltools.converters.mil.backend.mil.load")
    return package


def part(name: str) -> Any:  # noqa: ANN401 - likewise
    """One module of the package, by its name within it."""
    coremltools()
    with _hidden(), warnings.catch_warnings(action="ignore"):
        return importlib.import_module(f"coremltools.{name}")


@contextmanager
def _hidden() -> Iterator[None]:
    """While it lasts, the frameworks that are not loaded can't be."""
    absent = [name for name in _HIDDEN if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # how the import system is told that there is none
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
