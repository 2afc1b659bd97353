"""Core ML programs for Apple's devices: ONNX to MIL by a frontend of our own, written and evaluated on any machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

import msgspec

from targets._target import Needs, Toolchain

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

    from targets._composition import Composition
    from targets._target import Arrays, Artifact, Finding, Runner

Minimum = Literal["ios15", "ios16", "ios17", "ios18", "macos12", "macos13", "macos14", "macos15"]
_SAME = {"macos12": "ios15", "macos13": "ios16", "macos14": "ios17", "macos15": "ios18"}
"""The release of iOS that has the Core ML of one of macOS."""
Precision = Literal["float16", "float32"]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.coreml]`` of ``pack.toml``."""

    minimum: Minimum = "ios17"
    """The oldest release that runs the model; macOS 12, 13, 14 and 15 have the Core ML of iOS 15, 16, 17 and 18."""
    precision: Precision = "float16"
    """What is computed in, and what weights are stored in; the Neural Engine takes float16 alone."""
    float32_ops: tuple[str, ...] = ()
    """Exceptions from float16 beside those that are found: names of nodes in the source model, or of MIL operations."""
    compress: str = "none"
    """How weights are stored: ``none``, ``int8``, ``palettize-8``, ``-6`` or ``-4``, ``prune-N`` with N percent of them
    zero, or ``auto``: each by the smallest of these that keeps the whole within `compress_limit`. From iOS 16 on."""
    compress_limit: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """What compression may move an output by: root mean square of the difference, over that of the output."""
    batch: int = 1
    """The value of each dimension that the model leaves free and `dimensions` does not name."""
    dimensions: dict[str, int | str] = {}
    """By name, for dimensions that the model leaves free: a size, a range as ``"1..8"`` or choices as ``"1, 2, 4"``;
    the name ``*`` stands for all others."""
    functions: dict[str, dict[str, int]] = {}
    """Functions of their own in one package, by name: the sizes that each gives to free dimensions. They share all
    weights, and the first is the default; from iOS 18 on."""
    states: dict[str, str] = {}
    """Inputs that the model remembers from call to call, each with the output that it is next; from iOS 18 on."""
    images: bool = False
    """Whether inputs that the pipeline declares as pictures become image inputs, which take pixels from 0 to 255."""
    classifier: bool = False
    """Whether an output that the pipeline gives labels to becomes a classifier's: the label, and a score for each."""


def _released(options: msgspec.Struct) -> Options:
    """The options with a release of iOS, for whichever system the minimum was given."""
    own = cast("Options", options)
    return msgspec.structs.replace(own, minimum=_SAME.get(own.minimum, own.minimum))


class _CoreML:
    name = "coreml"
    summary = "Core ML programs for iOS and macOS, in float16 or float32"
    toolchain = Toolchain(distributions=("coremltools", "numpy", "onnx"), extra="coreml")
    Options = Options

    def needs(self, options: msgspec.Struct) -> Needs:
        """Fixed shapes unless some dimension stays free; classical models and fused operators as plain ones."""
        from targets.coreml._dimensions import is_flexible

        own = cast("Options", options)
        fixed = not own.functions and not is_flexible(own.dimensions)
        return Needs(opset=(7, 28), ir_version=14, static_shapes=fixed, ml_operators=False, fused=False)

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """The sizes that the options give; every other free dimension is taken to be the batch."""
        from targets.coreml._dimensions import usual

        own = cast("Options", options)
        first = next(iter(own.functions.values()), {})
        return {"*": own.batch} | usual(own.dimensions) | first

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node that MIL can't express for the release, found by emitting the program."""
        from targets.coreml._convert import findings

        return findings(model, _released(options))

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write ``model.mlpackage``: loaded back and evaluated once before it is believed.

        Raises:
            TargetError: a node can't be expressed (``coreml.operators``), an option for a free dimension can't be read
                (``coreml.dimensions``), an input or output is of a kind that Core ML has not (``coreml.border``), or
                weights can't be stored as asked for within the limit (``coreml.compress``).
        """
        from targets.coreml._convert import convert

        return convert(model, _released(options), calibration, out)

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped package, evaluated operation by operation on this host."""
        from targets.coreml._shipped import ShippedPackage

        return ShippedPackage((folder / artifact.runtime.entry).parent, artifact.signature)

    def composition(self, artifact: Artifact, folder: Path) -> Composition:
        """The package's operations, and which of them the Neural Engine is known not to take."""
        from targets.coreml._composition import composition

        return composition((folder / artifact.runtime.entry).parent)


target = _CoreML()
