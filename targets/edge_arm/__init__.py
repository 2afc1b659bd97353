"""TFLite for LiteRT on Arm: an emitter of our own, without TensorFlow, and quantization with calibration data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, cast

import msgspec

from targets._target import Needs, Toolchain, native_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime
    from targets._target import Arrays, Artifact, Fidelity, Finding, Runner

Quantize = Literal["none", "float16", "dynamic-int8", "int8", "int8-io", "int16x8", "int4-weights", "auto"]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.edge-arm]`` of ``pack.toml``."""

    quantize: Quantize = "none"
    """``float16``, ``int4-weights``: weights; ``dynamic-int8``: weights, and activations while it runs; ``int8``:
    everything between inputs and outputs, which stay float32; ``int8-io``: those too; ``int16x8``: as ``int8``, with
    activations in int16; ``auto``: what `optimize` asks for within `auto_error` and `auto_drop`. The last four need
    calibration data."""
    optimize: Literal["size", "latency"] = "size"
    """Under ``auto``: the smallest file, or the one that is estimated to be the fastest."""
    auto_error: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    """Under ``auto``: the largest error of an output on calibration samples, root mean square over that of the output;
    the parity gate's default limit, too."""
    auto_drop: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    """Under ``auto``: the largest share of calibration samples whose class may change, where an output holds the
    probabilities of classes."""
    batch: int | Literal["free"] = 1
    """The value of each dimension that the model leaves free; ``free``: the first axis of its inputs stays so."""
    device: Literal["any", "arm64", "armv7", "mcu"] = "any"
    """``mcu``: a microcontroller with TensorFlow Lite Micro, whose operators alone are taken; the bundle holds a C
    array and its header too."""
    io_layout: Literal["source", "nhwc"] = "source"
    """``nhwc``: pictures go in, and maps come out, channels last, whatever the source has."""
    state: Literal["inputs", "variables"] = "inputs"
    """``variables``: the file keeps the model's state from call to call, until it is reset."""
    state_pairs: dict[str, str] = {}
    """For ``variables``: each input that is state, and the output that is its next value."""


class Arm64Options(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.edge-arm64]``: the device is a 64-bit Arm computer."""

    device: Literal["arm64"] = "arm64"


class Armv7Options(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.edge-armv7]``: the device is a 32-bit Arm computer."""

    device: Literal["armv7"] = "armv7"


class MicrocontrollerOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.edge-mcu]``: the device is a microcontroller."""

    device: Literal["mcu"] = "mcu"


class _ShippedFile:
    """The artifact's own file in LiteRT; each call starts from the state that a sequence starts from."""

    def __init__(self, runtime: Runtime, fidelity: Fidelity) -> None:
        self._runtime = runtime
        self.fidelity: Fidelity = fidelity

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        self._runtime.reset()
        return self._runtime.run(inputs)

    def close(self) -> None:
        self._runtime.close()


class _TFLite:
    """What the variants have in common: all but name and options."""

    toolchain = Toolchain(
        distributions=("ai-edge-litert", "ai-edge-quantizer", "flatbuffers", "numpy", "onnx"), extra="tflite"
    )

    def needs(self, options: msgspec.Struct) -> Needs:
        """Tensor operators with shapes that are numbers, but for a free batch."""
        return Needs(
            opset=(7, 28),
            ir_version=14,
            static_shapes=cast("Options", options).batch != "free",
            ml_operators=False,
            fused=False,
            formats=("tflite",),
        )

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """Every free dimension is taken to be the batch."""
        batch = cast("Options", options).batch
        return {} if batch == "free" else {"*": batch}

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node that TFLite's builtin operators can't express, found by emitting the graph."""
        from targets.edge_arm._convert import findings

        if native_file(model) is not None:
            return []
        return findings(model, cast("Options", options))

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write ``model.tflite``: loaded back and run once before it is believed.

        Raises:
            TargetError: a node can't be expressed (``edge-arm.operators``), the shapes are not fixed
                (``edge-arm.shape``), calibration data is missing or does not fit (``edge-arm.calibration``), or what
                was made does not run (``edge-arm.load``).
        """
        from targets.edge_arm._convert import convert

        return convert(model, cast("Options", options), calibration, out)

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped file, opened by the runtime that devices use; LiteRT stands in for TensorFlow Lite Micro."""
        from agent.runtimes.litert import open_model

        opened = open_model(folder / artifact.runtime.entry, threads=1)
        return _ShippedFile(opened, "runtime" if artifact.runtime.kind == "litert" else "emulated")


class _EdgeArm(_TFLite):
    name = "edge-arm"
    summary = "TFLite for LiteRT on Arm, float or quantized"
    Options = Options


class _EdgeArm64(_TFLite):
    name = "edge-arm64"
    summary = "edge-arm for 64-bit Arm computers alone"
    Options = Arm64Options


class _EdgeArmv7(_TFLite):
    name = "edge-armv7"
    summary = "edge-arm for 32-bit Arm computers alone"
    Options = Armv7Options


class _EdgeMicrocontroller(_TFLite):
    name = "edge-mcu"
    summary = "edge-arm for microcontrollers: TensorFlow Lite Micro's operators, as a C array too"
    Options = MicrocontrollerOptions


target = _EdgeArm()
arm64 = _EdgeArm64()
armv7 = _EdgeArmv7()
mcu = _EdgeMicrocontroller()
