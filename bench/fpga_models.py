"""The models that `bench.fpga` packs: small networks and an ensemble, trained here, always the same way."""

from __future__ import annotations

import os
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.real_models import cache

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

PEERS = Path(__file__).parent / "peers"


class Trained(NamedTuple):
    """A model, and data that it has seen and not seen."""

    model: onnx.ModelProto
    """One input ``x``, one output of scores or probabilities."""
    seen: Array
    x: Array
    y: Array
    source: object = None
    """What scikit-learn trained, for peers that read that."""


class Subject(NamedTuple):
    """What is packed, and for what."""

    name: str
    train: Callable[[], Trained]
    device: str
    clock_mhz: float
    options: dict[str, object]


def digits() -> Trained:
    """64-64-32-10 on pictures of 8 x 8."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return _perceptron(x / 16, y, (64, 32))


def large_digits() -> Trained:
    """784-64-32-10 on the same pictures, drawn larger, as MNIST's are."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    pictures = (x / 16).reshape(-1, 8, 8)
    places = np.clip((np.arange(28) + 0.5) * 8 / 28 - 0.5, 0, 7)
    low = np.minimum(places.astype(int), 6)
    mixed = np.zeros((28, 8))
    mixed[np.arange(28), low] = 1 - (places - low)
    mixed[np.arange(28), low + 1] = places - low
    return _perceptron((mixed @ pictures @ mixed.T).reshape(len(x), -1), y, (64, 32))


def cancer() -> Trained:
    """30-16-8-2 on standardised measurements."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return _perceptron((x - x[::2].mean(axis=0)) / x[::2].std(axis=0), y, (16, 8))


def boosted() -> Trained:
    """100 trees of depth 3 on measurements as they are."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier

    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(x[::2], y[::2])
    converted = to_onnx(model, x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    return Trained(_scores_only(converted), x[::2], x[1::2], y[1::2], model)


def residual() -> Trained:
    """A residual network with three stages on pictures of 8 x 8; PACK_TORCH names a Python with torch and onnx."""
    import onnx
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    folder = cache() / "fpga"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "residual.onnx"
    if not path.exists():
        np.savez(folder / "digits.npz", x=x[::2], y=y[::2])
        python = os.environ.get("PACK_TORCH", "python")
        subprocess.run([python, PEERS / "fpga_residual.py", folder / "digits.npz", path], check=True)
    return Trained(onnx.load(path), x[::2], x[1::2], y[1::2])


SUBJECTS = (
    Subject("digits MLP 64-64-32-10", digits, "ecp5-85k", 25, {}),
    Subject("digits MLP 784-64-32-10", large_digits, "ecp5-85k", 75, {"architecture": "sequential"}),
    Subject("breast-cancer MLP 30-16-8-2", cancer, "ecp5-25k", 25, {}),
    Subject("breast-cancer trees 100 x depth 3", boosted, "ecp5-25k", 40, {"bits": 18}),
    Subject("digits residual CNN 8-16-32", residual, "ecp5-85k", 50, {"architecture": "sequential"}),
)


def _perceptron(x: Array, y: Array, hidden: tuple[int, ...]) -> Trained:
    """A network that scikit-learn trains on every second row, with its scores as output."""
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.neural_network import MLPClassifier

    x = x.astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = MLPClassifier(hidden, max_iter=150, random_state=0, alpha=1e-3).fit(x[::2], y[::2])
    nodes, tensors, at = [], [], "x"
    weights, biases = net.coefs_, net.intercepts_
    if weights[-1].shape[1] == 1:
        # A score for each class, the first one's being zero.
        weights = [*weights[:-1], np.concatenate([-weights[-1] / 2, weights[-1] / 2], axis=1)]
        biases = [*biases[:-1], np.concatenate([-biases[-1] / 2, biases[-1] / 2])]
    for place, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors.append(numpy_helper.from_array(matrix.astype(np.float32), f"w{place}"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"b{place}"))
        last = place == len(weights) - 1
        nodes.append(helper.make_node("MatMul", [at, f"w{place}"], [f"m{place}"], f"product{place}"))
        nodes.append(
            helper.make_node("Add", [f"m{place}", f"b{place}"], ["y" if last else f"a{place}"], f"bias{place}")
        )
        at = f"a{place}"
        if not last:
            nodes.append(helper.make_node("Relu", [at], [f"r{place}"], f"relu{place}"))
            at = f"r{place}"
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, x.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, weights[-1].shape[1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Trained(model, x[::2], x[1::2], y[1::2])


def _scores_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its label, with ``x`` for its input's name, and one row a call."""
    entry = model.graph.input[0]
    del model.graph.output[0]
    needed = {model.graph.output[0].name}
    for node in reversed(list(model.graph.node)):
        if needed.isdisjoint(node.output):
            model.graph.node.remove(node)
        else:
            needed |= set(node.input)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == entry.name:
                node.input[place] = "x"
    # ONNX infers no type for what TreeEnsembleClassifier gives, so an Identity after it has none to pass on.
    if model.graph.node[-1].op_type == "Identity":
        last = model.graph.node.pop()
        model.graph.output[0].name = last.input[0]
    entry.name = "x"
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return model
