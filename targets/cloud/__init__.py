"""ONNX, optimised ahead of time, for onnxruntime on servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

import msgspec

from targets._target import Needs, TargetError, Toolchain

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from targets._composition import Composition
    from targets._onnx.optimisation import Level
    from targets._target import Arrays, Artifact, Finding, Runner

Quantize = Literal["none", "float16", "dynamic-int8", "int8", "auto"]
Provider = Literal[
    "CUDAExecutionProvider",
    "DmlExecutionProvider",
    "MIGraphXExecutionProvider",
    "NvTensorRTRTXExecutionProvider",
    "OpenVINOExecutionProvider",
    "TensorrtExecutionProvider",
    "WebGpuExecutionProvider",
]

_NEWEST = (23, 11)
"""Opset and IR version."""
_INTEGER_OPSET = 13
"""The first whose quantizing operators know scales by channel."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.cloud]`` of ``pack.toml``."""

    optimization: Literal["none", "basic", "extended"] | None = None
    """onnxruntime's levels; by default ``extended``, or ``basic`` where `onnxruntime` is given."""
    quantize: Quantize = "none"
    """``float16``: weights and tensors; ``dynamic-int8``: weights, and activations while it runs; ``int8``: both,
    with calibration data; ``auto``: the fastest of them on the build machine that computes what the source does."""
    onnxruntime: str | None = None
    """The oldest release that must load the file: a ceiling of opset and IR version."""
    opset: int | None = None
    """The newest opset that the file may have."""
    ir_version: int | None = None
    """The newest IR version that the file may have."""
    threads: int = 0
    """How many threads a server gives one call; 0: as many as the machine has cores."""
    package: bool = False
    """Ship the file in the layout of onnxruntime's Model Package, below ``model.ortpackage``."""
    variants: dict[Provider, Literal["none", "float16", "dynamic-int8", "int8"]] = {}
    """Of the package, beside the one for the CPU that `quantize` makes: execution provider to precision."""

    @property
    def level(self) -> Level:
        """The level in force."""
        return self.optimization or ("basic" if self.onnxruntime else "extended")


class _Cloud:
    name = "cloud"
    summary = "ONNX for onnxruntime on servers, optimised ahead of time"
    toolchain = Toolchain(distributions=("onnx", "onnxruntime", "numpy"), extra="pack")
    Options: ClassVar[type[msgspec.Struct]] = Options

    def needs(self, options: msgspec.Struct) -> Needs:
        """Almost anything that is no newer than the options allow.

        Raises:
            TargetError: the ceilings leave nothing, or name no release of onnxruntime.
        """
        from targets._onnx.file import newest

        chosen = cast("Options", options)
        opset, ir_version = newest(chosen.onnxruntime) if chosen.onnxruntime else _NEWEST
        opset = min(opset, chosen.opset or opset)
        if chosen.variants and not chosen.package:
            raise TargetError("cloud.variants", "'variants' are those of a package", hint="set package = true")
        integer = {"int8", "dynamic-int8", "auto"} & {chosen.quantize, *chosen.variants.values()}
        lowest = _INTEGER_OPSET if integer else 7
        if opset < lowest:
            raise TargetError("cloud.opset", f"'opset' is too low: expected {lowest} or more, got {opset}")
        return Needs(opset=(lowest, opset), ir_version=min(ir_version, chosen.ir_version or ir_version))

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """Nothing: the batch, and every other free dimension, stays free."""
        del options
        return {}

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node whose operator no schema of onnx or onnxruntime knows."""
        from targets._onnx.graph import unknown_nodes

        del options
        return unknown_nodes(model)

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write ``model.onnx``: the model after onnxruntime's own graph optimisations, with nothing machine-specific.

        With `Options.package` it stands below ``model.ortpackage``, beside its variants.

        Raises:
            TargetError: onnxruntime can't load the model (``onnx.load``), it is larger than protobuf's 2 GB
                (``onnx.size``), float16 loses too much (``onnx.float16``), calibration data is missing
                (``cloud.calibration``), a variant computes something else (``cloud.variants``), or the file would need
                a newer onnxruntime than was allowed (``cloud.onnxruntime``).
        """
        from targets.cloud._convert import convert

        return convert(model, cast("Options", options), calibration, out)

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped file, opened by the runtime that servers use."""
        from targets._onnx.file import ShippedFile

        return ShippedFile(folder / artifact.runtime.entry)

    def composition(self, artifact: Artifact, folder: Path) -> Composition:
        """The nodes of the shipped file."""
        from targets._onnx.composition import composition

        return composition(artifact, folder)


target = _Cloud()
