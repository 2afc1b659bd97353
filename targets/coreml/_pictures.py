"""Image inputs and class labels: what the model's declared pipeline says that Core ML has words for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from manifests.pipeline import DECLARATION_KEY, read_declaration
from targets._target import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    declaration = _declaration(model)
    shapes = {
        entry.name: tuple(size.dim_value for size in entry.type.tensor_type.shape.dim) for entry in model.graph.input
    }
    return {
        step.input: _picture(step, declaration, shapes[step.input])
        for step in declaration.pipeline.inputs
        if step.kind == "image" and step.input in shapes
    }


def _picture(step: InputPipeline, declaration: Declaration, shape: tuple[int, ...]) -> Picture:
    if step.scale or step.mean or step.std:
        raise TargetError(
            "coreml.image",
            f"input '{step.input}' is scaled before the model, which an image input of Core ML leaves to the model",
            hint=f"let the model do it: fuse = true in model.pipeline.inputs.{step.input}",
        )
    known = declaration.inputs.get(step.input)
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


def labels(model: onnx.ModelProto) -> Labels | None:
    """The class names of the first output that the pipeline gives some to."""
    for step in _declaration(model).pipeline.outputs:
        if step.labels:
            return Labels(step.output, step.labels)
    return None


def _declaration(model: onnx.ModelProto) -> Declaration:
    return read_declaration(next((entry.value for entry in model.metadata_props if entry.key == DECLARATION_KEY), ""))


def describe_pictures(model: Any, features: Iterable[Feature]) -> None:  # noqa: ANN401 - a protobuf message
    """Write into the model's description which inputs are pictures."""
    described = {entry.name: entry for entry in model.description.input}
    for feature in features:
        if feature.picture is not None:
            image = described[feature.name].type.imageType
            _, _, image.height, image.width = feature.sizes({})
            image.colorSpace = _COLOURS[feature.picture.colour]
