"""Lowered tree ensembles beside onnxruntime's own operator and hummingbird-ml, on the same models in one run.

``make bench-lowering``: hummingbird-ml needs torch, so it has an environment of its own, which is made in the user's
cache once. One thread each. Two things come out: what each costs for one row and for many, and where scores are not
those of onnxruntime's operator.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from bench.measure import write_results
from packager.hub import lower_ml
from packager.hub.form import Form
from packager.hub.ml import walks
from targets._target import Needs
from tests.packager.hub import ensembles

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = (1, 256)
SECONDS = 1.0
FEWEST = 3
PEER = (
    "hummingbird-ml==0.4.11",
    "torch==2.13.0",
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "onnxmltools==1.16.0",
    "onnxscript",
    "setuptools",
)
MISSING = 0.1
SAME = 1e-5
"""Of scores between -1 and 1, or relative: onnxruntime adds float32, in another order."""


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {key: make() for key, make in MODELS.items()}
        for key, (model, rows) in models.items():
            onnx.save(model, folder / f"{key}.onnx")
            np.savez(folder / f"{key}.npz", **{str(count): rows[:count] for count in ROWS})
        subprocess.run([peer_python(), "-m", "bench.lowering_peer", str(folder)], check=True)
        peer = json.loads((folder / "peer.json").read_text())
        figures = {
            key: compared(key, model, rows, peer["models"][key], folder) for key, (model, rows) in models.items()
        }
    costs = layouts()
    path = write_results(
        "lowering",
        {"models": figures, "layouts": costs, "peer": peer["versions"]},
        ["onnx", "onnxruntime", "lightgbm", "xgboost", "scikit-learn", "skl2onnx", "onnxmltools"],
    )
    for key, entry in figures.items():
        print(f"{key}: {json.dumps(entry)}")
    print(path)


def compared(
    key: str, model: onnx.ModelProto, rows: np.ndarray, peer: dict[str, dict[str, object]], folder: Path
) -> dict[str, object]:
    """Seconds of each, and how far each is from onnxruntime's operator."""
    own = lowered(model)
    entry: dict[str, object] = {}
    for count in ROWS:
        x = rows[:count]
        expected, ours = scores(model, x), scores(own, x)
        times = {"operator": seconds(model, x), "packtrain": seconds(own, x)}
        for way, found in peer.items():
            if "seconds" in found:
                times[f"hummingbird-ml {way}"] = found["seconds"][str(count)]
        best = min((value for way, value in times.items() if "hummingbird" in way), default=None)
        entry[f"{count} rows"] = {
            "seconds": times,
            "times as fast as hummingbird-ml's best": best and round(best / times["packtrain"], 2),
            "times as fast as the operator": round(times["operator"] / times["packtrain"], 2),
            "wrong rows of packtrain": wrong(ours, expected),
            "wrong rows of hummingbird-ml": {
                way: wrong(np.load(folder / f"{key}.{way.replace(' ', '-')}.{count}.npy"), expected)
                for way, found in peer.items()
                if "seconds" in found
            },
        }
    entry["errors of hummingbird-ml"] = {way: found["error"] for way, found in peer.items() if "error" in found}
    return entry


def wrong(got: np.ndarray, expected: np.ndarray) -> int:
    """In how many rows a score is another one."""
    if got.size != expected.size:
        return len(expected)
    near = np.isclose(got.reshape(expected.shape), expected, rtol=SAME, atol=SAME, equal_nan=True)
    return int((~near.reshape(len(expected), -1).all(axis=1)).sum())


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model by tensor operators."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    needs = Needs(opset=(13, 21), ir_version=10, ml_operators=False)
    result = lower_ml.run(copy, Form(needs=needs, free_dimensions={}))
    if any(node.domain for node in result.graph.node):
        raise SystemExit(f"not lowered: {lower_ml.declined(model)}")
    return result


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """With one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def scores(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """The last output."""
    return np.asarray(session(model).run(None, {"x": x})[-1])


def seconds(model: onnx.ModelProto, x: np.ndarray) -> float:
    """Of the fastest run."""
    running = session(model)
    running.run(None, {"x": x})
    best, began, runs = np.inf, time.perf_counter(), 0
    while runs < FEWEST or time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        running.run(None, {"x": x})
        best = min(best, time.perf_counter() - start)
        runs += 1
    return best


def layouts() -> list[dict[str, object]]:
    """What both layouts cost, by trees and depth, for full trees: what `walks` chooses by."""
    found = []
    for trees, depth in ((100, 4), (100, 8), (500, 6), (2000, 4), (2000, 6)):
        model = ensembles.regressor(ensembles.grown(count=trees, depth=depth, prune=0.0, thresholds=SPREAD))
        x = np.random.default_rng(1).standard_normal((256, ensembles.FEATURES)).astype(np.float32)
        entry: dict[str, object] = {"trees": trees, "depth": depth, "rows": len(x)}
        for name, filling in (("perfect", np.inf), ("linked", 0.0)):
            kept, walks._FILLING = walks._FILLING, filling  # noqa: SLF001 - each layout is forced in turn
            made = lowered(model)
            walks._FILLING = kept  # noqa: SLF001 - likewise
            entry[name] = {"seconds": seconds(made, x), "megabytes": made.ByteSize() / 1e6}
        found.append(entry)
    return found


def peer_python() -> str:
    """The interpreter of hummingbird-ml's environment: HUMMINGBIRD_PYTHON, or one that is made in the user's cache."""
    given = os.environ.get("HUMMINGBIRD_PYTHON")
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "packtrain-peers" / "hummingbird"
    python = cache / "bin" / "python"
    if not python.exists():
        subprocess.run(
            [".ci/uv", "venv", "--python", f"{sys.version_info[0]}.{sys.version_info[1]}", cache], check=True
        )
        subprocess.run([".ci/uv", "pip", "install", "--python", python, *PEER], check=True)
    return str(python)


SPREAD = tuple(np.linspace(-1, 1, 50).astype(np.float32).tolist())


def forest() -> tuple[onnx.ModelProto, np.ndarray]:
    """A random forest on the digits, of 100 trees."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    x, y = load_digits(return_X_y=True)
    trained = RandomForestClassifier(100, random_state=0).fit(x, y)
    kind = [("x", FloatTensorType([None, x.shape[1]]))]
    opsets = {"": 17, "ai.onnx.ml": 3}
    model = to_onnx(trained, initial_types=kind, options={"zipmap": False}, target_opset=opsets)
    return model, x.astype(np.float32)


def table(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Twenty columns, a tenth of them missing, and what to learn from them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 20)).astype(np.float32)
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3])
    x[random.random(x.shape) < MISSING] = np.nan
    return x, y.astype(np.float32)


def light() -> tuple[onnx.ModelProto, np.ndarray]:
    """LightGBM's 2,000 trees of at most 31 leaves."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = table()
    trained = lightgbm.LGBMRegressor(n_estimators=2000, num_leaves=31, max_depth=8, verbose=-1, n_jobs=1).fit(x, y)
    kind = [("x", FloatTensorType([None, x.shape[1]]))]
    return convert_lightgbm(trained, initial_types=kind, target_opset=15), x


def extreme() -> tuple[onnx.ModelProto, np.ndarray]:
    """XGBoost's 2,000 trees of depth 6."""
    import xgboost
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = table()
    trained = xgboost.XGBRegressor(n_estimators=2000, max_depth=6, n_jobs=1).fit(x, y)
    kind = [("x", FloatTensorType([None, x.shape[1]]))]
    return convert_xgboost(trained, initial_types=kind, target_opset=15), x


def adverse(**options: object) -> Callable[[], tuple[onnx.ModelProto, np.ndarray]]:
    """A random ensemble, and rows that sit on its thresholds."""

    def make() -> tuple[onnx.ModelProto, np.ndarray]:
        attributes = {key: options[key] for key in ("aggregate_function", "post_transform") if key in options}
        growth = {key: value for key, value in options.items() if key not in attributes}
        return ensembles.regressor(ensembles.grown(count=50, **growth), **attributes), ensembles.adversarial()

    return make


def wide() -> tuple[onnx.ModelProto, np.ndarray]:
    """Thresholds of float64 that are no float32, and rows beside them."""
    trees = ensembles.grown(count=50)
    model = ensembles.regressor(trees)
    node = model.graph.node[0]
    split = 0.1 + 1e-12
    values = [split if row[4] != "LEAF" else 0.0 for row in trees.rows]
    weights = next(list(entry.floats) for entry in node.attribute if entry.name == "target_weights")
    kept = [entry for entry in node.attribute if entry.name not in {"nodes_values", "target_weights"}]
    del node.attribute[:]
    node.attribute.extend(kept)
    for name, numbers in (("nodes_values_as_tensor", values), ("target_weights_as_tensor", weights)):
        node.attribute.append(helper.make_attribute(name, numpy_helper.from_array(np.array(numbers))))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    random = np.random.default_rng(2)
    return model, random.choice([0.1, split, np.nextafter(split, 1)], (400, ensembles.FEATURES))


MODELS = {
    "forest-classifier": forest,
    "lightgbm": light,
    "xgboost": extreme,
    "thresholds": adverse(),
    "missing": adverse(missing=True),
    "less-than": adverse(modes=("BRANCH_LT",)),
    "greater-than": adverse(modes=("BRANCH_GT",)),
    "equal": adverse(modes=("BRANCH_EQ",)),
    "mixed-modes": adverse(modes=ensembles.MODES),
    "average": adverse(aggregate_function="AVERAGE"),
    "float64": wide,
}

if __name__ == "__main__":
    main()
