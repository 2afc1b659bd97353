"""Scores of a dense network by hls4ml's emulation, one uniform precision after another.

data.npz of the working folder has ``x`` and each layer's ``w0``, ``b0``, ``w1`` ...; found.npz gets ``y6`` and so on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import hls4ml
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.util.cleanup import cleanup_model

if TYPE_CHECKING:
    import onnx


def main(whole: int, widths: list[int]) -> None:
    """One project for each width."""
    data = np.load("data.npz")
    x = data["x"].astype(np.float32)
    count = sum(name.startswith("w") for name in data.files)
    found = {}
    for width in widths:
        model = cleanup_model(ModelWrapper(network(data, count, x.shape[1])))
        settings = hls4ml.utils.config_from_onnx_model(
            model, granularity="name", backend="Vitis", default_precision=f"ap_fixed<{width},{whole}>"
        )
        made = hls4ml.converters.convert_from_onnx_model(
            model, output_dir=f"project{width}", backend="Vitis", hls_config=settings, io_type="io_parallel"
        )
        made.compile()
        found[f"y{width}"] = made.predict(np.ascontiguousarray(x)).reshape(len(x), -1)
    np.savez("found.npz", **found)


def network(data: np.lib.npyio.NpzFile, count: int, inputs: int) -> onnx.ModelProto:
    """The products and sums of the layers, each but the last with a ReLU."""
    nodes, tensors, at = [], [], "x"
    for place in range(count):
        tensors += [numpy_helper.from_array(data[f"{kind}{place}"], f"{kind}{place}") for kind in "wb"]
        last = place == count - 1
        nodes.append(helper.make_node("MatMul", [at, f"w{place}"], [f"m{place}"], f"product{place}"))
        nodes.append(
            helper.make_node("Add", [f"m{place}", f"b{place}"], ["y" if last else f"a{place}"], f"bias{place}")
        )
        if not last:
            nodes.append(helper.make_node("Relu", [f"a{place}"], [f"r{place}"], f"relu{place}"))
            at = f"r{place}"
    outputs = data[f"b{count - 1}"].shape[0]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(width) for width in sys.argv[2:]])
