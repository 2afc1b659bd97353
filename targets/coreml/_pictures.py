"""Image inputs and class labels: what the model's declared pipeline says that Core ML has words for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from manifests.pipeline import DECLARATION_KEY, read_declaration
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import onnx

    from manifests.pipeline import Declaration, InputPipeline
    from targets.coreml._border import Feature

_COLOURS = {"gray": 10, "rgb": 20, "bgr": 30}
"""Core ML's numbers of colour spaces."""
_CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3}
_FIRST, _LAST = "nchw", "nhwc"
_PLANE = 4


class Picture(NamedTuple):
    """An input that an application gives a picture to."""

    colour: str
    channels_last: bool
    """Whether the source model takes its channels last; Core ML's program has them first."""


class Labels(NamedTuple):
    """The names of the classes that one output has a score for each of."""

    output: str
    names: tuple[str, ...]


def pictures(model: onnx.ModelProto) -> dict[str, Picture]:
    """The inputs that the pipeline declares as pictures.

    Raises:
        TargetError: Core ML can't take the input as a picture, because of its shape or of steps before it.
    """
    declared = declaration(model)
    shapes = {
        entry.name: tuple(size.dim_value for size in entry.type.tensor_type.shape.dim) for entry in model.graph.input
    }
    return {
        step.input: _picture(step, declared, shapes[step.input])
        for step in declared.pipeline.inputs
        if step.kind == "image" and step.input in shapes
    }


def _picture(step: InputPipeline, declared: Declaration, shape: tuple[int, ...]) -> Picture:
    if step.scale or step.mean or step.std:
        raise TargetError(
            "coreml.image",
            f"input '{step.input}' is scaled before the model, which an image input of Core ML leaves to the model",
            hint=f"let the model do it: fuse = true in model.pipeline.inputs.{step.input}",
        )
    known = declared.inputs.get(step.input)
    layout = step.layout or (known.layout if known else "")
    channels = _CHANNELS.get(step.colour or "rgb", 0)
    fitting = [each for each in (_FIRST, _LAST) if len(shape) == _PLANE and shape[each.index("c")] == channels]
    if layout in fitting:
        fitting = [layout]
    if not fitting or shape[0] != 1 or not all(shape):
        raise TargetError(
            "coreml.image",
            f"input '{step.input}' of the shape {list(shape)} is no picture: expected 1 of {channels} channels",
            hint="leave targets.coreml.images out",
        )
    return Picture(step.colour or "rgb", fitting[0] == _LAST)


def read_labels(model: onnx.ModelProto, folder: Path) -> None:
    """Write the labels of the pipeline's files, which stand in `folder`, into the model's declaration.

    Raises:
        TargetError: a file is missing, or holds no labels (``coreml.labels``).
    """
    declared = declaration(model)
    outputs = tuple(
        msgspec.structs.replace(step, labels=_file_labels(folder / step.labels_file)) if step.labels_file else step
        for step in declared.pipeline.outputs
    )
    if outputs == declared.pipeline.outputs:
        return
    pipeline = msgspec.structs.replace(declared.pipeline, outputs=outputs)
    text = msgspec.json.encode(msgspec.structs.replace(declared, pipeline=pipeline)).decode()
    for entry in model.metadata_props:
        if entry.key == DECLARATION_KEY:
            entry.value = text


def _file_labels(path: Path) -> tuple[str, ...]:
    """One label a line, or a JSON list."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json":
            return tuple(text.splitlines())
        return msgspec.json.decode(text, type=tuple[str, ...])
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise TargetError("coreml.labels", f"'{path.name}' is no list of labels: {error}") from error


def labels(model: onnx.ModelProto) -> Labels | None:
    """The class names of the first output that the pipeline gives some to."""
    for step in declaration(model).pipeline.outputs:
        if step.labels:
            return Labels(step.output, step.labels)
    return None


def declaration(model: onnx.ModelProto) -> Declaration:
    """What is known of a model and does not stand in its graph."""
    return read_declaration(next((entry.value for entry in model.metadata_props if entry.key == DECLARATION_KEY), ""))


def describe_pictures(description: Any, features: Iterable[Feature]) -> None:  # noqa: ANN401 - a protobuf message
    """Write into the description of a model, or of one of its functions, which inputs are pictures."""
    described = {entry.name: entry for entry in description.input}
    for feature in features:
        if feature.picture is not None:
            image = described[feature.name].type.imageType
            _, _, image.height, image.width = feature.sizes({})
            image.colorSpace = _COLOURS[feature.picture.colour]
