from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from packager.errors import ConfigError, ConversionError
from packager.importers import onnx as importer
from packager.importers._importer import Options
from packager.importers.detection import detect_framework

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = Options()


def model() -> onnx.ModelProto:
    weights = numpy_helper.from_array(np.ones((4, 300), dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info("y", 1, ["N", 300])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_external(path: Path, location: str = "weights.bin") -> None:
    onnx.save(model(), path, save_as_external_data=True, location=location, size_threshold=0)


@pytest.mark.parametrize("name", ["model.onnx", "model.bin", "folder"])
def test_an_onnx_file_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    file = place
    if name == "folder":
        place.mkdir()
        file = place / "any"
    onnx.save(model(), file)
    assert detect_framework(place) == ("onnx", file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"not a model at all",
        b"\x08\x07\x12\x0a\x0a\x05input",
        b"\x08\x07\x12\x80\x01\x0a\x05input",
        b"PK\x05\x06" + b"\0" * 18,
    ],
)
def test_what_no_importer_knows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ConversionError, match="is of no framework that can be imported: expected one of catboost, "):
        detect_framework(tmp_path / "model.onnx")


def test_a_framework_that_is_asked_for_must_fit(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="is not a model of sklearn"):
        detect_framework(tmp_path / "model.onnx", wanted="sklearn")
    with pytest.raises(ConfigError, match=r"expected one of .*sklearn.*, got 'caffe'"):
        detect_framework(tmp_path / "model.onnx", wanted="caffe")


def test_mlflows_listing_says_which_file_is_the_model(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors:\n  onnx:\n    data: inner.onnx\n    onnx_version: 1.0\nrun_id: x\n")
    onnx.save(model(), tmp_path / "inner.onnx")
    onnx.save(model(), tmp_path / "other.onnx")
    assert detect_framework(tmp_path) == ("onnx", tmp_path / "inner.onnx")


def test_mlflows_listing_can_not_point_outside(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "MLmodel").write_text("flavors:\n  onnx:\n    data: ../secret.onnx\n")
    onnx.save(model(), tmp_path / "secret.onnx")
    with pytest.raises(ConversionError, match="no framework"):
        detect_framework(tmp_path / "run")


def test_external_data_beside_the_model_is_taken_in(tmp_path: Path) -> None:
    save_external(tmp_path / "model.onnx")
    found = importer.read_model(tmp_path / "model.onnx", OPTIONS)
    assert numpy_helper.to_array(found.model.graph.initializer[0]).shape == (4, 300)
    assert not found.model.graph.initializer[0].external_data


@pytest.mark.parametrize("location", ["../secret.bin", "missing.bin", "link.bin"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    save_external(folder / "model.onnx")
    (tmp_path / "secret.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    loaded = onnx.load(folder / "model.onnx", load_external_data=False)
    for entry in loaded.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (folder / "model.onnx").write_bytes(loaded.SerializeToString())
    with pytest.raises(ConversionError, match="is not a file beside the model"):
        importer.read_model(folder / "model.onnx", OPTIONS)


def test_a_model_past_the_limit_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_external(tmp_path / "model.onnx")
    monkeypatch.setattr(importer, "SIZE_LIMIT", 1000)
    with pytest.raises(ConversionError, match="too large: expected at most 1000 bytes"):
        importer.read_model(tmp_path / "model.onnx", OPTIONS)


@pytest.mark.parametrize("damage", ["cut", "cycle"])
def test_a_damaged_model_is_refused(tmp_path: Path, damage: str) -> None:
    broken = model()
    if damage == "cycle":
        broken.graph.node[0].input[0] = "y"
    data = broken.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(data[:-20] if damage == "cut" else data)
    with pytest.raises(ConversionError, match=r"'model\.onnx' is not"):
        importer.read_model(tmp_path / "model.onnx", OPTIONS)
