"""ONNX for Windows: WinML as it ships with a release of Windows, or Windows ML on onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias, cast

import msgspec

from manifests.manifest import QuantizationSection
from targets._target import Needs, TargetError, Toolchain

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from manifests.manifest import RuntimeSection
    from targets._composition import Composition
    from targets._target import Arrays, Artifact, Fidelity, Finding, Runner

Windows: TypeAlias = Literal["1809", "1903", "2004", "11", "windows-ml"]


class _Release(NamedTuple):
    """What the WinML of a release of Windows takes."""

    build: str
    """As runtime versions are compared: the build number of Windows."""
    opset: int
    ir_version: int
    ml_opset: int
    """Of ``ai.onnx.ml``."""


# Microsoft's table of ONNX versions and Windows builds gives the ONNX releases; ONNX's docs/Versioning.md gives each
# one's IR version and operator sets.
_RELEASES: dict[str, _Release] = {
    "1809": _Release("10.0.17763", 7, 3, 1),
    "1903": _Release("10.0.18362", 8, 3, 1),
    "2004": _Release("10.0.19041", 9, 4, 1),
    "11": _Release("10.0.22000", 12, 7, 2),
}
_INITIALIZERS_APART = 4
"""The IR version since which an initializer need not be an input too."""
_DTYPES = frozenset(
    {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
    | {"bool", "string"}
)
"""Windows.AI.MachineLearning's TensorKind, without the complex kinds that no operator takes."""
_IMAGE_RANK = 4
_MOST_SAMPLES = 2


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How WinML turns a video frame into the tensor of an input."""

    pixel_format: Literal["Bgr8", "Rgb8", "Gray8"] = "Bgr8"
    range: Literal["NominalRange_0_255", "Normalized_0_1", "Normalized_1_1", "NominalRange_16_235"] = (
        "NominalRange_0_255"
    )
    gamma: Literal["SRGB", "Linear"] = "SRGB"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.winml]`` of ``pack.toml``."""

    windows: Windows = "11"
    """The oldest release of Windows that must load the file; ``windows-ml``: the one on onnxruntime, any Windows."""
    onnxruntime: str = "1.22.0"
    """The release of onnxruntime in ``windows-ml``."""
    dimensions: dict[str, int] = {}
    """What free dimensions become, by name, ``*`` for all others; empty: they stay free. Numbers let shapes be computed
    beforehand, without which many models can't be expressed in the operators of old Windows."""
    float16: bool = False
    """Weights and tensors in float16, but for the nodes that can't bear it; inputs and outputs stay as they are."""
    image: dict[str, Image] = {}
    """By the name of an input of shape (batch, channels, height, width)."""


class _WinML:
    name = "winml"
    summary = "ONNX for WinML in Windows 10 and 11, and for Windows ML on onnxruntime"
    toolchain = Toolchain(distributions=("onnx", "onnxruntime", "numpy"), extra="pack")
    Options: ClassVar[type[msgspec.Struct]] = Options

    def needs(self, options: msgspec.Struct) -> Needs:
        """Nothing newer than that Windows knows.

        Raises:
            TargetError: `onnxruntime` names no release.
        """
        from targets._onnx.file import newest

        chosen = cast("Options", options)
        if chosen.windows == "windows-ml":
            opset, ir_version = newest(chosen.onnxruntime)
        else:
            opset, ir_version = _RELEASES[chosen.windows].opset, _RELEASES[chosen.windows].ir_version
        return Needs(opset=(7, opset), ir_version=ir_version, static_shapes=bool(chosen.dimensions))

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """What the options give; Windows overrides by name those that stay free."""
        return cast("Options", options).dimensions

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node whose operator that Windows does not know, or whose result it has no tensor kind for."""
        from targets._onnx.graph import unknown_nodes

        chosen = cast("Options", options)
        found = unknown_nodes(model)
        if chosen.windows != "windows-ml":
            found += _newer_nodes(model, chosen.windows)
        return found + _odd_tensors(model)

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write ``model.onnx`` at exactly the versions of that Windows.

        Raises:
            TargetError: onnxruntime can't load it at those versions (``onnx.load``), it is larger than protobuf's
                2 GB (``onnx.size``), float16 loses too much (``onnx.float16``), or an image input is not one
                (``winml.image``).
        """
        import onnx

        from targets._onnx.file import ENTRY, describe, write_model

        chosen = cast("Options", options)
        result = onnx.load(model)
        kept: tuple[str, ...] = ()
        if chosen.float16:
            from targets._onnx.half import to_half
            from targets._onnx.inputs import calls

            result, kept, _ = to_half(result, calls(result, calibration, most=_MOST_SAMPLES))
            result.ir_version = min(result.ir_version, self.needs(options).ir_version)
        _settle_ml_opset(result, chosen.windows)
        _name_dimensions(result)
        for name, image in sorted(chosen.image.items()):
            _declare_image(result, name, image)
        _set_metadata(result, chosen.image)
        if result.ir_version < _INITIALIZERS_APART:
            _repeat_initializers(result)
        write_model(result, out / ENTRY)
        artifact = describe(result, out / ENTRY)
        return msgspec.structs.replace(artifact, runtime=_runtime(artifact.runtime, chosen), **_precision(chosen, kept))

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped file at its own versions, in onnxruntime: the engine of Windows ML, an imitation of WinML."""
        from targets._onnx.file import ShippedFile

        return ShippedFile(folder / artifact.runtime.entry, _fidelity(artifact.runtime))

    def composition(self, artifact: Artifact, folder: Path) -> Composition:
        """The nodes of the shipped file."""
        from targets._onnx.composition import composition

        return composition(artifact, folder)


target = _WinML()


def _runtime(runtime: RuntimeSection, options: Options) -> RuntimeSection:
    minimum = options.onnxruntime if options.windows == "windows-ml" else _RELEASES[options.windows].build
    kind = "onnxruntime" if options.windows == "windows-ml" else "winml"
    return msgspec.structs.replace(runtime, kind=kind, minimum=minimum)


def _fidelity(runtime: RuntimeSection) -> Fidelity:
    """``runtime`` only where the very engine runs here: that release of onnxruntime."""
    import onnxruntime

    same = runtime.kind == "onnxruntime" and onnxruntime.__version__.split(".")[:2] == runtime.minimum.split(".")[:2]
    return "runtime" if same else "emulated"


def _precision(options: Options, kept: tuple[str, ...]) -> dict[str, object]:
    from targets._onnx.half import LIMIT

    if not options.float16:
        return {}
    some = ", ".join(kept[:5])
    return {
        "quantization": QuantizationSection(scheme="float16"),
        "parity_limit": LIMIT,
        "parity_measure": "rms",
        "golden_tolerance": (0.02, 0.01),
        "notes": (f"{len(kept)} nodes stay in float32: {some}",) if kept else (),
    }


def _newer_nodes(model: onnx.ModelProto, windows: str) -> list[Finding]:
    """Nodes of onnxruntime's own domains, and those whose ``ai.onnx.ml`` is newer than that Windows."""
    import onnx

    from targets._onnx.graph import STANDARD, canonical_domain, nodes, opsets, refused

    release = _RELEASES[windows]
    version = opsets(model).get("ai.onnx.ml", 1)
    found = []
    for node in nodes(model.graph):
        domain = canonical_domain(node.domain)
        if domain not in STANDARD:
            found.append(
                refused(
                    node, f"WinML of Windows {windows} has no operators of '{domain}'", 'set windows = "windows-ml"'
                )
            )
        elif domain and onnx.defs.get_schema(node.op_type, version, domain).since_version > release.ml_opset:
            reason = f"it is newer than version {release.ml_opset} of ai.onnx.ml, the newest of Windows {windows}"
            found.append(refused(node, reason, 'set windows = "windows-ml"'))
    return found


def _odd_tensors(model: onnx.ModelProto) -> list[Finding]:
    """Nodes that give an output of a dtype that Windows has no tensor kind for."""
    import onnx

    from targets._onnx.graph import nodes, refused

    odd = {}
    for entry in (*model.graph.value_info, *model.graph.output):
        kind = entry.type.tensor_type.elem_type
        dtype = onnx.TensorProto.DataType.Name(kind).lower()
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
        if kind and dtype not in _DTYPES:
            odd[entry.name] = dtype
    return [
        refused(node, f"Windows has no tensors of {odd[name]}", "export the model in float32 or float16")
        for node in nodes(model.graph)
        for name in node.output
        if name in odd
    ]


def _settle_ml_opset(model: onnx.ModelProto, windows: str) -> None:
    """The version of ``ai.onnx.ml`` that Windows knows; every node was seen to be no newer."""
    if windows == "windows-ml":
        return
    for entry in model.opset_import:
        if entry.domain == "ai.onnx.ml":
            entry.version = min(entry.version, _RELEASES[windows].ml_opset)


def _name_dimensions(model: onnx.ModelProto) -> None:
    """A name for each free dimension, by which ``LearningModelSessionOptions.OverrideNamedDimension`` finds it."""
    constants = {entry.name for entry in model.graph.initializer}
    for entry in model.graph.input:
        if entry.name in constants:
            continue
        for axis, size in enumerate(entry.type.tensor_type.shape.dim):
            if not size.HasField("dim_value") and not size.dim_param:
                size.dim_param = f"{entry.name}_{axis}" if axis else "batch"


def _declare_image(model: onnx.ModelProto, name: str, image: Image) -> None:
    """Mark the input as a picture: WinML then takes a VideoFrame for it."""
    entry = next((entry for entry in model.graph.input if entry.name == name), None)
    if entry is None:
        raise TargetError("winml.image", f"'image.{name}': the model has no such input")
    sizes = entry.type.tensor_type.shape.dim
    channels = 1 if image.pixel_format == "Gray8" else 3
    if len(sizes) != _IMAGE_RANK or sizes[1].dim_value != channels:
        raise TargetError(
            "winml.image",
            f"'image.{name}': expected an input of shape (batch, {channels}, height, width), "
            f"got ({', '.join(str(size.dim_value or size.dim_param) for size in sizes)})",
        )
    entry.type.denotation = "IMAGE"
    names = ("DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE")
    for size, meaning in zip(sizes, names, strict=True):
        size.denotation = meaning


def _set_metadata(model: onnx.ModelProto, images: dict[str, Image]) -> None:
    """How frames become tensors, which WinML reads from the model's metadata, once for all inputs."""
    import onnx

    if not images:
        return
    image, *others = dict.fromkeys((image.pixel_format, image.gamma, image.range) for image in images.values())
    if others:
        raise TargetError("winml.image", "'image': expected the same settings for all inputs, which is all WinML knows")
    written = dict(
        zip(("Image.BitmapPixelFormat", "Image.ColorSpaceGamma", "Image.NominalPixelRange"), image, strict=True)
    )
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, dict(sorted({**kept, **written}.items())))


def _repeat_initializers(model: onnx.ModelProto) -> None:
    """Every initializer as an input, as old IR versions want it; those of branches, which take none, as Constants."""
    import onnx

    from targets._onnx.graph import nodes

    for node in nodes(model.graph):
        for attribute in node.attribute:
            if attribute.HasField("g") and attribute.g.initializer:
                constants = [
                    onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
                    for tensor in attribute.g.initializer
                ]
                inner = [
                    *constants,
                    *(onnx.NodeProto.FromString(each.SerializeToString()) for each in attribute.g.node),
                ]
                del attribute.g.initializer[:]
                del attribute.g.node[:]
                attribute.g.node.extend(inner)
    named = {entry.name for entry in model.graph.input}
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.name not in named
    )
