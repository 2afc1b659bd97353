"""Fetching as a build does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from packager.cache import Cache
from packager.config import load_project
from packager.sources.finding import fetch_model
from packager.worker import Workers

if TYPE_CHECKING:
    from pathlib import Path

    from packager.sources._source import Fetched

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_SECRET_ACCESS_KEY",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "HF_HOME",
    "HF_HUB_CACHE",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_TRACKING_URI",
    "NETRC",
    "REGISTRY_AUTH_FILE",
)


class Fetch(Protocol):
    """Fetches what a ``pack.toml`` with that source, and these further lines of ``[model]``, names."""

    def __call__(self, source: str, *lines: str) -> Fetched: ...


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a project; homes and caches are below `tmp_path`, and no credentials are set."""
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PACK_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def fetch(project: Path) -> Fetch:
    def run(source: str, *lines: str) -> Fetched:
        model = "\n".join(['name = "digits"', f'source = "{source}"', *lines])
        (project / "pack.toml").write_text(f"[model]\n{model}\n[targets.cloud]\n")
        loaded = load_project(project)
        cache = Cache(loaded.cache)
        with Workers(cache.scratch, seconds=120, memory=loaded.job_memory) as workers:
            return fetch_model(loaded, cache, workers)

    return run
