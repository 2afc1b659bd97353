"""`pack deploy-files`: what the platforms' own schemas say of the files."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import onnxruntime
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.deployment.blocks import write_blocks
from tests.packager.projects import make_project
from tests.packager.servers import ROOT, locked
from tests.packager.serving.conftest import PACK

if TYPE_CHECKING:
    from packager.deployment.blocks import Value
    from tests.packager.projects import Project

HERE = Path(__file__).parent
IMAGE = "ghcr.io/team/scale@sha256:" + "a" * 64
PLATFORMS = ("azureml", "kserve", "kubernetes", "triton")

scalars = st.none() | st.booleans() | st.integers() | st.text()
names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9./-]{0,20}", fullmatch=True).filter(
    lambda name: name.lower() not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20)


def deploy(project: Project, output: Path, *more: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
    words = ["deploy-files", "scale:1@cloud", "--key", project.key, "--output", output, *more]
    ran = subprocess.run([*PACK, *map(str, words)], cwd=project.folder, capture_output=True, text=True, check=False)
    assert ran.returncode == expect, ran.stderr
    return ran


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"), options="package = true")


@pytest.fixture(scope="module")
def written(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployments")
    for platform in PLATFORMS:
        deploy(project, folder / platform, "--for", platform, "--image", IMAGE)
    return folder


def test_triton_understands_its_configuration_and_its_backend_the_file(written: Path) -> None:
    place = written / "triton" / "scale"
    command = locked("python", str(HERE / "configuration.py"), str(place / "config.pbtxt"), group="clients")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    seen: dict[str, Any] = json.loads(ran.stdout)
    assert (seen["name"], seen["backend"], seen["max_batch_size"]) == ("scale", "onnxruntime", 64)
    assert seen["input"][0] == {"name": "x", "data_type": "TYPE_FP32", "dims": ["4"]}
    assert seen["input"][1] == {"name": "kind", "data_type": "TYPE_INT64", "dims": ["1"], "reshape": {}}
    assert seen["output"][1]["data_type"] == "TYPE_BOOL"
    (model,) = place.glob("*/model.onnx")
    assert int(model.parent.name) >= 1
    assert [entry.name for entry in onnxruntime.InferenceSession(model).get_inputs()] == ["x", "kind"]


def test_kubernetes_and_azure_take_every_file(written: Path) -> None:
    if "schemas" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]:
        pytest.skip("the lock has no group 'schemas'")
    command = locked("python", str(HERE / "platforms.py"), str(written), group="schemas")
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [
        "HorizontalPodAutoscaler",
        "Deployment",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Service",
        "ManagedOnlineEndpoint",
        "ManagedOnlineDeployment",
        "/v2/models/scale/infer",
    ]


def test_kserves_schema_takes_the_inference_service(written: Path) -> None:
    document = yaml.safe_load((written / "kserve" / "inferenceservice.yaml").read_text())
    schema = json.loads((HERE / "inferenceservice.v1beta1.schema.json").read_text())
    jsonschema.validate(document, schema)
    document["spec"]["predictor"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_the_server_is_nobody_and_its_image_is_pinned(written: Path) -> None:
    deployment = yaml.safe_load((written / "kubernetes" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert pod["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"]["readOnlyRootFilesystem"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8080, "grpc": 8081}
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--for", "kubernetes"), "--image: expected NAME@sha256"),
        (("--for", "kserve", "--image", "ghcr.io/team/scale:latest"), "got 'ghcr.io/team/scale:latest'"),
        (("--for", "nomad"), "expected one of azureml, kserve, kubernetes, triton"),
    ],
)
def test_what_is_not_pinned_or_not_known_is_refused(
    project: Project, tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    assert words in deploy(project, tmp_path / "x", *more, expect=2).stderr
    assert not (tmp_path / "x").exists()


@given(values)
def test_yaml_reads_what_was_written(value: Value) -> None:
    assert yaml.safe_load(write_blocks(value)) == value
