"""The steps that workers do, each behind the cache: fetch, import, convert."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec

from manifests.digests import digest_file
from manifests.manifest import FileSection, TaskSection
from packager.availability import require
from packager.cache import cache_key
from packager.config import DEFAULT_VERSION
from packager.declarations import Declared, declared_in
from packager.errors import ConfigError
from packager.fingerprints import code_digest
from packager.importers.detection import detect_framework, open_importer
from packager.jobs import conversion, importation
from packager.registry import installed_version, source_of
from packager.samples import DataFile, DataFiles
from packager.sources.finding import fetch_model
from packager.toolchains.choice import choose_interpreter
from targets._target import toolchain_of

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project, TargetSettings
    from packager.sources._source import Fetched
    from packager.worker import Workers


class ImportStep(msgspec.Struct, frozen=True, kw_only=True):
    """One import: what is asked for, and where its result stands in the cache."""

    order: importation.Order
    key: str
    toolchain: dict[str, str]
    interpreter: Path | None
    """Of the toolchain's environment; None: our own."""


class ConversionStep(msgspec.Struct, frozen=True, kw_only=True):
    """One conversion: what is asked for, and where its result stands in the cache."""

    order: conversion.Order
    key: str
    toolchain: dict[str, str]
    interpreter: Path | None
    """Of the toolchain's environment; None: our own."""


class _ImportKey(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    framework: str
    trusted: bool
    signature: str
    task: TaskSection
    data: dict[str, str | list[str]]
    declared: Declared
    toolchain: dict[str, str]
    code: str


class _ConversionKey(msgspec.Struct, frozen=True, kw_only=True):
    target: str
    model: str
    options: dict[str, object]
    task: TaskSection
    names: tuple[str, ...]
    files: tuple[FileSection, ...]
    data: dict[str, str | list[str]]
    toolchain: dict[str, str]
    machine: str
    code: str


class Steps:
    """The steps of one project's build."""

    def __init__(self, project: Project, cache: Cache, workers: Workers) -> None:
        """Raises ConfigError where a data file is missing."""
        self._project = project
        self._cache = cache
        self._workers = workers
        self.data = _data_files(project)
        self.declared = declared_in(project)

    def fetch(self) -> Fetched:
        """The model, on this machine's disk.

        Raises:
            PackError: it can't be had.
        """
        return fetch_model(self._project, self._cache, self._workers)

    def version(self, fetched: Fetched) -> str:
        """What ``pack.toml`` says, else the registry, else ``0``."""
        return self._project.model.version or fetched.version or DEFAULT_VERSION

    def import_step(self, fetched: Fetched) -> ImportStep:
        """How the model is imported; its framework is found out here.

        Raises:
            PackError: no importer knows it, or what the importer needs is not installed.
        """
        model = self._project.model
        framework, path = detect_framework(fetched.path, wanted=model.framework)
        importer = open_importer(framework)
        parts = (name for name in getattr(importer, "PARTS", ()) if installed_version(name) is not None)
        interpreter = choose_interpreter(
            (*importer.DISTRIBUTIONS, *parts), extra=importer.EXTRA, toolchain=getattr(importer, "TOOLCHAIN", "")
        )
        task = TaskSection()
        if model.task is not None:
            task = TaskSection(kind=model.task.kind, output=model.task.output, labels=model.task.labels)
        key = _ImportKey(
            source=fetched.digest,
            framework=framework,
            trusted=model.trusted,
            signature=model.signature,
            task=task,
            data=self.data.digests(),
            declared=self.declared.key(),
            toolchain=interpreter.versions,
            code=code_digest(),
        )
        order = importation.Order(
            framework=framework,
            path=str(path),
            trusted=model.trusted,
            signature=model.signature,
            task=task,
            data=self.data,
            declared=self.declared,
        )
        return ImportStep(order=order, key=cache_key(key), toolchain=interpreter.versions, interpreter=interpreter.path)

    def find_import(self, step: ImportStep) -> tuple[importation.Importation, Path] | None:
        """The import's result and the folder with its files, from the cache; None: it is not there."""
        return self._cache.find(step.key, importation.Importation)

    def run_import(self, step: ImportStep) -> tuple[importation.Importation, Path]:
        """The same, done now.

        Raises:
            PackError: it can't be done.
        """
        with self._workers.job("importation", step.order, importation.Importation, step.interpreter) as (result, files):
            return result, self._cache.keep(step.key, result, files)

    def check_import(self, step: ImportStep) -> importation.Importation | None:
        """What is known of the model once it is read, and what ``pack.toml`` says of it fits; it is not run nor kept.

        None: it is of a framework in an environment of its own, which takes as long to start as the import does.

        Raises:
            PackError: it does not.
        """
        if step.interpreter is not None:
            return None
        order = msgspec.structs.replace(step.order, compared=False)
        with self._workers.job("importation", order, importation.Importation) as (result, _):
            return result

    def conversion_step(
        self, settings: TargetSettings, imported: importation.Importation, folder: Path
    ) -> ConversionStep:
        """How a target's artifact is made from the import's files in `folder`.

        Raises:
            ToolchainError: what the target needs is not installed.
        """
        target = settings.target
        needed = toolchain_of(target, settings.options)
        require(target, needed)
        interpreter = choose_interpreter(needed.distributions, extra=needed.extra, toolchain=needed.environment)
        options = cast("dict[str, object]", msgspec.to_builtins(settings.options))
        model = folder / importation.MODEL
        key = _ConversionKey(
            target=settings.name,
            model=digest_file(model),
            options=options,
            task=imported.task,
            names=imported.names,
            files=imported.files,
            data=self.data.digests(),
            toolchain=interpreter.versions,
            machine=platform.machine(),
            code=code_digest(source_of(settings.registration)),
        )
        order = conversion.Order(
            registration=settings.registration,
            model=str(model),
            digest=key.model,
            options=options,
            task=imported.task,
            names=imported.names,
            files=imported.files,
            data=self.data,
            turns=str(self._cache.turns),
        )
        return ConversionStep(
            order=order, key=cache_key(key), toolchain=interpreter.versions, interpreter=interpreter.path
        )

    def find_conversion(self, step: ConversionStep) -> tuple[conversion.Conversion, Path] | None:
        """The conversion's result and the folder with its files, from the cache; None: it is not there."""
        return self._cache.find(step.key, conversion.Conversion)

    def run_conversion(self, step: ConversionStep) -> tuple[conversion.Conversion, Path]:
        """The same, done now.

        Raises:
            PackError: it can't be done.
        """
        with self._workers.job("conversion", step.order, conversion.Conversion, step.interpreter) as (result, files):
            return result, self._cache.keep(step.key, result, files)


def _data_files(project: Project) -> DataFiles:
    table = project.data
    return DataFiles(
        calibration=_data_file(project, "calibration", table.calibration),
        evaluation=_data_file(project, "evaluation", table.evaluation),
        training=_data_file(project, "training", table.training),
        label=table.label,
        features=table.features,
    )


def _data_file(project: Project, field: str, written: str) -> DataFile | None:
    if not written:
        return None
    path = project.path(written)
    if not path.is_file():
        raise ConfigError("config.data", f"'data.{field}': no file at '{path}'")
    return DataFile(field=f"data.{field}", path=str(path), digest=digest_file(path))
