"""MLflow's registry and runs: ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` and ``runs:/RUN/PATH``.

MLflow's import costs seconds, so it happens in a worker, and the answer is kept: for a local SQLite registry as long as
the database file is the same, byte for byte, and for a server as long as a version, which is immutable, was named. An
alias of a server is asked for each time. Files of a run can be replaced without a trace, so they are always fetched.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from manifests.manifest import LineageSection
from packager.downloads import refuse_large
from packager.errors import ConfigError, NetworkError
from packager.fingerprints import content_digest, mapping_digest
from packager.redaction import redact
from packager.sources._remote import Request, fetch_remote
from packager.sources._source import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import FileInfo
    from mlflow.entities.model_registry import ModelVersion

    from packager.cache import Cache
    from packager.config import Project
    from packager.sources._source import Bounds, Fetched
    from packager.worker import Workers

DISTRIBUTIONS = ("mlflow-skinny", "sqlalchemy")
EXTRA = "mlflow"

_MODEL = re.compile(r"models:/([^/@]+)(?:/([0-9]+)|@([^/@]+))")
_RUN = re.compile(r"runs:/([0-9A-Za-z_-]+)/(.+)")

_HINT = "is MLFLOW_TRACKING_URI right, and MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN?"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model, what an alias stands for, or files of a run."""

    tracking_uri: str
    registry_uri: str
    database: str
    """The digest of the local registry; empty: it is a server."""
    name: str = ""
    version: str = ""
    alias: str = ""
    run: str = ""
    path: str = ""
    """Below the run's artifacts."""


def matches(reference: str) -> bool:
    """``models:/...`` and ``runs:/...``."""
    return reference.startswith(("models:", "runs:"))


def fetch(project: Project, cache: Cache, workers: Workers) -> Fetched:
    """The version's files, with the lineage of the run that logged it."""
    order = _order(project)
    fixed = _fixed(order)
    request = Request(
        source="mlflow", order=order, distributions=DISTRIBUTIONS, extra=EXTRA, identity=fixed.text if fixed else ""
    )
    return fetch_remote(request, project, cache, workers)


def identify(order: Order) -> Identity:
    """The version that an alias stands for."""
    fixed = _fixed(order)
    if order.run or (fixed is not None and order.version):
        return fixed or Identity(text="")
    with _errors(order):
        version = str(_version(_client(order), order).version)
    named = msgspec.structs.replace(order, version=version, alias="")
    return Identity(text=(fixed or _named(named)).text, version=version)


def download(order: Order, identity: Identity, out: Path, bounds: Bounds) -> LineageSection:
    """The files, and what MLflow knows of the run that they come from."""
    from mlflow.artifacts import download_artifacts

    with _errors(order):
        client = _client(order)
        if order.run:
            root, run = f"runs:/{order.run}", order.run
        else:
            root = f"models:/{order.name}/{identity.version}"
            run = client.get_model_version(order.name, identity.version).run_id
        refuse_large(_written(order), _size(root, order.path, bounds.size), bounds.size)
        download_artifacts(artifact_uri=f"{root}/{order.path}" if order.path else root, dst_path=str(out))
        return _lineage(client, run)


def _order(project: Project) -> Order:
    database = _database(project.registry_uri) | _database(project.tracking_uri)
    order = Order(
        tracking_uri=project.tracking_uri,
        registry_uri=project.registry_uri,
        database=mapping_digest(database) if database else "",
    )
    model, run = _MODEL.fullmatch(project.model.source), _RUN.fullmatch(project.model.source)
    if model is not None:
        return msgspec.structs.replace(order, name=model[1], version=model[2] or "", alias=model[3] or "")
    if run is not None:
        return msgspec.structs.replace(order, run=run[1], path=run[2])
    raise ConfigError(
        "config.field",
        "'model.source': expected models:/NAME/VERSION, models:/NAME@ALIAS or runs:/RUN/PATH, "
        f"got '{project.model.source}'",
    )


def _fixed(order: Order) -> Identity | None:
    """What can be said without asking."""
    if order.run:
        return None
    if order.database:
        return Identity(text=f"{order.database} {_written(order)}", version=order.version)
    return _named(order) if order.version else None


def _named(order: Order) -> Identity:
    return Identity(text=f"{order.tracking_uri} {order.registry_uri} {_written(order)}", version=order.version)


def _written(order: Order) -> str:
    if order.run:
        return f"runs:/{order.run}/{order.path}"
    return f"models:/{order.name}/{order.version}" if order.version else f"models:/{order.name}@{order.alias}"


def _client(order: Order) -> MlflowClient:
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri

    set_tracking_uri(order.tracking_uri)
    set_registry_uri(order.registry_uri)
    return MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.registry_uri)


@contextmanager
def _errors(order: Order) -> Iterator[None]:
    """MLflow's errors as ours."""
    import requests
    from mlflow.exceptions import MlflowException

    what = f"'{_written(order)}' can't be fetched from MLflow"
    try:
        yield
    except MlflowException as error:
        said = redact(str(error.message).splitlines()[0])
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}:
            raise ConfigError("source.mlflow", f"{what}: {said}", hint="mlflow ui shows what is registered") from error
        raise NetworkError("source.mlflow", f"{what}: {said}", hint=_HINT) from error
    except requests.RequestException as error:
        raise NetworkError("source.mlflow", f"{what}: {redact(str(error))}", hint=_HINT) from error


def _version(client: MlflowClient, order: Order) -> ModelVersion:
    if order.alias:
        return client.get_model_version_by_alias(order.name, order.alias)
    return client.get_model_version(order.name, order.version)


def _size(root: str, path: str, limit: int) -> int:
    """The bytes of the files at `path` below an artifact root; counting ends when there are too many."""
    listed = _listed(root, path)
    if not listed:  # a file has no entries, so its folder is asked
        beside = _listed(root, path.rpartition("/")[0])
        return sum(entry.file_size or 0 for entry in beside if entry.path == path)
    total = 0
    while listed and total <= limit:
        entry = listed.pop()
        if entry.is_dir:
            listed += _listed(root, entry.path)
        else:
            total += entry.file_size or 0
    return total


def _listed(root: str, path: str) -> list[FileInfo]:
    from mlflow.artifacts import list_artifacts

    scheme, _, run = root.partition(":/")
    if scheme == "runs" and not path:
        return list(list_artifacts(run_id=run))  # MLflow takes runs:/RUN for no URI
    return list(list_artifacts(artifact_uri=f"{root}/{path}" if path else root))


def _lineage(client: MlflowClient, run_id: str | None) -> LineageSection:
    if not run_id:
        return LineageSection()
    run = client.get_run(run_id)
    datasets = [entry.dataset for entry in (run.inputs.dataset_inputs if run.inputs else ())]
    return LineageSection(
        run=run_id,
        commit=run.data.tags.get("mlflow.source.git.commit", ""),
        parameters={name: redact(value) for name, value in run.data.params.items()},
        metrics={name: value for name, value in run.data.metrics.items() if math.isfinite(value)},
        datasets={redact(dataset.name): dataset.digest for dataset in datasets},
    )


def _database(uri: str) -> dict[str, str]:
    """The digests of a local SQLite database and its journal; empty: the registry is something else.

    Raises:
        ConfigError: there is no such database. MLflow would make an empty one.
    """
    scheme, _, place = uri.partition("://")
    if scheme != "sqlite":
        return {}
    path = Path(place.removeprefix("/") if not place.startswith("//") else place[1:])
    if not path.exists():
        raise ConfigError(
            "config.registry",
            f"no MLflow registry at '{path}'",
            hint="set [model] tracking_uri, or MLFLOW_TRACKING_URI",
        )
    journal = path.with_name(f"{path.name}-wal")
    return {entry.name: content_digest(entry) for entry in (path, journal) if entry.exists()}
