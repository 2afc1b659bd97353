"""Accuracy of trained networks under plain int8 and under auto, on labelled rows that neither has seen.

    python -m bench.quantization_accuracy

Dense networks of scikit-learn on its data sets, with features as they are and standardised, and with one hidden unit
scaled up and down again behind: in float such a network computes the same, one int8 range over its units does not.
Writes bench/results/quantization-accuracy.json; the exit code is 1 if auto is no better where int8 loses over a point.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure import write_results

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

SETS = ("digits", "wine", "breast_cancer", "iris")
SCALES = (1, 100, 5000)
SCHEMES: dict[str, dict[str, Any]] = {
    "float": {"quantize": "none"},
    "int8": {"quantize": "int8"},
    "auto, size": {"quantize": "auto"},
    "auto, latency": {"quantize": "auto", "optimize": "latency"},
}
_POINT = 0.01


def main() -> int:
    """Print the table and write it."""
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name in SETS:
        for standard in (True, False):
            for scale in SCALES if standard else (1,):
                label = f"{name}, {'standardised' if standard else 'as it is'}, one unit x {scale}"
                rows[label] = measured(name, scale, standard=standard)
                shown = (f"{key} {row['accuracy']:.3f} {row['bytes']:.0f}" for key, row in rows[label].items())
                print(f"{label:44} " + "  ".join(shown), flush=True)
    write_results("quantization-accuracy", dict(rows), ["ai-edge-litert", "ai-edge-quantizer", "numpy", "scikit-learn"])
    worse = [label for label, row in rows.items() if _drop(row, "int8") > _POINT and not _is_better(row)]
    print(f"auto no better where int8 loses more than a point: {', '.join(worse) or 'nowhere'}")
    return int(bool(worse))


def _drop(row: dict[str, dict[str, float]], scheme: str) -> float:
    return row["float"]["accuracy"] - row[scheme]["accuracy"]


def _is_better(row: dict[str, dict[str, float]]) -> bool:
    return all(_drop(row, scheme) < _drop(row, "int8") for scheme in SCHEMES if scheme.startswith("auto"))


def measured(name: str, scale: int, *, standard: bool) -> dict[str, dict[str, float]]:
    """Accuracy and bytes by scheme: trained and calibrated on two thirds of the rows, tried on the others."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    found = getattr(datasets, f"load_{name}")()
    data = found.data.astype(np.float32)
    if standard:
        data = ((data - data.mean(axis=0)) / (data.std(axis=0) + 1e-6)).astype(np.float32)
    seen, held, right, expected = train_test_split(data, found.target, test_size=1 / 3, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # a net that could be trained on is as good a test
        net = MLPClassifier((64, 32), random_state=0, max_iter=400).fit(seen, right)
    weights = [array.astype(np.float32) for pair in zip(net.coefs_, net.intercepts_, strict=True) for array in pair]
    weights[0][:, 0] *= scale
    weights[1][0] *= scale
    weights[2][0] /= scale
    row = {}
    with tempfile.TemporaryDirectory() as folder:
        for scheme, options in SCHEMES.items():
            row[scheme] = _tried(_model(weights), options, seen, (held, expected), Path(folder) / scheme)
    return row


def _model(weights: list[NDArray[np.float32]]) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    nodes, before = [], "x"
    for place in range(0, len(weights), 2):
        nodes.append(helper.make_node("Gemm", [before, f"c{place}", f"c{place + 1}"], [f"g{place}"]))
        last = place + 2 == len(weights)
        before = "y" if last else f"r{place}"
        nodes.append(helper.make_node("Sigmoid" if last and weights[-1].size == 1 else "Softmax" if last else "Relu",
                                      [f"g{place}"], [before]))  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", 1, [1, len(weights[0])])],
        [helper.make_tensor_value_info("y", 1, [1, weights[-1].size])],
        [numpy_helper.from_array(array, f"c{place}") for place, array in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tried(
    model: onnx.ModelProto,
    options: dict[str, Any],
    seen: NDArray[np.float32],
    tests: tuple[NDArray[np.float32], NDArray[np.int64]],
    room: Path,
) -> dict[str, float]:
    import onnx

    from targets.edge_arm import Options, target

    (room / "out").mkdir(parents=True)
    onnx.save(model, room / "model.onnx")
    artifact = target.convert(room / "model.onnx", Options(**options), {"x": seen}, room / "out")
    runner = target.runner(artifact, room / "out")
    got = np.concatenate([runner.run({"x": line[None]})["y"] for line in tests[0]])
    runner.close()
    classes = got.argmax(axis=-1) if got.shape[-1] > 1 else (got[:, 0] > 0.5).astype(int)  # noqa: PLR2004 - a half
    return {"accuracy": float((classes == tests[1]).mean()), "bytes": artifact.files[0].size}


if __name__ == "__main__":
    sys.exit(main())
