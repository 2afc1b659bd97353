"""Lowered encoders, imputers and extractors against onnxruntime's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.hub import lower_ml
from packager.hub.remove_zipmap import remove_zipmap
from tests.packager.hub.test_passes import form
from tests.packager.hub.test_trees import run

if TYPE_CHECKING:
    import onnx

NUMBERS = np.array([[1, np.nan, 3], [-np.inf, 2, 0], [-0.0, 5, np.inf]], dtype=np.float32)
WHOLE = np.array([[1, 2, 7], [-3, 0, 2], [2, 2, 9]], dtype=np.int64)


def check(node: onnx.NodeProto, x: np.ndarray, kind: int, *, tolerance: float = 0.0, **constants: np.ndarray) -> None:
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), ["N", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    (expected,) = run(model, x)
    lowered = lower_ml.run(model, form())
    assert not [entry.op_type for entry in lowered.graph.node if entry.domain]
    (got,) = run(lowered, x)
    assert got.dtype == expected.dtype
    if tolerance:
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(got, expected)


def ml(operator: str, *more: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, ["x", *more], ["y"], domain="ai.onnx.ml", **attributes)


@pytest.mark.parametrize("missing", [float("nan"), 0.0, 2.0, float("inf")])
@pytest.mark.parametrize("fill", [[9.0], [7.0, 8.0, 9.0]], ids=["one", "each"])
def test_an_imputer_of_floats(missing: float, fill: list[float]) -> None:
    node = ml("Imputer", imputed_value_floats=fill, replaced_value_float=missing)
    check(node, NUMBERS, TensorProto.FLOAT)


def test_an_imputer_of_whole_numbers() -> None:
    check(ml("Imputer", imputed_value_int64s=[1, 2, 3], replaced_value_int64=2), WHOLE, TensorProto.INT64)


def test_a_binarizer() -> None:
    check(ml("Binarizer", threshold=2.0), np.nan_to_num(NUMBERS, nan=2.0), TensorProto.FLOAT)


@pytest.mark.parametrize("x", [NUMBERS, NUMBERS[0], np.stack([NUMBERS, -NUMBERS])], ids=["matrix", "row", "cube"])
def test_an_array_feature_extractor(x: np.ndarray) -> None:
    check(ml("ArrayFeatureExtractor", "i"), x, TensorProto.FLOAT, i=np.array([[2, 0, 2]]))


@pytest.mark.parametrize("x", [WHOLE, WHOLE.astype(np.float32)], ids=["int64", "float32"])
def test_a_one_hot_encoder(x: np.ndarray) -> None:
    check(ml("OneHotEncoder", cats_int64s=[2, 0, 9], zeros=1), x, TensorProto.FLOAT)


def test_a_label_encoder_of_whole_numbers() -> None:
    node = ml("LabelEncoder", keys_int64s=[2, 0, 9], values_int64s=[20, 0, 90], default_int64=-5)
    check(node, WHOLE, TensorProto.INT64)


def test_a_label_encoder_to_text_and_from_floats() -> None:
    node = ml("LabelEncoder", keys_int64s=[2, 9], values_strings=["two", "nine"], default_string="other")
    check(node, WHOLE, TensorProto.STRING)
    node = ml(
        "LabelEncoder",
        keys_floats=[-7.5, 3.0, 0.0, float("inf")],
        values_floats=[1.5, 2.5, 3.5, 4.5],
        default_float=-1.0,
    )
    check(node, NUMBERS, TensorProto.FLOAT)


def test_a_category_mapper_of_whole_numbers() -> None:
    node = ml("CategoryMapper", cats_int64s=[2, 9], cats_strings=["two", "nine"], default_string="other")
    check(node, WHOLE, TensorProto.STRING)


def test_columns_side_by_side() -> None:
    node = helper.make_node("FeatureVectorizer", ["x", "x"], ["y"], domain="ai.onnx.ml", inputdimensions=[3, 3])
    check(node, NUMBERS, TensorProto.FLOAT)


def test_what_a_lowering_declines_stays_as_it_is() -> None:
    graph = helper.make_graph(
        [ml("Normalizer", norm="MAX")],
        "small",
        [helper.make_tensor_value_info("x", 1, ["N", 3])],
        [helper.make_tensor_value_info("y", 1, ["N", 3])],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    assert [node.op_type for node in lower_ml.run(model, form()).graph.node] == ["Normalizer"]


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("one_class", [0, 1])
def test_support_vector_regression(kernel: str, one_class: int) -> None:
    random = np.random.default_rng(0)
    node = ml(
        "SVMRegressor",
        kernel_type=kernel,
        kernel_params=[0.3, 0.5, 3.0],
        n_supports=6,
        support_vectors=random.standard_normal(18).astype(np.float32).tolist(),
        coefficients=random.standard_normal(6).astype(np.float32).tolist(),
        rho=[0.1],
        one_class=one_class,
    )
    x = random.standard_normal((200, 3)).astype(np.float32)
    check(node, x, TensorProto.FLOAT, tolerance=1e-6)


@pytest.mark.parametrize("words", [False, True])
def test_scores_that_are_dictionaries_become_a_matrix_and_their_labels_are_told(*, words: bool) -> None:
    labels = {"classlabels_strings": ["cat", "dog"]} if words else {"classlabels_int64s": [3, 5]}
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", **labels)
    kind = TensorProto.STRING if words else TensorProto.INT64
    scores = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    output = helper.make_value_info("y", helper.make_sequence_type_proto(helper.make_map_type_proto(kind, scores)))
    graph = helper.make_graph([node], "small", [helper.make_tensor_value_info("x", 1, ["N", 2])], [output])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=9)
    assert remove_zipmap(model) == (("cat", "dog") if words else ("3", "5"))
    x = np.array([[0.25, 0.75]], dtype=np.float32)
    np.testing.assert_array_equal(run(model, x)[0], x)
    assert [entry.domain for entry in model.opset_import] == [""]
