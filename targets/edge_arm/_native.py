"""A TFLite file that goes into the bundle as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from manifests.digests import digest_file
from manifests.manifest import (
    FileSection,
    QuantizationParameters,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    TensorSection,
)
from targets._target import Artifact, TargetError
from targets.edge_arm._device import for_device

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from targets.edge_arm import Options

_ENTRY = "model.tflite"


def ship(data: bytes, options: Options, out: Path) -> Artifact:
    """The artifact of a TFLite file, whose bytes are not changed.

    Raises:
        TargetError: an option asks for a change of it (``edge-arm.format``).
    """
    asked = {"quantize": "none", "io_layout": "source", "state": "inputs"}
    for name, plain in asked.items():
        if getattr(options, name) != plain:
            raise TargetError(
                "edge-arm.format",
                f"a TFLite file is shipped as it is: expected {name} = '{plain}', got '{getattr(options, name)}'",
                hint="give the model in the format that it was exported from",
            )
    if options.device == "mcu":
        raise TargetError("edge-arm.format", "a TFLite file is not checked for a microcontroller's operators")
    path = out / _ENTRY
    path.write_bytes(data)
    signature = _signature(path)
    model = schema.ModelT.InitFromPackedBuf(data)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    quantized = any(entry.quantization for entry in (*signature.inputs, *signature.outputs))
    size = path.stat().st_size
    artifact = Artifact(
        files=(
            FileSection(
                path=_ENTRY,
                role="model",
                digest=digest_file(path),
                size=size,
                media_type="application/vnd.tensorflow.lite",
            ),
        ),
        signature=signature,
        runtime=RuntimeSection(
            kind="litert",
            minimum="",
            entry=_ENTRY,
            operators=tuple(sorted({names[code.builtinCode] for code in model.operatorCodes})),
        ),
        resources=ResourcesSection(disk_bytes=size),
        quantization=QuantizationSection(scheme="source" if quantized else "none"),
    )
    return for_device(artifact, options, out)


def _signature(path: Path) -> SignatureSection:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    details = {entry["index"]: entry for entry in (*interpreter.get_input_details(), *interpreter.get_output_details())}
    found = list(interpreter._get_full_signature_list().values())  # noqa: SLF001 - the public list leaves out the indices
    if found:
        inputs, outputs = found[0]["inputs"], found[0]["outputs"]
    else:
        inputs, outputs = (
            {entry["name"]: entry["index"] for entry in entries}
            for entries in (interpreter.get_input_details(), interpreter.get_output_details())
        )
    return SignatureSection(
        inputs=tuple(_tensor(name, details[index]) for name, index in inputs.items()),
        outputs=tuple(_tensor(name, details[index]) for name, index in outputs.items()),
    )


def _tensor(name: str, entry: dict[str, object]) -> TensorSection:
    scale, zero_point = cast("tuple[float, int]", entry["quantization"])
    return msgspec.convert(
        {
            "name": name,
            "dtype": np.dtype(cast("str", entry["dtype"])).name,
            "shape": [int(size) for size in cast("NDArray[np.int32]", entry["shape"])],
            "quantization": QuantizationParameters(scale=float(scale), zero_point=int(zero_point)) if scale else None,
        },
        TensorSection,
    )
