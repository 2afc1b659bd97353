"""Converts each model of a list by one other converter to Core ML, in the environment that `bench.coreml_peers` makes.

    python coreml_peer.py PEER OUT < LIST

Each line of the list is a folder with a ``model.onnx`` and its ``inputs.npz``. For each, the package is written to
``PEER.mlpackage`` beside them, and one line of JSON to OUT says how it went: CPU seconds, or why there is none.
"""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
import time
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import coremltools as ct
import numpy as np
import onnx
import onnx.version_converter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Tensors = Mapping[str, NDArray[np.generic]]

LIMIT = 120
"""Seconds that one conversion may take."""
OPSET = 16
"""The newest that onnx2torch has most operators of."""
_WORDS = 160


def _onnx2torch(model: onnx.ModelProto, inputs: Tensors) -> Any:  # noqa: ANN401 - coremltools has no types
    try:
        import torchvision  # noqa: F401 - onnx2torch imports it for NonMaxSuppression and RoiAlign
    except (ImportError, RuntimeError):
        # The build of torch without CUDA may have no torchvision; then those two can't be converted.
        operators = types.ModuleType("torchvision.ops")
        operators.roi_align = None
        sys.modules["torchvision"] = types.ModuleType("torchvision")
        sys.modules["torchvision.ops"] = sys.modules["torchvision"].ops = operators
    import torch
    from onnx2torch import convert

    model = _older(model)
    tensors = [torch.from_numpy(np.array(inputs[entry.name])) for entry in model.graph.input]
    traced = torch.jit.trace(convert(model).eval(), tensors, check_trace=False)
    declared = [
        ct.TensorType(name=entry.name, shape=inputs[entry.name].shape, dtype=_narrow(inputs[entry.name].dtype))
        for entry in model.graph.input
    ]
    return ct.convert(
        traced,
        inputs=declared,
        outputs=[ct.TensorType(name=entry.name) for entry in model.graph.output],
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
        skip_model_load=True,
    )


def _older(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset that onnx2torch knows, where ONNX's own converter gets there."""
    if all(entry.version <= OPSET for entry in model.opset_import if entry.domain in {"", "ai.onnx"}):
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError):
        return model


def _narrow(dtype: np.dtype[Any]) -> type[np.generic]:
    return dtype.type if dtype in (np.float32, np.float16, np.int32) else np.float32 if dtype.kind == "f" else np.int32


def _onnxsim(model: onnx.ModelProto, inputs: Tensors) -> Any:  # noqa: ANN401 - coremltools has no types
    from onnxsim import simplify
    from onnxsim.coreml_export import convert_to_coreml

    del inputs
    simplified, _ = simplify(model)
    return convert_to_coreml(
        simplified, compute_precision=ct.precision.FLOAT32, minimum_deployment_target=ct.target.iOS17
    )


def _onnx2coreml(model: onnx.ModelProto, inputs: Tensors) -> Any:  # noqa: ANN401 - coremltools has no types
    from onnx2coreml import convert

    del inputs
    return convert(model, format="mlpackage", minimum_deployment_target="iOS17", compute_precision="fp32")


PEERS = {"onnx2torch": _onnx2torch, "onnxsim": _onnxsim, "onnx2coreml": _onnx2coreml}


def _late(*_: object) -> NoReturn:
    raise TimeoutError(f"it takes more than {LIMIT} s")


def _outcome(peer: str, folder: Path) -> dict[str, object]:
    package = folder / f"{peer}.mlpackage"
    shutil.rmtree(package, ignore_errors=True)
    began = time.process_time()
    signal.alarm(LIMIT)
    try:
        with np.load(folder / "inputs.npz") as stored:
            inputs = dict(stored)
        PEERS[peer](onnx.load(folder / "model.onnx"), inputs).save(str(package))
    except Exception as error:  # noqa: BLE001 - a converter of others may raise anything, and each is an outcome
        first = (str(error).strip().splitlines() or [""])[0][:_WORDS]
        return {"failure": f"{type(error).__name__}: {first}"}
    finally:
        signal.alarm(0)
    return {"cpu_seconds": time.process_time() - began}


def main(peer: str, out: str) -> None:
    """Convert what stands on stdin."""
    signal.signal(signal.SIGALRM, _late)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with Path(out).open("a") as report:
        for line in sys.stdin:
            folder = Path(line.strip())
            # Said before it is tried, so that it is known what a crash was in.
            report.write(json.dumps({"folder": folder.name, "failure": "its process ended"}) + "\n")
            report.flush()
            report.write(json.dumps({"folder": folder.name} | _outcome(peer, folder)) + "\n")
            report.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
