from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from packager.build import Built, build
from packager.config import load_project
from packager.errors import ConfigError
from packager.sources.mlflow import matches

pytestmark = pytest.mark.slow
FAKES = Path(__file__).parents[2] / "fakes" / "plugin"
REGISTER = """
import json, os, sys, warnings
os.chdir(sys.argv[1])
warnings.simplefilter("ignore")
import mlflow
import mlflow.data
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri("sqlite:///mlflow.db")
x, y = load_iris(return_X_y=True)
with mlflow.start_run() as run:
    mlflow.log_params({"C": 0.5})
    mlflow.log_metric("score", 0.75)
    mlflow.set_tag("mlflow.source.git.commit", "0123456789abcdef0123456789abcdef01234567")
    data = mlflow.data.from_numpy(x, targets=y, name="iris")
    mlflow.log_input(data, context="training")
    model = LogisticRegression(max_iter=200).fit(x, y)
    # Requirements that are given are not inferred, which would load the model in one more process.
    mlflow.sklearn.log_model(model, name="model", registered_model_name="iris", pip_requirements=["scikit-learn"])
mlflow.MlflowClient().set_registered_model_alias("iris", "candidate", 1)
print(json.dumps({"run": run.info.run_id, "dataset": data.digest}))
"""
DOCUMENT = """
[model]
name = "iris"
source = "{source}"
[targets.null]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A project folder with an MLflow registry in it, and what was logged."""
    folder = tmp_path_factory.mktemp("registry")
    ran = subprocess.run(
        [sys.executable, "-c", REGISTER, str(folder)], capture_output=True, text=True, check=True, cwd=folder
    )
    return folder, json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, registry: tuple[Path, dict[str, str]]) -> None:
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    monkeypatch.setenv("PACK_CACHE", str(registry[0] / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)


def build_from(folder: Path, source: str) -> Built:
    (folder / "pack.toml").write_text(DOCUMENT.format(source=source))
    (built,) = build(load_project(folder))
    assert isinstance(built, Built)
    return built


def test_a_version_in_the_registry_becomes_a_bundle_with_its_lineage(registry: tuple[Path, dict[str, str]]) -> None:
    folder, logged = registry
    manifest = build_from(folder, "models:/iris@candidate").manifest
    assert manifest.bundle.version == "1"
    assert manifest.bundle.counter == 1
    assert manifest.model.source.reference == "models:/iris@candidate"
    assert manifest.model.source.framework == "sklearn"
    assert manifest.model.task.labels == ("0", "1", "2")
    assert manifest.lineage.run == logged["run"]
    assert manifest.lineage.commit == "0123456789abcdef0123456789abcdef01234567"
    assert manifest.lineage.parameters == {"C": "0.5"}
    assert manifest.lineage.metrics == {"score": 0.75}
    assert manifest.lineage.datasets == {"iris": logged["dataset"]}
    assert manifest.parity.inputs == "generated"


def test_an_unchanged_registry_is_not_asked_again_and_a_changed_one_is(registry: tuple[Path, dict[str, str]]) -> None:
    folder, _ = registry
    steps: list[tuple[str, bool]] = []

    class Told:
        def started(self, target: str, step: str) -> None: ...

        def finished(self, target: str, step: str, seconds: float, *, cached: bool) -> None:
            del target, seconds
            steps.append((step, cached))

    build_from(folder, "models:/iris@candidate")
    project = load_project(folder)
    build(project, progress=Told())
    assert steps[0] == ("fetch", True)
    import sqlite3

    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("create table touched (number integer)")
    steps.clear()
    build(project, progress=Told())
    assert steps[:2] == [("fetch", False), ("import", True)]


def test_a_version_that_is_not_registered_is_refused(registry: tuple[Path, dict[str, str]]) -> None:
    with pytest.raises(ConfigError, match="can't be fetched from MLflow"):
        build_from(registry[0], "models:/iris/7")


def test_a_registry_that_is_missing_is_refused_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no MLflow registry at"):
        build_from(tmp_path, "models:/iris/1")
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("source", ["models:/iris", "models:/iris/latest", "models:/iris@", "models:/a/b/1"])
def test_a_reference_without_version_or_alias_is_refused(registry: tuple[Path, dict[str, str]], source: str) -> None:
    assert matches(source)
    with pytest.raises(ConfigError, match=r"expected models:/NAME/VERSION"):
        build_from(registry[0], source)
