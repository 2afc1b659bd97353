"""Keras models, .keras and HDF5, through TensorFlow's graph; what runs code is refused unless trusted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from manifests.manifest import TaskSection
from packager.errors import ConversionError
from packager.importers._framework import first_line, framework_predictor
from packager.importers._importer import Imported
from packager.importers._keras_config import parse_config, risks
from packager.importers._keras_files import hdf5_config, is_hdf5, is_keras_zip, zip_config
from packager.importers._tensorflow import (
    DISTRIBUTIONS,
    EXTRA,
    TOLERANCE,
    TOOLCHAIN,
    convert,
    freeze,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packager.importers._importer import Arrays, Options

__all__ = ["DISTRIBUTIONS", "EXTRA", "TOLERANCE", "TOOLCHAIN", "find_model", "read_model"]

_MOST_RISKS = 10


def find_model(path: Path) -> Path | None:
    """The file itself, or the only one in the folder; MLflow's folder has it below ``data``."""
    if not path.is_dir():
        return path if _is_ours(path) else None
    for folder in (path, path / "data"):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        inside = [entry for entry in entries if entry.is_file() and _is_ours(entry)]
        if len(inside) == 1:
            return inside[0]
    return None


def read_model(path: Path, options: Options) -> Imported:
    """The model as ONNX: inputs by their names, outputs by their layers', the batch as free as the model has it."""
    zipped = is_keras_zip(path)
    config = parse_config(zip_config(path) if zipped else hdf5_config(path))
    _refuse_code(path, config, trusted=options.trusted)
    model = _load(path, "keras" if zipped else "h5", trusted=options.trusted)
    if not model.built or not getattr(model, "inputs", None):
        raise ConversionError(
            "import.keras",
            f"'{path.name}' does not say which shape its input has",
            hint="call the model once on a sample, or give its first layer an Input, and save it again",
        )
    return _import(model)


def _is_ours(path: Path) -> bool:
    return is_hdf5(path) or is_keras_zip(path)


def _refuse_code(path: Path, config: dict[str, object], *, trusted: bool) -> None:
    found = risks(config)
    refused = [risk for risk in found if risk.foreign or not trusted]
    if not refused:
        return
    lines = [f"layer '{risk.layer}': {risk.what}" for risk in refused[:_MOST_RISKS]]
    if len(refused) > _MOST_RISKS:
        lines.append(f"and {len(refused) - _MOST_RISKS} more")
    if any(risk.foreign for risk in refused):
        hint = "what a file of Keras does not hold can't be run: export the model as a SavedModel or to ONNX"
    else:
        hint = "use Keras' own layers instead; or, where you know who made it, set trusted = true in [model]"
    raise ConversionError(
        "import.code", f"'{path.name}' runs code when it is read:\n  " + "\n  ".join(lines), hint=hint
    )


def _load(path: Path, suffix: str, *, trusted: bool) -> Any:  # noqa: ANN401 - Keras ships no types
    import keras
    import tensorflow as tf

    problems = (
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        tf.errors.OpError,
    )
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder, f"model.{suffix}")  # Keras goes by the suffix
        named.symlink_to(path.resolve())
        try:
            return keras.saving.load_model(named, compile=False, safe_mode=not trusted)
        except problems as error:
            raise ConversionError(
                "import.keras",
                f"Keras {keras.__version__} can't load '{path.name}': {first_line(error)}",
                hint="a layer that Keras does not know is not in the file: export the model as a SavedModel or to ONNX",
            ) from error


def _import(model: Any) -> Imported:  # noqa: ANN401 - a keras.Model
    import keras
    import tensorflow as tf

    inputs = _distinct([tensor.name for tensor in model.inputs])
    outputs = _distinct(_output_names(model))
    structure = model.inputs[0] if len(inputs) == 1 else model.input

    def call(*tensors: object) -> list[object]:
        packed = tensors[0] if len(tensors) == 1 else keras.tree.pack_sequence_as(structure, list(tensors))
        return cast("list[object]", keras.tree.flatten(model(packed, training=False)))

    specifications = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=f"input_{number}") for number, tensor in enumerate(model.inputs)
    ]
    traced = tf.function(lambda *tensors: [tf.identity(result) for result in call(*tensors)], autograph=False)
    function = traced.get_concrete_function(*specifications)
    shapes = {name: tuple(tensor.shape) for name, tensor in zip(outputs, model.outputs, strict=True)}
    converted = convert(freeze(function, inputs, outputs), shapes)

    def predict(arrays: Arrays) -> Mapping[str, Any]:
        results = call(*(tf.constant(arrays[name]) for name in inputs))
        return dict(zip(outputs, (keras.ops.convert_to_numpy(result) for result in results), strict=True))

    return Imported(converted, task=TaskSection(), predict=framework_predictor(converted, predict))


def _output_names(model: Any) -> list[str]:  # noqa: ANN401 - a keras.Model
    """The keys of a dictionary, else the names of the layers that the outputs come from."""
    import keras

    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    if isinstance(model.output, dict):
        return [".".join(map(str, place)) for place, _ in keras.tree.flatten_with_path(model.output)]
    return [str(name) for name in model.output_names]


def _distinct(names: list[str]) -> list[str]:
    """A layer that is called twice gives two outputs its name."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        found.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return found
