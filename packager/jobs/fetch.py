"""Fetch a model version and its lineage from an MLflow registry."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from manifests.manifest import LineageSection
from packager.errors import ConfigError, NetworkError
from packager.sources.mlflow import FetchedVersion, FetchOrder

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

Order = FetchOrder


def run(order: FetchOrder, out: Path) -> FetchedVersion:
    """The version's files below ``model``, and what the registry knows of where it came from."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    set_tracking_uri(order.tracking_uri)
    set_registry_uri(order.registry_uri)
    client = MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.registry_uri)
    wanted = f"models:/{order.name}/{order.version}" if order.version else f"models:/{order.name}@{order.alias}"
    try:
        version = _version(client, order)
        target = out / "model"
        target.mkdir()
        download_artifacts(artifact_uri=f"models:/{order.name}/{version.version}", dst_path=str(target))
        lineage = _lineage(client, version)
    except MlflowException as error:
        message = f"'{wanted}' can't be fetched from MLflow: {error.message.splitlines()[0]}"
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise ConfigError("source.mlflow", message, hint="mlflow ui shows what is registered") from error
        raise NetworkError("source.mlflow", message) from error
    return FetchedVersion(version=str(version.version), lineage=lineage)


def _version(client: MlflowClient, order: FetchOrder) -> ModelVersion:
    if order.alias:
        return client.get_model_version_by_alias(order.name, order.alias)
    return client.get_model_version(order.name, order.version)


def _lineage(client: MlflowClient, version: ModelVersion) -> LineageSection:
    if not version.run_id:
        return LineageSection()
    run = client.get_run(version.run_id)
    datasets = [entry.dataset for entry in (run.inputs.dataset_inputs if run.inputs else ())]
    return LineageSection(
        run=version.run_id,
        commit=run.data.tags.get("mlflow.source.git.commit", ""),
        parameters=dict(run.data.params),
        metrics={name: value for name, value in run.data.metrics.items() if math.isfinite(value)},
        datasets={dataset.name: dataset.digest for dataset in datasets},
    )
