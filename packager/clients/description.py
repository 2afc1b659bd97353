"""What a client is made of, in no language yet: tensors, what is done around them, and the files behind them.

Identifiers are in the style of the language that was asked for; nothing else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packager.clients.naming import Names, one_line, words
from packager.errors import ConfigError
from packager.pipeline import layout_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifests.bundle import Bundle
    from manifests.manifest import FileSection, Manifest, RuntimeSection, TensorSection
    from manifests.pipeline import InputPipeline, OutputPipeline
    from manifests.section import DType
    from packager.clients.languages._language import Language

_REAL = ("float16", "float32", "float64")
_MANTISSA = 53
_LIMITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


@dataclass(frozen=True)
class Dimension:
    """One axis of a tensor: a size, or a name that is free up to a maximum."""

    size: int | None
    name: str = ""
    maximum: int | None = None


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero)."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Input:
    """One input: what an application gives, and what the model takes."""

    identifier: str
    name: str
    """As the model has it; any text."""
    dtype: DType
    """Of the model's tensor."""
    raw: DType
    """Of what the application gives."""
    shape: tuple[Dimension, ...]
    """Of what the application gives."""
    scale: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    axis: int
    """That of the channels, in what the application gives."""
    permutation: tuple[int, ...]
    """For each axis of the model's tensor the axis of what is given; empty: the same."""
    quantization: Quantization | None
    colours: bool
    """Whether the channels are those of red, green and blue, which an application may hold the other way round."""
    notes: tuple[str, ...]
    """What the application should know, a sentence each."""

    @property
    def computes(self) -> bool:
        """Whether values change on their way, other than by their order."""
        return bool(self.scale or self.mean or self.std or self.quantization) or self.raw != self.dtype

    @property
    def whole(self) -> tuple[int, int] | None:
        """The least and the largest whole number of the model's dtype; None: it is none of whole numbers."""
        return whole_limits(self.dtype)


@dataclass(frozen=True)
class Output:
    """One output: what the model computes, and what the application gets."""

    identifier: str
    classes: str
    """Identifier of the selected classes; empty where nothing is selected."""
    name: str
    dtype: DType
    """Of the model's tensor."""
    given: DType
    """Of what the application gets."""
    shape: tuple[Dimension, ...]
    quantization: Quantization | None
    activation: str
    axis: int
    """That of the classes, counted from the first."""
    select: str
    """``argmax``, ``top``, ``threshold``, or nothing."""
    top: int
    threshold: float
    labels: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def computes(self) -> bool:
        """Whether values change on their way."""
        return bool(self.quantization or self.activation)


@dataclass(frozen=True)
class Client:
    """All that a template is filled with, but for the vectors of the golden test."""

    model: str
    version: str
    target: str
    reference: str
    digest: str
    package: str
    """Identifier of the package, namespace or module."""
    type: str
    """Identifier that the types' names begin with."""
    runtime: RuntimeSection
    files: tuple[FileSection, ...]
    """What is shipped, golden samples apart."""
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    rtol: float
    atol: float


def describe(bundle: Bundle, language: Language, labels_files: Mapping[str, tuple[str, ...]]) -> Client:
    """The client of a bundle; `labels_files` has the labels of each file of the bundle that holds some.

    Raises:
        ConfigError: the pipeline asks for something that can't be done with the tensor.
    """
    manifest = bundle.manifest
    title = words(manifest.bundle.name)
    title = title if title and title[0].isalpha() else ["model", *title]
    files = tuple(entry for entry in manifest.files if entry.role != "golden")
    return Client(
        model=manifest.bundle.name,
        version=manifest.bundle.version,
        target=manifest.bundle.target,
        reference=bundle.reference,
        digest=bundle.digest,
        package=language.package(title),
        type=language.type_name(title),
        runtime=manifest.runtime,
        files=files,
        inputs=_inputs(manifest, language),
        outputs=_outputs(manifest, language, labels_files),
        rtol=manifest.golden.rtol,
        atol=manifest.golden.atol,
    )


def whole_limits(dtype: str) -> tuple[int, int] | None:
    """The least and the largest number of a dtype of whole numbers that a float64 holds; None for any other."""
    bits = _LIMITS.get(dtype)
    if bits is None:
        return None
    most = 2**bits if dtype.startswith("u") else 2 ** (bits - 1)
    return (0 if dtype.startswith("u") else -most), most - max(1, most >> _MANTISSA)


def _inputs(manifest: Manifest, language: Language) -> tuple[Input, ...]:
    names = Names(language.reserved)
    steps = {step.input: step for step in manifest.pipeline.inputs}
    return tuple(
        _input(entry, steps.get(entry.name), manifest, names.give(language.field(words(entry.name)), language.input))
        for entry in manifest.signature.inputs
    )


def _input(entry: TensorSection, step: InputPipeline | None, manifest: Manifest, identifier: str) -> Input:
    from manifests.pipeline import InputPipeline

    step = step or InputPipeline(input=entry.name)
    own = layout_of(step, entry)
    quantization = Quantization(entry.quantization.scale, entry.quantization.zero_point) if entry.quantization else None
    raw = step.dtype or ("float32" if quantization else entry.dtype)
    permutation = tuple(step.layout.index(axis) for axis in own) if step.layout else ()
    raw_layout = step.layout or own
    sizes = _dimensions(entry, manifest)
    shape = tuple(sizes[own.index(axis)] for axis in step.layout) if step.layout else sizes
    computes = step.scale or step.mean or step.std or quantization
    if computes and "string" in (raw, entry.dtype):
        raise ConfigError("client.pipeline", f"input '{entry.name}' is text: its pipeline can't scale it")
    return Input(
        identifier=identifier,
        name=entry.name,
        dtype=entry.dtype,
        raw=raw,
        shape=shape,
        scale=step.scale,
        mean=step.mean,
        std=step.std,
        axis=raw_layout.index("c") if "c" in raw_layout else max(len(shape) - 1, 0),
        permutation=() if permutation == tuple(range(len(permutation))) else permutation,
        quantization=quantization,
        colours=step.colour in {"rgb", "bgr"} and "c" in raw_layout,
        notes=tuple(_input_notes(entry, step, raw, raw_layout, shape)),
    )


def _input_notes(
    entry: TensorSection, step: InputPipeline, raw: str, layout: str, shape: tuple[Dimension, ...]
) -> list[str]:
    notes = [f"'{one_line(entry.name)}': {raw} {shown_shape(shape)}{f', axes {layout}' if layout else ''}."]
    if entry.range is not None and raw == entry.dtype:
        notes.append(f"Values lie between {entry.range[0]:g} and {entry.range[1]:g}.")
    if step.colour in {"rgb", "bgr"}:
        along = f", along axis {layout.index('c')}" if "c" in layout else ""
        notes.append(f"Channels in the order {step.colour.upper()}{along}.")
    elif step.colour:
        notes.append("Shades of gray.")
    if step.colour_space == "linear":
        notes.append("Values are linear light, not sRGB.")
    if step.resize is not None:
        height, width = step.resize.size
        notes.append(
            f"A picture of {height} x {width} pixels (height, width): resized by {step.resize.mode}, {step.resize.fit}."
        )
    if step.sample_rate is not None:
        notes.append(f"Sound of {step.sample_rate} Hz.")
    if step.tokeniser is not None:
        most = "" if step.tokeniser.maximum is None else f", at most {step.tokeniser.maximum}"
        fill = "" if step.tokeniser.padding is None else f", filled up with {step.tokeniser.padding}"
        notes.append(f"Tokens by {one_line(step.tokeniser.file)} ({step.tokeniser.kind}){most}{fill}.")
    done = [
        f"{what} {_some(by)}" for what, by in (("times", step.scale), ("minus", step.mean), ("over", step.std)) if by
    ]
    if done:
        notes.append(f"The client computes: {', '.join(done)}.")
    if step.fused:
        notes.append(f"The model itself does: {', '.join(step.fused)}.")
    return notes


def _outputs(manifest: Manifest, language: Language, labels_files: Mapping[str, tuple[str, ...]]) -> tuple[Output, ...]:
    names = Names(language.reserved)
    steps = {step.output: step for step in manifest.pipeline.outputs}
    identifiers = [
        names.give(language.field(words(entry.name)), language.output) for entry in manifest.signature.outputs
    ]

    def classes(identifier: str) -> str:
        return names.give(language.field([*words(identifier), "classes"]), language.output)

    return tuple(
        _output(entry, steps.get(entry.name), manifest, labels_files, (identifier, classes))
        for entry, identifier in zip(manifest.signature.outputs, identifiers, strict=True)
    )


def _output(
    entry: TensorSection,
    step: OutputPipeline | None,
    manifest: Manifest,
    labels_files: Mapping[str, tuple[str, ...]],
    naming: tuple[str, Callable[[str], str]],
) -> Output:
    from manifests.pipeline import OutputPipeline

    step = step or OutputPipeline(output=entry.name)
    task = manifest.model.task
    scores = task.kind == "classification" and task.output == entry.name
    labels = step.labels or labels_files.get(step.labels_file, ()) or (task.labels if scores else ())
    rank = len(entry.shape)
    axis = step.axis % rank if rank else 0
    several = rank > 0 and entry.shape[axis] != 1
    select = step.select or ("argmax" if scores and several and entry.dtype in _REAL else "")
    if (step.activation or step.select) and entry.dtype in ("string", "bool"):
        raise ConfigError("client.pipeline", f"output '{entry.name}' is {entry.dtype}: nothing can be selected by it")
    quantization = Quantization(entry.quantization.scale, entry.quantization.zero_point) if entry.quantization else None
    given: DType = entry.dtype
    if quantization or (step.activation and entry.dtype not in _REAL):
        given = "float32"
    identifier, classes = naming
    notes = [f"'{one_line(entry.name)}': {given} {shown_shape(_dimensions(entry, manifest))}."]
    if step.activation:
        along = f" over axis {axis}" if step.activation == "softmax" else ""
        notes.append(f"The client computes {step.activation}{along}.")
    return Output(
        identifier=identifier,
        classes=classes(identifier) if select else "",
        name=entry.name,
        dtype=entry.dtype,
        given=given,
        shape=_dimensions(entry, manifest),
        quantization=quantization,
        activation=step.activation,
        axis=axis,
        select=select,
        top=step.top or 1,
        threshold=step.threshold or 0.0,
        labels=labels if select else (),
        notes=tuple(notes),
    )


def _dimensions(entry: TensorSection, manifest: Manifest) -> tuple[Dimension, ...]:
    most = manifest.signature.maximum
    return tuple(
        Dimension(size) if isinstance(size, int) else Dimension(None, size, most.get(size)) for size in entry.shape
    )


def shown_shape(shape: tuple[Dimension, ...]) -> str:
    """A shape as people read it: ``[batch, 3, 8, 8]``, free dimensions by their names and bounds."""
    return f"[{', '.join(_shown(each) for each in shape)}]"


def _shown(dimension: Dimension) -> str:
    if dimension.size is not None:
        return str(dimension.size)
    bound = "" if dimension.maximum is None else f" <= {dimension.maximum}"
    return f"{one_line(dimension.name) or '?'}{bound}"


def _some(factors: tuple[float, ...]) -> str:
    return " ".join(f"{factor:.6g}" for factor in factors[:4]) + (" ..." if len(factors) > 4 else "")  # noqa: PLR2004 - channels of a picture
