"""Which targets there are: a module or folder in `targets`, or an entry point of the group ``packtrain.targets``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from packager.errors import ConfigError

if TYPE_CHECKING:
    from targets._target import Target

ENTRY_POINTS = "packtrain.targets"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """Where a target stands; nothing of it is imported yet."""

    name: str
    module: str
    attribute: str = "target"


def registrations() -> dict[str, Registration]:
    """All targets by name, sorted; nothing is imported.

    Raises:
        ConfigError: a plug-in claims the name of another target.
    """
    found = _own()
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name in found:
            raise ConfigError(
                "targets.duplicate",
                f"two targets go by the name '{entry.name}': {found[entry.name].module} and {entry.module}",
                hint="uninstall one of them",
            )
        found[entry.name] = Registration(name=entry.name, module=entry.module, attribute=entry.attr or "target")
    return dict(sorted(found.items()))


def find_target(name: str) -> tuple[Registration, Target]:
    """The target of that name; its module, which is light, is imported.

    Raises:
        ConfigError: there is none.
    """
    known = registrations()
    if name not in known:
        close = get_close_matches(name.replace("_", "-"), known, n=1)
        raise ConfigError(
            "targets.unknown",
            f"unknown target '{name}': expected one of {', '.join(known)}",
            hint=f"did you mean '{close[0]}'?" if close else "pack targets lists them",
        )
    return known[name], open_target(known[name])


def open_target(registration: Registration) -> Target:
    """The target that stands there."""
    return cast("Target", getattr(importlib.import_module(registration.module), registration.attribute))


def source_of(registration: Registration) -> Path:
    """The file or folder that is the target's code."""
    spec = importlib.util.find_spec(registration.module)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "targets.module", f"module '{registration.module}' of target '{registration.name}' is missing"
        )
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None: it is missing."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _own() -> dict[str, Registration]:
    spec = importlib.util.find_spec("targets")
    found = {}
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for path in Path(folder).iterdir():
            is_module = path.suffix == ".py" or (path / "__init__.py").is_file()
            if is_module and not path.stem.startswith("_"):
                name = path.stem.replace("_", "-")
                found[name] = Registration(name=name, module=f"targets.{path.stem}")
    return found
