"""What ``pack.toml`` declares of a model's inputs, and of what an application does around it, as jobs need it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from manifests.digests import digest_file
from packager.errors import ConfigError
from packager.tables import InputTable, PipelineTable

if TYPE_CHECKING:
    from packager.config import Project

FOLDER = "pipeline"
"""Where the files of the pipeline stand in a bundle."""
_LARGEST = 64 << 20
"""A tokeniser's model has some megabytes."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A file that ``pack.toml`` names and that goes into the bundle."""

    written: str
    """As ``pack.toml`` has it."""
    path: str
    place: str
    """Its path in the bundle."""
    role: Literal["labels", "other"]
    digest: str


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """``[model.inputs]`` and ``[model.pipeline]``."""

    inputs: dict[str, InputTable] = {}
    pipeline: PipelineTable = PipelineTable()
    files: tuple[Attachment, ...] = ()

    def key(self) -> Declared:
        """What of this counts in a cache key: contents, never where a file stands."""
        return msgspec.structs.replace(
            self, files=tuple(msgspec.structs.replace(entry, path="") for entry in self.files)
        )

    def place(self, written: str) -> str:
        """The path in the bundle of the file that ``pack.toml`` names."""
        return next(entry.place for entry in self.files if entry.written == written)


def declared_in(project: Project) -> Declared:
    """What the project declares, its files found.

    Raises:
        ConfigError: a file is missing or too large.
    """
    pipeline = project.model.pipeline
    named: dict[str, tuple[str, Literal["labels", "other"]]] = {}
    for name, before in pipeline.inputs.items():
        if before.tokeniser is not None:
            named[before.tokeniser.file] = (f"model.pipeline.inputs.{name}.tokeniser.file", "other")
    for name, after in pipeline.outputs.items():
        if isinstance(after.labels, str):
            named[after.labels] = (f"model.pipeline.outputs.{name}.labels", "labels")
    files: list[Attachment] = []
    for written, (field, role) in named.items():
        path = project.path(written)
        if not path.is_file():
            raise ConfigError("config.file", f"'{field}': no file at '{path}'")
        if path.stat().st_size > _LARGEST:
            raise ConfigError(
                "config.file",
                f"'{field}' is too large: expected at most {_LARGEST} bytes, got {path.stat().st_size}",
            )
        place = _place(path.name, {entry.place for entry in files})
        files.append(Attachment(written=written, path=str(path), place=place, role=role, digest=digest_file(path)))
    return Declared(inputs=project.model.inputs, pipeline=pipeline, files=tuple(files))


def _place(name: str, taken: set[str]) -> str:
    """A path that a bundle may have (SPEC 3.4.1), of which there is no other when case is ignored."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-") or "file"
    lowered = {place.lower() for place in taken}
    place, number = f"{FOLDER}/{safe}", 1
    while place.lower() in lowered:
        number += 1
        place = f"{FOLDER}/{number}-{safe}"
    return place
