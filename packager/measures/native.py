"""A source model that is not ONNX, run as its own runtime runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError
from packager.measures.running import SourceModel
from targets._target import native_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ai_edge_litert.interpreter import Interpreter

    from packager.measures.running import Array, Runnable


def open_source(path: Path) -> Runnable:
    """The imported model, in what it is compared with.

    Raises:
        ConversionError: it can't be loaded.
    """
    import onnx

    native = native_file(onnx.load(path, load_external_data=False))
    return SourceModel(path) if native is None else TfliteModel(native[1])


class TfliteModel:
    """A TFLite file in LiteRT; real numbers go in and come out where the file's are quantized."""

    def __init__(self, data: bytes) -> None:
        """Raises ConversionError where LiteRT can't load the file, or it has several signatures."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_content=data, num_threads=1)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ConversionError("import.tflite", f"LiteRT can't load the file: {error}") from error
        self._interpreter: Interpreter = interpreter
        signatures = interpreter._get_full_signature_list()  # noqa: SLF001 - the public list leaves out the indices
        if len(signatures) > 1:
            raise ConversionError(
                "import.tflite",
                f"the file has {len(signatures)} signatures: expected one, got {', '.join(signatures)}",
                hint="export a file for each of them",
            )
        details = (interpreter.get_input_details(), interpreter.get_output_details())
        named = next(iter(signatures.values()), None)
        self.inputs, self.outputs = (
            {name: _entry(entries, index) for name, index in named[side].items()}
            if named
            else {str(entry["name"]): entry for entry in entries}
            for side, entries in zip(("inputs", "outputs"), details, strict=True)
        )

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, for one call."""
        import numpy as np

        for name, entry in self.inputs.items():
            array = inputs[name]
            scale, zero_point = cast("tuple[float, int]", entry["quantization"])
            if scale:
                limits = np.iinfo(np.dtype(cast("str", entry["dtype"])))
                array = np.clip(np.rint(array.astype(np.float64) / scale) + zero_point, limits.min, limits.max)
            self._interpreter.set_tensor(entry["index"], array.astype(cast("str", entry["dtype"])))
        self._interpreter.invoke()
        found = {}
        for name, entry in self.outputs.items():
            array = self._interpreter.get_tensor(entry["index"])
            scale, zero_point = cast("tuple[float, int]", entry["quantization"])
            found[name] = ((array.astype(np.float64) - zero_point) * scale).astype(np.float32) if scale else array
        return found


def _entry(entries: list[dict[str, object]], index: int) -> dict[str, object]:
    found = next((entry for entry in entries if entry["index"] == index), None)
    if found is None:
        raise ConversionError(
            "import.tflite", f"the file is damaged: its signature names tensor {index}, which goes neither in nor out"
        )
    return found
