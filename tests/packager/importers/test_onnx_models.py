"""What the ONNX importer takes: ZipMap, functions, onnxruntime's operators, versions; and what no parser should see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from packager.errors import ConversionError
from packager.importers import _wire
from packager.importers import onnx as importer
from packager.importers._importer import Options
from packager.importers._operators import unknown_operators
from packager.importers._wire import check_wire
from packager.jobs import importation
from packager.samples import DataFiles

if TYPE_CHECKING:
    from manifests.manifest import TaskSection

X = helper.make_tensor_value_info("x", 1, ["n", 2])
Y = helper.make_tensor_value_info("y", 1, ["n", 2])


def relu(*, opset: int = 17, ir_version: int = 8) -> onnx.ModelProto:
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="r")], "g", [X], [Y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def zipped(labels: dict[str, list[object]], *, with_label: bool = True) -> onnx.ModelProto:
    """A linear classifier of three classes whose scores are a list of dictionaries, as skl2onnx writes it."""
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=[1.0, 0.0, 0.0, 1.0, -1.0, -1.0],
            intercepts=[0.0, 0.1, 0.2],
            post_transform="SOFTMAX",
            **labels,
        ),
        helper.make_node("ZipMap", ["raw"], ["scores"], domain="ai.onnx.ml", **labels),
    ]
    kind = 7 if "classlabels_int64s" in labels or "classlabels_ints" in labels else 8
    map_type = helper.make_map_type_proto(kind, helper.make_tensor_type_proto(1, []))
    outputs = [helper.make_value_info("scores", helper.make_sequence_type_proto(map_type))]
    if with_label:
        outputs.insert(0, helper.make_tensor_value_info("label", kind, ["n"]))
    graph = helper.make_graph(nodes, "g", [X], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def imported(model: onnx.ModelProto, folder: Path) -> tuple[onnx.ModelProto, TaskSection]:
    onnx.save(model, folder / "m.onnx")
    found = importer.read_model(folder / "m.onnx", Options())
    return found.model, found.task


@pytest.mark.parametrize("with_label", [True, False])
def test_a_classifier_that_ends_in_zipmap_gives_its_scores_and_its_labels(tmp_path: Path, *, with_label: bool) -> None:
    model = zipped({"classlabels_strings": ["cat", "dog", "bird"]}, with_label=with_label)
    x = np.array([[1, 2], [-3, 0]], np.float32)
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(["scores"], {"x": x})[0]
    found, task = imported(model, tmp_path)
    assert (task.kind, task.output, task.labels) == ("classification", "scores", ("cat", "dog", "bird"))
    [scores] = onnxruntime.InferenceSession(found.SerializeToString()).run(None, {"x": x})
    assert scores.tolist() == [[row[label] for label in task.labels] for row in before]


def test_labels_that_are_numbers_become_text(tmp_path: Path) -> None:
    model = zipped({"classlabels_int64s": [3, 1, 2]})
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.extend(
        helper.make_attribute(name, value)
        for name, value in (
            ("coefficients", [1.0, 0.0, 0.0, 1.0, -1.0, -1.0]),
            ("intercepts", [0.0, 0.1, 0.2]),
            ("classlabels_ints", [3, 1, 2]),
        )
    )
    assert imported(model, tmp_path)[1].labels == ("3", "1", "2")


def test_a_model_with_functions_is_taken(tmp_path: Path) -> None:
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    graph = helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="own")], "g", [X], [Y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    assert len(imported(model, tmp_path)[0].functions) == 1
    assert unknown_operators(model) == []


def test_operators_that_onnxruntime_runs_are_taken_and_others_are_named(tmp_path: Path) -> None:
    def of(*operators: str) -> onnx.ModelProto:
        nodes, current = [], "x"
        for index, name in enumerate(operators):
            output = "y" if index == len(operators) - 1 else f"v{index}"
            nodes.append(helper.make_node(name, [current], [output], name=f"n{index}", domain="com.microsoft"))
            current = output
        graph = helper.make_graph(nodes, "g", [X], [Y])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    run(imported(of("Gelu"), tmp_path)[0], tmp_path)
    with pytest.raises(ConversionError) as caught:
        run(of("Gelu", "Telu", "Zelu"), tmp_path)
    assert caught.value.code == "import.operator"
    assert "n1 (com.microsoft.Telu): onnxruntime has no such operator" in str(caught.value)
    assert "n2 (com.microsoft.Zelu)" in str(caught.value)
    assert "n0" not in str(caught.value)


def run(model: onnx.ModelProto, folder: Path) -> importation.Importation:
    onnx.save(model, folder / "m.onnx")
    out = folder / "out"
    out.mkdir(exist_ok=True)
    from manifests.manifest import TaskSection

    order = importation.Order(
        framework="onnx", path=str(folder / "m.onnx"), trusted=False, task=TaskSection(), data=DataFiles()
    )
    return importation.run(order, out)


@pytest.mark.parametrize("ir_version", [3, 8, onnx.IR_VERSION])
@pytest.mark.parametrize("opset", [7, 17, onnx.defs.onnx_opset_version()])
def test_every_version_from_opset_7_and_ir_3_is_run(tmp_path: Path, opset: int, ir_version: int) -> None:
    assert run(relu(opset=opset, ir_version=ir_version), tmp_path).samples == 64


@pytest.mark.parametrize(
    ("opset", "ir_version", "message"),
    [
        (6, 8, "expected 7 to"),
        (99, 8, "expected 7 to"),
        (17, 99, "an IR version that can't be read: expected 3 to"),
    ],
)
def test_a_version_that_nobody_runs_is_refused(tmp_path: Path, opset: int, ir_version: int, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        imported(relu(opset=opset, ir_version=ir_version), tmp_path)


def test_external_data_inside_of_a_function_is_found(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(2, np.float32), "inner"))
    constant.attribute[0].t.data_location = onnx.TensorProto.EXTERNAL
    entry = constant.attribute[0].t.external_data.add()
    entry.key, entry.value = "location", "../secret"
    function = helper.make_function("own", "F", ["a"], ["c"], [constant], [helper.make_opsetid("", 17)])
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="own")], "g", [X], [Y])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConversionError, match="tensor 'inner' is not a file beside the model"):
        importer.read_model(tmp_path / "m.onnx", Options())


def nested(depth: int) -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [Y])
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "g", [], [Y])
    return helper.make_model(inner, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_graphs_within_graphs_are_refused_before_a_parser_sees_them() -> None:
    check_wire(nested(3).SerializeToString(), "m")
    data = b"\x08\x08\x3a\x00"
    for _ in range(200):
        data = b"\x0a" + _length(b"\x2a" + _length(b"\x32" + _length(data)))
    with pytest.raises(ConversionError) as caught:
        check_wire(b"\x3a" + _length(data), "m")
    assert caught.value.code == "import.nesting"


def _length(content: bytes) -> bytes:
    size, out = len(content), b""
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size]) + content


@pytest.mark.parametrize(("field", "limit"), [(b"\x0a\x00", "MOST_NODES"), (b"\x52\x00", "MOST_PARTS")])
def test_two_bytes_a_part_are_counted_before_they_become_objects(
    monkeypatch: pytest.MonkeyPatch, field: bytes, limit: str
) -> None:
    monkeypatch.setattr(_wire, limit, 1000)
    graph = field * 999
    check_wire(b"\x08\x08" if limit == "MOST_PARTS" else b"\x3a" + _length(graph), "m")
    with pytest.raises(ConversionError) as caught:
        check_wire(b"\x3a" + _length(field * 1001), "m")
    assert caught.value.code == "import.size"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x3a\x05\x0a", "longer than what holds it"),
        (b"\x0b", "wire type 3"),
        (b"\x08\x80", "cut off"),
        (b"\x08" + b"\xff" * 11, "no end"),
        (b"\x0d\x00", "cut off"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        check_wire(data, "m")


def test_onnxs_own_models_pass() -> None:
    import onnx.backend.test

    models = sorted((Path(onnx.backend.test.__file__).parent / "data").rglob("*.onnx"))
    assert len(models) > 100
    for path in models:
        check_wire(path.read_bytes(), path.name)
