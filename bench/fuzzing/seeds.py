"""Small valid models of every kind that can be imported, to damage.

``python -m bench.fuzzing.seeds KIND FOLDER`` writes those of one kind, in the interpreter that has its framework.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from bench.fuzzing import networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Kind(NamedTuple):
    """One kind of file."""

    framework: str
    form: Literal["binary", "json", "message", "offsets", "text", "zip"]
    make: Callable[[Path], None]
    """Writes the seeds into an empty folder: each entry of it is one."""
    modules: tuple[str, ...]
    member: str = ""
    """Of a folder, the file that is damaged."""
    prepare: str = ""
    """``module:function`` to call once, before anything is forked."""


def _data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    source = np.random.default_rng(0)
    x = source.standard_normal((60, 4)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 1)


def _onnx(folder: Path) -> None:
    """A small network, a classical classifier, and control flow."""
    import onnx
    from onnx import helper, numpy_helper

    source = np.random.default_rng(0)

    def save(name: str, nodes: list[onnx.NodeProto], tensors: dict[str, NDArray[np.generic]], shape: list[int]) -> None:
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, ["n", *shape])],
            [helper.make_tensor_value_info("y", 1, None)],
            [numpy_helper.from_array(array, key) for key, array in tensors.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.save(onnx.shape_inference.infer_shapes(model), folder / name)

    save(
        "network.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "d", "b"], ["g"]),
            helper.make_node("Softmax", ["g"], ["y"]),
        ],
        {
            "w": source.standard_normal((4, 3, 3, 3)).astype(np.float32),
            "d": source.standard_normal((4, 5)).astype(np.float32),
            "b": np.zeros(5, np.float32),
        },
        [3, 6, 6],
    )
    branch = []
    for name in ("Tanh", "Sigmoid"):
        output = helper.make_tensor_value_info(f"{name}.y", 1, None)
        branch.append(helper.make_graph([helper.make_node(name, ["r"], [output.name])], name, [], [output]))
    save(
        "branches.onnx",
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0),
            helper.make_node("Greater", ["s", "zero"], ["condition"]),
            helper.make_node("If", ["condition"], ["chosen"], then_branch=branch[0], else_branch=branch[1]),
            helper.make_node("Reshape", ["chosen", "shape"], ["y"]),
        ],
        {"zero": np.float32(0), "shape": np.array([0, -1])},
        [2, 3],
    )
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    x, y = _data()
    forest = RandomForestClassifier(3, max_depth=4, random_state=0).fit(x, y)
    onnx.save(to_onnx(forest, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}), folder / "forest.onnx")


def _estimators() -> dict[str, object]:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = _data()
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y),
        "boosting": GradientBoostingClassifier(n_estimators=3, random_state=0).fit(x, y),
        "forest": RandomForestRegressor(3, max_depth=4, random_state=0).fit(x, y),
    }


def _skops(folder: Path) -> None:
    import skops.io

    for name, estimator in _estimators().items():
        skops.io.dump(estimator, folder / f"{name}.skops")


def _pickle(folder: Path) -> None:
    import pickle

    for name, estimator in _estimators().items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(estimator))


def _joblib(folder: Path) -> None:
    import joblib

    for name, estimator in _estimators().items():
        joblib.dump(estimator, folder / f"{name}.joblib", compress=3 if name == "forest" else 0)


def _xgboost(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import xgboost

        x, y = _data()
        shared = {"n_estimators": 3, "max_depth": 3}
        xgboost.XGBClassifier(**shared).fit(x, y).save_model(folder / f"classes.{suffix}")
        xgboost.XGBRegressor(**shared).fit(x, x[:, 0]).save_model(folder / f"value.{suffix}")
        xgboost.XGBClassifier(**shared, booster="gblinear").fit(x, y > 0).save_model(folder / f"linear.{suffix}")

    return make


def _lightgbm(folder: Path) -> None:
    import lightgbm

    x, y = _data()
    shared = {"verbose": -1, "num_leaves": 6, "min_data_in_leaf": 3}
    for name, options, labels in (
        ("classes", {"objective": "multiclass", "num_class": 3}, y),
        ("two", {"objective": "binary"}, y > 0),
        ("value", {"objective": "regression"}, x[:, 0]),
    ):
        booster = lightgbm.train(shared | options, lightgbm.Dataset(x, labels), 3)
        booster.save_model(folder / f"{name}.txt")


def _catboost(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import catboost

        x, y = _data()
        shared = {"iterations": 3, "depth": 3, "verbose": False, "allow_writing_files": False}
        classifier = catboost.CatBoostClassifier(**shared).fit(x, y)
        classifier.save_model(str(folder / f"classes.{suffix}"), format=suffix)
        regressor = catboost.CatBoostRegressor(**shared, grow_policy="Lossguide").fit(x, x[:, 0])
        regressor.save_model(str(folder / f"value.{suffix}"), format=suffix)

    return make


def _tflite(folder: Path) -> None:
    """A small network by our own emitter, in float and in integers."""
    import onnx

    from targets import edge_arm

    with tempfile.TemporaryDirectory() as name:
        _onnx(Path(name))
        network = onnx.load(Path(name) / "network.onnx")
        network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        source = Path(name) / "fixed.onnx"
        onnx.save(network, source)
        pictures = {"x": np.random.default_rng(0).standard_normal((8, 3, 6, 6)).astype(np.float32)}
        for quantize in ("none", "int8-io"):
            out = Path(name) / quantize
            out.mkdir()
            edge_arm.target.convert(source, edge_arm.Options(quantize=quantize), pictures, out)
            (out / "model.tflite").rename(folder / f"{quantize}.tflite")


def _coreml(folder: Path) -> None:
    """A small old network, and an old ensemble of trees."""
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder
    from coremltools.models.tree_ensemble import TreeEnsembleRegressor

    source = np.random.default_rng(0)
    builder = NeuralNetworkBuilder([("x", datatypes.Array(3, 6, 6))], [("y", None)])
    weights = source.standard_normal((3, 3, 3, 4))
    builder.add_convolution(
        "c", 3, 4, 3, 3, 1, 1, "same", 1, weights, None, has_bias=False, input_name="x", output_name="h"
    )
    builder.add_activation("a", "RELU", "h", "r")
    builder.add_pooling("p", 2, 2, 2, 2, "MAX", "VALID", "r", "m")
    dense = source.standard_normal((5, 36))
    builder.add_inner_product("d", dense, np.zeros(5), 36, 5, has_bias=True, input_name="m", output_name="y")
    (folder / "network.mlmodel").write_bytes(builder.spec.SerializeToString())
    trees = TreeEnsembleRegressor([("x", datatypes.Array(4))], "y")
    trees.set_default_prediction_value(0.5)
    for tree in range(3):
        trees.add_branch_node(tree, 0, tree, 0.2, "BranchOnValueLessThanEqual", 1, 2)
        trees.add_leaf_node(tree, 1, 1.0)
        trees.add_leaf_node(tree, 2, -1.0)
    (folder / "trees.mlmodel").write_bytes(trees.spec.SerializeToString())


_ONNX = ("onnx", "onnxruntime", "packager.hub.pipeline")
_TENSORFLOW = (*_ONNX, "tensorflow", "keras", "tf2onnx")
_TORCH = (*_ONNX, "torch", "torch.export", "torch.onnx")
_SKLEARN = (*_ONNX, "sklearn.ensemble", "sklearn.pipeline", "sklearn.linear_model", "skl2onnx", "skops.io", "joblib")

KINDS: dict[str, Kind] = {
    "onnx": Kind("onnx", "message", _onnx, _ONNX),
    "skops": Kind("sklearn", "zip", _skops, _SKLEARN),
    "pickle": Kind("sklearn", "binary", _pickle, _SKLEARN),
    "joblib": Kind("sklearn", "binary", _joblib, _SKLEARN),
    "xgboost-json": Kind("xgboost", "json", _xgboost("json"), (*_ONNX, "xgboost")),
    "xgboost-ubj": Kind("xgboost", "binary", _xgboost("ubj"), (*_ONNX, "xgboost")),
    "lightgbm": Kind("lightgbm", "text", _lightgbm, (*_ONNX, "lightgbm")),
    "catboost": Kind("catboost", "binary", _catboost("cbm"), (*_ONNX, "catboost")),
    "catboost-json": Kind("catboost", "json", _catboost("json"), (*_ONNX, "catboost")),
    "tflite": Kind("tflite", "offsets", _tflite, (*_ONNX, "ai_edge_litert.interpreter")),
    "coreml": Kind("coreml_nn", "message", _coreml, (*_ONNX, "coremltools.proto.Model_pb2")),
    "keras": Kind("keras", "zip", networks.keras_models("keras"), _TENSORFLOW),
    "keras-h5": Kind("keras", "offsets", networks.keras_models("h5"), _TENSORFLOW),
    "savedmodel": Kind("savedmodel", "message", networks.saved_models, _TENSORFLOW, "saved_model.pb"),
    "frozen-graph": Kind("savedmodel", "message", networks.frozen_graphs, _TENSORFLOW),
    "torch-program": Kind("torch", "zip", networks.programs, _TORCH, prepare="bench.fuzzing.networks:keep_operators"),
    "torch-script": Kind("torch", "zip", networks.scripts, _TORCH),
}


def main() -> None:
    """Write the seeds of the kind that is named, into the folder that is named."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True)
    KINDS[kind].make(folder)


if __name__ == "__main__":
    main()
