"""The source of a reference, and the model fetched from it."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from packager import sources
from packager.errors import ConfigError, ConversionError
from packager.redaction import secret_in

if TYPE_CHECKING:
    from packager.cache import Cache
    from packager.config import Project
    from packager.sources._source import Fetched, Source
    from packager.worker import Workers


_FORMS = "a path, models:/, runs:/, oci://, s3://, gs://, az://, https:// or hf:"


def fetch_model(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The project's model, whose digest is the one that ``pack.toml`` names, if it does.

    Raises:
        PackError: it can't be fetched, or is another.
    """
    reference = project.model.source
    refuse_secrets(reference, "'model.source'")
    found = next((source for source in _sources() if source.matches(reference)), None)
    if found is None:
        raise ConfigError("config.field", f"'model.source': expected {_FORMS}, got '{reference}'")
    fetched = found.fetch(project, cache, workers)
    if project.model.digest not in (None, fetched.digest):
        raise ConversionError(
            "source.digest",
            f"digest of '{fetched.reference}' does not match 'model.digest': expected {project.model.digest}, "
            f"got {fetched.digest}",
            hint="the model is not the one that was approved",
        )
    return fetched


def refuse_secrets(reference: str, what: str) -> None:
    """Refuse a reference with credentials in it; `what` says where it is written.

    Raises:
        ConfigError: there are some.
    """
    secret = secret_in(reference)
    if secret:
        raise ConfigError(
            "config.secret",
            f"{what} holds {secret}",
            hint="credentials come from the environment, ~/.netrc or Docker's configuration",
        )


def _sources() -> list[Source]:
    names = [entry.name for entry in pkgutil.iter_modules(sources.__path__) if not entry.name.startswith("_")]
    modules = (importlib.import_module(f"packager.sources.{name}") for name in names if name != "finding")
    return [cast("Source", module) for module in modules]
