"""A new project from the files in `template`."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from packager.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = "my-model"
"""The model's name in the template."""
_PLACES: Mapping[str, str] = {
    "pack.toml": "pack.toml",
    "train.py": "train.py",
    "requirements.txt": "requirements.txt",
    "gitignore": ".gitignore",
    "github.yml": ".github/workflows/pack.yml",
    "azure-pipelines.yml": "azure-pipelines.yml",
}
"""File of the template to its place in the project."""


def write_project(folder: Path, name: str) -> tuple[Path, ...]:
    """Write a project for a model of that name; the files written are returned.

    Raises:
        ConfigError: one of the files is there already; none is written then.
    """
    taken = [place for place in _PLACES.values() if (folder / place).exists()]
    if taken:
        raise ConfigError(
            "init.exists",
            f"'{folder}' has {', '.join(taken)} already, and nothing is overwritten",
            hint="pack init NEW_FOLDER starts beside it",
        )
    template = files(__package__) / "template"
    written = []
    for source, place in _PLACES.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((template / source).read_text(encoding="utf-8").replace(_NAME, name), encoding="utf-8")
        written.append(path)
    return tuple(written)
