from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import pytest

from packager.config import load_project, project_for_model
from packager.errors import ConfigError
from packager.schema import project_schema

BASE = '[model]\nname = "digits"\nsource = "model.onnx"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "pack.toml").write_text(text)
    return folder


def test_a_project_has_its_targets_with_options_and_limits(tmp_path: Path) -> None:
    text = BASE + (
        '[gates]\nsize = "64 KB"\nparity = 0.1\n[targets.cloud]\noptimization = "basic"\n'
        '[targets.edge-arm]\ngates.latency_p95 = "5 ms"\ngates.size = "32 KB"\n'
    )
    project = load_project(write(tmp_path, text))
    assert list(project.targets) == ["cloud", "edge-arm"]
    cloud, edge = project.targets.values()
    assert msgspec.to_builtins(cloud.options)["optimization"] == "basic"
    assert cloud.gates.size is not None
    assert cloud.gates.size.value == 64_000
    assert cloud.gates.latency_p95 is None
    assert edge.gates.size is not None
    assert edge.gates.size.value == 32_000
    assert edge.gates.parity is not None
    assert edge.gates.latency_p95 is not None
    assert edge.gates.latency_p95.value == 5


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (BASE + "[data]\ncalibraton = 'x'\n[targets.cloud]\n", "unknown field 'data.calibraton'", "'calibration'"),
        (BASE + "[targets.cloud]\noptimisation = 1\n", "unknown field 'targets.cloud.optimisation'", "'optimization'"),
        (
            BASE + "[targets.cloud]\noptimization = 'x'\n",
            "'targets.cloud.optimization' is not valid",
            "basic, extended, none",
        ),
        (BASE + "[targets.clowd]\n", "unknown target 'clowd'", "'cloud'"),
        (BASE + "[targets.cloud]\ngates.sise = '1 B'\n", "unknown field 'targets.cloud.gates.sise'", "'size'"),
        (BASE + "[targets.cloud]\ngates.size = '1 x'\n", "'targets.cloud.gates.size': expected a quantity", ""),
        (BASE + "[gates]\nlatency_p95 = '5'\n[targets.cloud]\n", "'gates.latency_p95': expected a quantity", ""),
        (BASE + "[gates]\nwaivers = {size = ' '}\n[targets.cloud]\n", "'gates.waivers.size' is empty", "why"),
        (BASE + "[targets.cloud]\ngates = 3\n", "'targets.cloud.gates' is not valid", ""),
        (BASE + "task = {kid = 1}\n[targets.cloud]\n", "unknown field 'model.task.kid'", "'kind'"),
        ("[model]\nname = 'a'\n[targets.cloud]\n", "'model.source' is missing", ""),
        ("[targets.cloud]\n", "'model' is missing", ""),
        (BASE, "'targets' is missing", ""),
        (BASE + "[targets]\n", "'targets' is empty", "[targets.cloud]"),
        (BASE + "version = 'A B'\n[targets.cloud]\n", "'model.version' is not a name", ""),
        (BASE + "framework = 'caffe'\n[targets.cloud]\n", "'model.framework': expected one of", ""),
        (
            BASE + "[model.inputs.x]\nshap = 1\n[model.inputs.a]\n[targets.cloud]\n",
            "unknown field 'model.inputs.x.shap'",
            "'shape'",
        ),
        (
            BASE + "[model.pipeline.inputs.x]\nkind = 'picture'\n[targets.cloud]\n",
            "'model.pipeline.inputs.x.kind' is not valid",
            "audio, image, tensor, text",
        ),
        (
            BASE + "[model.inputs.x]\nshape = [0]\n[targets.cloud]\n",
            "'model.inputs.x.shape[0]' is not valid",
            "",
        ),
        (BASE + "digest = 'sha256:1'\n[targets.cloud]\n", "'model.digest' is not valid", "64 hexadecimal digits"),
        ("[model]\nname = 'A B'\nsource = 'm'\n[targets.cloud]\n", "'model.name' is not valid", "lower-case letters"),
        ("[model]\nname = 'a'\nsource = ''\n[targets.cloud]\n", "'model.source' is not valid", ""),
        ("model = [", "is not TOML", ""),
    ],
)
def test_a_wrong_field_is_named_by_its_path_with_a_hint(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(write(tmp_path, text))
    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_project(tmp_path)
    assert caught.value.hint == "pack init writes one"


def test_parity_has_no_waiver(tmp_path: Path) -> None:
    text = BASE + "[gates]\nwaivers = {parity = 'trust me'}\n[targets.cloud]\n"
    with pytest.raises(ConfigError, match=r"gates\.waivers"):
        load_project(write(tmp_path, text))


def test_places_come_from_the_file_then_the_environment_then_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PACK_CACHE", "PACK_SIGNING_KEY", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/configurations")
    project = load_project(write(tmp_path, BASE + "[targets.cloud]\n"))
    assert project.cache == Path("/caches/packtrain")
    assert project.signing_key == Path("/configurations/packtrain/keys/pack.key")
    assert project.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("PACK_CACHE", "/own")
    monkeypatch.setenv("PACK_SIGNING_KEY", "/keys/a.key")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry")
    project = load_project(tmp_path)
    assert (project.cache, project.signing_key) == (Path("/own"), Path("/keys/a.key"))
    assert (project.tracking_uri, project.registry_uri) == ("http://registry", "http://registry")
    text = BASE + "tracking_uri = 'sqlite:///r.db'\n[targets.cloud]\n[signing]\nkey = 'k.key'\n"
    project = load_project(write(tmp_path, text))
    assert project.signing_key == tmp_path / "k.key"
    assert project.tracking_uri == f"sqlite:///{tmp_path}/r.db"


def test_a_model_alone_is_a_project_for_a_first_look(tmp_path: Path) -> None:
    (tmp_path / "My Model.onnx").write_bytes(b"")
    project = project_for_model(tmp_path / "My Model.onnx", ["cloud"], folder=tmp_path)
    assert project.model.name == "my-model"
    assert list(project.targets) == ["cloud"]
    assert project.store == tmp_path / ".pack" / "store"


def test_a_model_alone_needs_to_be_there_and_a_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model at"):
        project_for_model(tmp_path / "missing.onnx", ["cloud"])
    with pytest.raises(ConfigError, match="no target is named"):
        project_for_model(tmp_path, [])


def test_the_schema_takes_what_the_loader_takes_and_refuses_what_it_refuses() -> None:
    schema = project_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = {
        "model": {"name": "digits", "source": "models:/digits@candidate"},
        "data": {"evaluation": "e.npz", "label": "digit"},
        "gates": {"size": "64 KB"},
        "targets": {"cloud": {"optimization": "basic", "gates": {"parity": 0.1}}, "edge-arm": {"quantize": "int8"}},
    }
    validator.validate(good)
    for bad in (
        {**good, "extra": 1},
        {**good, "targets": {"cloud": {"optimisation": 1}}},
        {**good, "targets": {"nowhere": {}}},
        {**good, "targets": {}},
        {**good, "gates": {"waivers": {"parity": "x"}}},
    ):
        assert not validator.is_valid(bad), bad
