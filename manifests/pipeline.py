"""What an application does around a model: the manifest's section ``pipeline`` (SPEC 3.7).

Code for applications is generated from it, and formats that know image inputs (Core ML, WinML) take theirs from it, so
every step has its fields and one place in the order.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from manifests.section import DType, Section, Size

Layout: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{0,8}$(?!\n)")]
"""One letter an axis, no letter twice, such as ``nchw``: n the sample, c the channel, h, w and d in space, t in time.
Empty: nothing is said."""
FusedStep: TypeAlias = Literal["cast", "scale", "mean", "std", "layout"]
Factors: TypeAlias = tuple[float, ...]
"""One number for all channels, or one a channel; empty: the step is not done."""


class PipelineStep(Section, frozen=True, kw_only=True):
    """One step in free words, as version 1.0 had it; nothing acts on it, and nobody writes it (SPEC 3.7.9)."""

    operation: str
    parameters: dict[str, str | float | tuple[float, ...]] = msgspec.field(default_factory=dict)


class ResizeSection(Section, frozen=True, kw_only=True):
    """How a picture gets its size."""

    size: tuple[Annotated[int, msgspec.Meta(ge=1)], Annotated[int, msgspec.Meta(ge=1)]]
    """Height and width."""
    mode: Literal["nearest", "linear", "cubic", "area"] = "linear"
    """Pixels are areas: the centre of the first lies at half a pixel."""
    fit: Literal["stretch", "cover", "contain"] = "stretch"
    """``stretch``: both sides become what is asked for. ``cover``: the shorter one does, and what is too much of the
    other is cut off. ``contain``: the longer one does, and the rest is padded."""
    crop: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """With ``cover``: the share of the resized picture, in each direction, that is kept; below 1 it is made larger
    first, by as much."""
    anchor: Literal["centre", "start"] = "centre"
    """Where the picture stands when it is cut or padded."""
    pad: Factors = ()
    """With ``contain``: the raw value of what is padded; default 0."""


class TokeniserSection(Section, frozen=True, kw_only=True):
    """How text becomes tokens."""

    file: str
    """Path of one of the bundle's files."""
    kind: Literal["huggingface", "sentencepiece", "wordpiece", "characters", "other"] = "other"
    """What reads the file: a ``tokenizer.json``, a SentencePiece model, a vocabulary with one word piece a line, a list
    with one character a line, or something of the application's own."""
    maximum: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """The most tokens; what follows is cut off."""
    padding: int | None = None
    """The token that fills up to the input's length."""


class InputPipeline(Section, frozen=True, kw_only=True):
    """How one input's tensor is made of what an application holds; the order of the steps is that of the fields."""

    input: str
    kind: Literal["tensor", "image", "audio", "text"] = "tensor"
    tokeniser: TokeniserSection | None = None
    sample_rate: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Of sound, in hertz."""
    colour: Literal["", "rgb", "bgr", "gray"] = ""
    """The order of the channels that the model expects."""
    colour_space: Literal["", "srgb", "linear"] = ""
    """What the values of a picture mean; empty: sRGB, as files and cameras have it."""
    resize: ResizeSection | None = None
    dtype: DType | None = None
    """Of the raw values, such as ``uint8``; None: that of the signature."""
    layout: Layout = ""
    """Of the raw values; the model's own is the signature's. Empty: the same."""
    scale: Factors = ()
    """What raw values are multiplied with."""
    mean: Factors = ()
    """What is subtracted then."""
    std: tuple[Annotated[float, msgspec.Meta(gt=0)], ...] = ()
    """What that is divided by."""
    fused: tuple[FusedStep, ...] = ()
    """Steps that the shipped file does itself, so that the application must not; their fields are empty."""


class OutputPipeline(Section, frozen=True, kw_only=True):
    """What becomes of one output; the order of the steps is that of the fields."""

    output: str
    activation: Literal["", "softmax", "sigmoid"] = ""
    """What the shipped file leaves to the application."""
    axis: int = -1
    """The axis of the classes, for ``softmax``, ``argmax`` and ``top``."""
    select: Literal["", "argmax", "top", "threshold"] = ""
    """What is answered with: everything; the class of the largest score; the `top` largest; those at `threshold` or
    above."""
    top: Annotated[int, msgspec.Meta(ge=1)] | None = None
    threshold: float | None = None
    labels: tuple[str, ...] = ()
    """The names of the classes."""
    labels_file: str = ""
    """Path of the bundle's file that holds them: one a line, or a JSON list."""


class PipelineSection(Section, frozen=True, kw_only=True):
    """What the application does around the model."""

    preprocess: tuple[PipelineStep, ...] = ()
    postprocess: tuple[PipelineStep, ...] = ()
    inputs: tuple[InputPipeline, ...] = ()
    outputs: tuple[OutputPipeline, ...] = ()


class DeclaredInput(Section, frozen=True, kw_only=True):
    """What is known of one input beside its name, type and shape."""

    layout: Layout = ""
    range: tuple[float, float] | None = None


class Declaration(Section, frozen=True, kw_only=True):
    """What is known of a model and does not stand in its graph; it travels in the model's metadata to the targets."""

    inputs: dict[str, DeclaredInput] = msgspec.field(default_factory=dict)
    maximum: dict[str, Size] = msgspec.field(default_factory=dict)
    """The largest value of each free dimension that has one, by its name."""
    pipeline: PipelineSection = PipelineSection()


DECLARATION_KEY = "packtrain.declaration"
"""The key of an ONNX model's metadata that holds a `Declaration` as JSON."""


def read_declaration(text: str) -> Declaration:
    """What was written under `DECLARATION_KEY`; nothing is known where there is no such key, so ``""`` is empty.

    Raises:
        msgspec.DecodeError: it was not written by the packager.
    """
    return msgspec.json.decode(text, type=Declaration) if text else Declaration()
