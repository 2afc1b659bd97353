from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from packager.errors import ConversionError
from packager.hub import bind_dimensions, convert_opset, fold_constants, inline_functions, lower_ml
from packager.hub.form import Form
from packager.hub.graph import keep_outputs, opset
from targets._target import Needs

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def form(  # the defaults are what most tests ask for
    lowest: int = 13,
    highest: int = 21,
    *,
    ir_version: int = 10,
    dimensions: dict[str, int] | None = None,
    unrolled: int = 0,
) -> Form:
    needs = Needs(
        opset=(lowest, highest), ir_version=ir_version, static_shapes=True, ml_operators=False, unrolled=unrolled
    )
    return Form(needs=needs, free_dimensions=dimensions or {})


def graph_of(
    nodes: list[onnx.NodeProto],
    outputs: dict[str, list[int | str]],
    *,
    version: int = 17,
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", 1, ["N", 4])],
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", version), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray = X) -> list[np.ndarray]:
    # onnxruntime, not onnx's reference, which takes absent intercepts of a LinearRegressor for NaN (onnx 1.23).
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def scaler() -> onnx.NodeProto:
    return helper.make_node(
        "Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0, 2.0, 3.0, 4.0], scale=[0.5, 2.0, 1.0, 0.1]
    )


@pytest.mark.parametrize("version", [13, 17, 18, 21])
@pytest.mark.parametrize(
    "node",
    [
        scaler(),
        helper.make_node("Normalizer", ["x"], ["y"], domain="ai.onnx.ml", norm="L1"),
        helper.make_node("Normalizer", ["x"], ["y"], domain="ai.onnx.ml", norm="L2"),
        helper.make_node(
            "LinearRegressor",
            ["x"],
            ["y"],
            domain="ai.onnx.ml",
            targets=2,
            coefficients=[float(number) for number in range(8)],
            intercepts=[1.0, -1.0],
        ),
        helper.make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0, 2.0, 3.0, 4.0]),
    ],
    ids=["scaler", "l1", "l2", "regressor", "without-intercepts"],
)
def test_a_lowered_operator_computes_what_it_did(node: onnx.NodeProto, version: int) -> None:
    model = graph_of([node], {"y": ["N", "M"]}, version=version)
    expected = run(model)
    lowered = lower_ml.run(model, form())
    assert not [entry for entry in lowered.graph.node if entry.domain]
    onnx.checker.check_model(lowered)
    np.testing.assert_allclose(run(lowered)[0], expected[0], rtol=1e-6)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_a_lowered_linear_classifier_gives_its_scores(transform: str) -> None:
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "y"],
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1, 2],
        coefficients=[0.1 * number for number in range(12)],
        intercepts=[0.1, 0.2, 0.3],
        post_transform=transform,
    )
    model = graph_of([node], {"y": ["N", 3]})
    expected = run(model)
    np.testing.assert_allclose(run(lower_ml.run(model, form()))[0], expected[0], rtol=1e-5)


def test_a_linear_classifier_whose_labels_are_read_gives_them_too() -> None:
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "y"],
        domain="ai.onnx.ml",
        classlabels_ints=[7, 3],
        coefficients=[0.1, -0.2, 0.3, 0.4, -0.1, 0.2, -0.3, -0.4],
        intercepts=[0.1, -0.1],
    )
    model = graph_of([node], {"y": ["N", 2], "label": ["N"]})
    model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    expected = run(model)
    lowered = lower_ml.run(model, form())
    assert not [entry for entry in lowered.graph.node if entry.domain]
    np.testing.assert_allclose(run(lowered)[0], expected[0], rtol=1e-6)
    np.testing.assert_array_equal(run(lowered)[1], expected[1])


def test_a_row_of_zeros_is_normalized_to_zeros() -> None:
    node = helper.make_node("Normalizer", ["x"], ["y"], domain="ai.onnx.ml", norm="L2")
    lowered = lower_ml.run(graph_of([node], {"y": ["N", 4]}), form())
    np.testing.assert_array_equal(run(lowered, np.zeros((1, 4), dtype=np.float32))[0], np.zeros((1, 4)))


def test_outputs_that_nobody_asks_for_go_with_what_only_they_need() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["shared"]),
        helper.make_node("Add", ["shared", "a"], ["y"]),
        helper.make_node("Mul", ["shared", "b"], ["z"]),
    ]
    constants = {"a": np.ones(4, dtype=np.float32), "b": np.ones(4, dtype=np.float32)}
    model = graph_of(nodes, {"y": ["N", 4], "z": ["N", 4]}, constants=constants)
    keep_outputs(model, ["z"])
    assert [node.op_type for node in model.graph.node] == ["Relu", "Mul"]
    assert [entry.name for entry in model.graph.initializer] == ["b"]
    assert [entry.domain for entry in model.opset_import] == [""]
    np.testing.assert_array_equal(run(model)[0], np.maximum(X, 0))


@pytest.mark.parametrize(("version", "wanted"), [(9, 13), (17, 17), (21, 18)])
def test_the_opset_is_brought_into_the_range(version: int, wanted: int) -> None:
    model = graph_of([helper.make_node("Relu", ["x"], ["y"])], {"y": ["N", 4]}, version=version)
    lowest, highest = (13, 18)
    converted = convert_opset.run(model, form(lowest, highest, ir_version=7))
    assert opset(converted) == wanted
    assert converted.ir_version == 7
    assert not convert_opset.ensures(converted, form(lowest, highest, ir_version=7))
    np.testing.assert_array_equal(run(converted)[0], np.maximum(X, 0))


def test_an_opset_that_can_not_be_converted_says_what_to_export() -> None:
    model = graph_of([helper.make_node("BitwiseNot", ["x"], ["y"], name="flip")], {"y": ["N", 4]}, version=20)
    words = r"opset 20 can't be converted to 17: node 'flip' \(BitwiseNot\): opset 17 has no such operator"
    with pytest.raises(ConversionError, match=words) as caught:
        convert_opset.run(model, form(13, 17))
    assert "13 to 17" in caught.value.hint


def test_free_dimensions_get_their_values_and_all_shapes_follow() -> None:
    model = graph_of([helper.make_node("Relu", ["x"], ["y"])], {"y": ["N", "M"]})
    bound = bind_dimensions.run(model, form(dimensions={"N": 2}))
    assert [size.dim_value for size in bound.graph.output[0].type.tensor_type.shape.dim] == [2, 4]
    assert not bind_dimensions.ensures(bound, form())


def test_behind_an_ensemble_of_trees_there_are_no_types_to_be_strict_about() -> None:
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["scores"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0],
        nodes_nodeids=[0],
        nodes_featureids=[0],
        nodes_modes=["LEAF"],
        nodes_values=[0.0],
        nodes_truenodeids=[0],
        nodes_falsenodeids=[0],
        target_treeids=[0],
        target_nodeids=[0],
        target_ids=[0],
        target_weights=[1.0],
    )
    model = graph_of([trees, helper.make_node("Identity", ["scores"], ["y"])], {"y": ["N", 1]})
    model.opset_import[1].version = 1  # as skl2onnx writes it; ONNX infers types from version 3 on
    bound = bind_dimensions.run(model, form(dimensions={"N": 2}))
    assert [size.dim_value for size in bound.graph.input[0].type.tensor_type.shape.dim] == [2, 4]


def test_a_dimension_of_minus_one_is_free() -> None:
    model = graph_of([helper.make_node("Relu", ["x"], ["y"])], {"y": [-1, 4]})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    bound = bind_dimensions.run(model, form(dimensions={"*": 2}))
    assert [size.dim_value for size in bound.graph.output[0].type.tensor_type.shape.dim] == [2, 4]


def test_a_free_dimension_without_a_value_is_named() -> None:
    model = graph_of([helper.make_node("Relu", ["x"], ["y"])], {"y": ["N", 4]})
    with pytest.raises(ConversionError, match=r"dimension 0 of input 'x' is free \('N'\)"):
        bind_dimensions.run(model, form(dimensions={"M": 2}))


def test_what_depends_on_no_input_is_folded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Concat", ["head", "tail"], ["wanted"], axis=0),
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Reshape", ["same", "wanted"], ["y"]),
    ]
    constants = {"head": np.array([-1], dtype=np.int64), "tail": np.array([2], dtype=np.int64)}
    model = graph_of(nodes, {"y": ["A", 2]}, constants=constants)
    bound = bind_dimensions.run(model, form(dimensions={"N": 3}))
    folded = fold_constants.run(bound, form())
    assert [node.op_type for node in folded.graph.node] == ["Reshape"]
    np.testing.assert_array_equal(run(folded)[0], X.reshape(-1, 2))


def test_functions_are_inlined() -> None:
    body = helper.make_function(
        "local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    model = graph_of([helper.make_node("Twice", ["x"], ["y"], domain="local")], {"y": ["N", 4]})
    model.functions.append(body)
    model.opset_import.append(helper.make_opsetid("local", 1))
    inlined = inline_functions.run(model, form())
    assert not inline_functions.ensures(inlined, form())
    np.testing.assert_array_equal(run(inlined)[0], X + X)
