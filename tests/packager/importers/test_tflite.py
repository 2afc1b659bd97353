from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from manifests.digests import digest_file
from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.detection import detect_framework
from packager.importers.tflite import read_model
from packager.jobs import conversion, importation
from packager.measures.native import open_source
from packager.preparation import prepare_for
from packager.registry import registrations
from packager.samples import DataFiles
from targets import cloud, edge_arm
from targets._target import TargetError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def source() -> onnx.ModelProto:
    """Two dense layers, (1, 4) to (1, 3)."""
    random = np.random.default_rng(1)
    weights = [random.normal(size=size).astype(np.float32) for size in ((4, 8), (8, 3))]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w0"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "w1"], ["y"]),
        ],
        "layers",
        [helper.make_tensor_value_info("x", 1, [1, 4])],
        [helper.make_tensor_value_info("y", 1, [1, 3])],
        [numpy_helper.from_array(array, f"w{place}") for place, array in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def made(folder: Path, quantize: str) -> Path:
    """A TFLite file, by a target of our own."""
    onnx.save(source(), folder / "source.onnx")
    (folder / "made").mkdir()
    options = msgspec.convert({"quantize": quantize}, edge_arm.Options)
    calibration = {"x": ROWS} if quantize != "none" else None
    edge_arm.target.convert(folder / "source.onnx", options, calibration, folder / "made")
    return folder / "made" / "model.tflite"


def imported(path: Path, out: Path) -> importation.Importation:
    out.mkdir()
    order = importation.Order(framework="tflite", path=str(path), trusted=False, task=TaskSection(), data=DataFiles())
    return importation.run(order, out)


@pytest.mark.parametrize("quantize", ["none", "int8-io"])
def test_a_tflite_file_goes_into_the_bundle_unchanged_and_gives_what_it_gave(tmp_path: Path, quantize: str) -> None:
    path = made(tmp_path, quantize)
    assert detect_framework(path) == ("tflite", path)
    found = imported(path, tmp_path / "imported")
    assert found.worst_difference == 0
    model = tmp_path / "imported" / "model.onnx"
    registration = registrations()["edge-arm"]
    order = conversion.Order(
        registration=registration,
        model=str(model),
        digest=digest_file(model),
        options={},
        task=found.task,
        names=(),
        data=DataFiles(),
        turns=str(tmp_path / "turns"),
    )
    (tmp_path / "out").mkdir()
    converted = conversion.run(order, tmp_path / "out")
    shipped = tmp_path / "out" / "files" / converted.artifact.runtime.entry
    assert shipped.read_bytes() == path.read_bytes()
    assert converted.parity.outputs[0].max_relative < 1e-6
    assert converted.artifact.runtime.kind == "litert"
    assert [entry.dtype for entry in converted.artifact.signature.inputs] == [
        "int8" if quantize != "none" else "float32"
    ]


def test_real_numbers_go_in_and_come_out_of_a_quantized_file(tmp_path: Path) -> None:
    path = made(tmp_path, "int8-io")
    imported(path, tmp_path / "imported")
    quantized = open_source(tmp_path / "imported" / "model.onnx")
    plain = open_source(tmp_path / "source.onnx")
    worst = max(np.abs(quantized.run({"x": row[None]})["y"] - plain.run({"x": row[None]})["y"]).max() for row in ROWS)
    largest = max(np.abs(plain.run({"x": row[None]})["y"]).max() for row in ROWS)
    assert 0 < worst < 0.05 * largest


def test_a_target_that_can_not_take_a_tflite_file_says_so(tmp_path: Path) -> None:
    model = read_model(made(tmp_path, "none"), Options()).model
    with pytest.raises(ConversionError, match=r"cloud can't take a tflite file.*expected one of onnx"):
        prepare_for(model, cloud.target, cloud.target.Options())


def test_an_option_that_would_change_the_file_is_refused(tmp_path: Path) -> None:
    model = read_model(made(tmp_path, "none"), Options()).model
    onnx.save(model, tmp_path / "carrier.onnx")
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetError, match="shipped as it is: expected quantize = 'none', got 'float16'"):
        edge_arm.target.convert(tmp_path / "carrier.onnx", edge_arm.Options(quantize="float16"), None, tmp_path / "out")


@pytest.mark.parametrize("data", [b"\x1c\0\0\0TFL3", b"\xff\xff\xff\xffTFL3" + b"\xff" * 64])
def test_what_litert_can_not_load_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model").write_bytes(data)
    assert detect_framework(tmp_path / "model")[0] == "tflite"
    with pytest.raises(ConversionError, match="LiteRT can't load the file"):
        read_model(tmp_path / "model", Options())
