"""Which framework a model is of, by its content."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from packager import importers
from packager.errors import ConfigError, ConversionError

if TYPE_CHECKING:
    from pathlib import Path

    from packager.importers._importer import Importer


def frameworks() -> list[str]:
    """The names of all importers, sorted."""
    other = {"detection"}
    return sorted(
        entry.name
        for entry in pkgutil.iter_modules(importers.__path__)
        if not entry.name.startswith("_") and entry.name not in other
    )


def open_importer(framework: str) -> Importer:
    """The importer of that framework; its module is light."""
    return cast("Importer", importlib.import_module(f"packager.importers.{framework}"))


def detect_framework(path: Path, *, wanted: str = "") -> tuple[str, Path]:
    """The framework and the model file in it.

    Raises:
        ConversionError: no importer knows it.
        ConfigError: `wanted` is a framework that nobody imports, or the model is not of that one.
    """
    known = frameworks()
    if wanted and wanted not in known:
        raise ConfigError("config.field", f"'model.framework': expected one of {', '.join(known)}, got '{wanted}'")
    for framework in [wanted] if wanted else known:
        found = open_importer(framework).find_model(path)
        if found is not None:
            return framework, found
    if wanted:
        raise ConfigError("config.field", f"'model.framework': '{path.name}' is not a model of {wanted}")
    raise ConversionError(
        "import.unknown",
        f"'{path.name}' is of no framework that can be imported: expected one of {', '.join(known)}",
        hint="say which in [model] framework, or export it to ONNX",
    )
