"""Runs in hls4ml's environment: writes a project for each case, emulates it, and compares it with onnxruntime."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from targets._target import TargetError
from targets.fpga._vendor.flow import EmulatedProject, convert_for_vendor
from targets.fpga._vendor.options import Hls

SAMPLES = 24


def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], source: list[int], result: list[int]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
        [constant(name, array) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    made.ir_version = 8
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def dense() -> bytes:
    """Two Gemm, one transposed and with factors, and a Softmax."""
    random = np.random.default_rng(0)
    constants = {
        "w1": random.normal(size=(16, 32)) * 0.3,
        "b1": random.normal(size=32) * 0.1,
        "w2": random.normal(size=(5, 32)) * 0.3,
        "b2": random.normal(size=5) * 0.1,
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["l"], name="second", transB=1, alpha=0.5, beta=2.0),
        helper.make_node("Softmax", ["l"], ["y"], name="softmax", axis=-1),
    ]
    return model(nodes, constants, [1, 16], [1, 5])


def convolution() -> bytes:
    """Two convolutions, the second before a BatchNormalization, and attributes that rely on ONNX's defaults."""
    random = np.random.default_rng(1)
    constants = {
        "w1": random.normal(size=(4, 2, 3, 3)) * 0.3,
        "b1": random.normal(size=4) * 0.1,
        "w2": random.normal(size=(6, 4, 3, 3)) * 0.2,
        "scale": random.uniform(0.5, 8, 6),
        "offset": random.normal(size=6),
        "mean": random.normal(size=6),
        "variance": random.uniform(0.5, 2, 6),
        "w3": random.normal(size=(24, 5)) * 0.2,
        "b3": random.normal(size=5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "w2"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "scale", "offset", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    return model(nodes, constants, [1, 2, 8, 8], [1, 5])


def erf() -> bytes:
    """What hls4ml has no layer for."""
    nodes = [helper.make_node("Erf", ["x"], ["y"], name="bell")]
    return model(nodes, {}, [1, 16], [1, 16])


MODELS = {"dense": dense, "convolution": convolution, "erf": erf}


def outcome(name: str, vendor: str, options: dict[str, object], folder: Path) -> dict[str, object]:
    path = folder / "model.onnx"
    path.write_bytes(MODELS[name]())
    session = onnxruntime.InferenceSession(path)
    random = np.random.default_rng(2)
    shape = session.get_inputs()[0].shape[1:]
    inputs = random.normal(size=(SAMPLES, *shape)).astype(np.float32)
    calibrated, emulated = options.pop("calibrated", True), options.pop("emulated", True)
    out = folder / "out"
    out.mkdir()
    try:
        chosen = msgspec.convert(options, Hls)
        artifact = convert_for_vendor(path, vendor, chosen, {"x": inputs} if calibrated else None, out)
    except TargetError as error:
        return {"code": error.code, "message": str(error), "hint": error.hint}
    digests = {file.path: hashlib.sha256((out / file.path).read_bytes()).hexdigest() for file in artifact.files}
    said = {"notes": artifact.notes, "files": digests, "scheme": artifact.quantization.scheme}
    said["fpga"] = msgspec.to_builtins(artifact.resources.fpga)
    if not emulated:
        return said
    runner = EmulatedProject(artifact, out)
    wanted = np.concatenate([session.run(None, {"x": sample[None]})[0] for sample in inputs])
    got = np.concatenate([runner.run({"x": sample[None]})["y"] for sample in inputs])
    runner.close()
    error = np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
    agreed = float(np.mean(got.argmax(1) == wanted.argmax(1)))
    report = json.loads((out / "report.json").read_text()) if (out / "report.json").exists() else None
    return said | {"error": float(error), "agreed": agreed, "limit": artifact.parity_limit, "report": report}


def main() -> None:
    asked, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
    found = {}
    for case, (name, vendor, options) in asked.items():
        place = folder / case
        place.mkdir()
        found[case] = outcome(name, vendor, options, place)
    (folder / "outcomes.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
