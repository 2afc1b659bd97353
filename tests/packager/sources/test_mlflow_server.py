"""A real tracking server, with artifacts proxied through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from packager.errors import ConfigError, ConversionError, NetworkError
from tests.packager.servers import free_port, locked, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packager.sources._source import Fetched
    from tests.packager.servers import Address
    from tests.packager.sources.conftest import Fetch

pytestmark = pytest.mark.slow
REGISTER = """
import json, pathlib, sys, warnings
warnings.simplefilter("ignore")
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client = MlflowClient()
client.create_registered_model("net")
pathlib.Path("folder").mkdir()
pathlib.Path("folder", "notes.txt").write_text("one")
runs = []
for number in (1, 2):
    pathlib.Path("folder", "net.onnx").write_bytes(b"weights %d" % number)
    with mlflow.start_run() as run:
        mlflow.log_param("store", "postgres://trainer:param-secret@db/data")
        mlflow.log_artifacts("folder", "net")
    client.create_model_version("net", f"runs:/{run.info.run_id}/net", run.info.run_id)
    runs.append(run.info.run_id)
client.set_registered_model_alias("net", "candidate", 1)
print(json.dumps(runs))
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Address, list[str]]]:
    """The server, and the runs of versions 1 and 2 of the model 'net'."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    database, files = f"sqlite:///{folder}/server.db", str(folder / "artifacts")
    options = ["--backend-store-uri", database, "--artifacts-destination", files, "--workers", "1"]
    command = locked("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *options)
    with served(command, port, folder, quiet) as address:
        registered = subprocess.run(
            [sys.executable, "-c", REGISTER, address.url],
            cwd=folder,
            env={**os.environ, **quiet},
            capture_output=True,
            text=True,
            check=True,
        )
        yield address, json.loads(registered.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def server(registry: tuple[Address, list[str]], project: object, monkeypatch: pytest.MonkeyPatch) -> None:
    del project  # which forgets what the environment says of registries
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry[0].url)


def content(fetched: Fetched) -> bytes:
    return (fetched.path / "net.onnx").read_bytes()


def test_versions_and_aliases_are_fetched_once(
    registry: tuple[Address, list[str]], fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, runs = registry
    first = fetch("models:/net@candidate")
    assert (content(first), first.version, first.lineage.run, first.cached) == (b"weights 1", "1", runs[0], False)
    assert fetch("models:/net/1").cached
    second = fetch("models:/net/2")
    assert (content(second), second.version, second.lineage.run) == (b"weights 2", "2", runs[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry[0].url)
    assert fetch("models:/net@candidate").path == first.path


def test_a_password_that_a_run_logged_does_not_reach_the_lineage(fetch: Fetch) -> None:
    assert fetch("models:/net/1").lineage.parameters == {"store": "postgres://***@db/data"}


def test_a_runs_folder_and_file_are_fetched_with_its_lineage(registry: tuple[Address, list[str]], fetch: Fetch) -> None:
    run = registry[1][1]
    folder = fetch(f"runs:/{run}/net")
    assert (content(folder), folder.lineage.run, folder.version) == (b"weights 2", run, "")
    assert fetch(f"runs:/{run}/net/net.onnx").path.read_bytes() == b"weights 2"


def test_what_the_server_does_not_have_is_refused(registry: tuple[Address, list[str]], fetch: Fetch) -> None:
    for source in ("models:/net/9", "models:/net@nobody", f"runs:/{'0' * 32}/net", f"runs:/{registry[1][0]}/other"):
        with pytest.raises(ConfigError, match=r"can.t be fetched from MLflow|nothing is there"):
            fetch(source)


def test_a_model_above_the_limit_is_refused_before_it_is_fetched(fetch: Fetch) -> None:
    with pytest.raises(ConversionError, match="too large: expected at most 10 bytes, got 12"):
        fetch("models:/net/2", "size_limit = 10")


def test_a_server_that_is_not_there_is_a_network_error_without_the_password(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:url-password@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(NetworkError, match="can't be fetched from MLflow") as caught:
        fetch("models:/net/1")
    assert "url-password" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
