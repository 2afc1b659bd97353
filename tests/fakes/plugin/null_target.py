"""A target without hardware: it ships the ONNX file as it is and runs it by onnx's reference implementation.

Its options ask for every way in which a converter can go wrong. It is installed as third parties install theirs: by an
entry point of the distribution beside this file.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from manifests.digests import digest_bytes, digest_file
from manifests.manifest import FileSection, QuantizationSection, ResourcesSection, RuntimeSection
from targets._target import Artifact, Finding, Needs, TargetError, Toolchain

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from targets._target import Arrays, Fidelity, Runner

Fault = Literal["none", "crash", "traceback", "refuse", "hang", "wrong", "nan", "restless", "unlisted", "mislabelled"]


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.null]`` of ``pack.toml``."""

    fault: Fault = "none"
    colour: str = "white"
    """Changes nothing but the cache key."""


class _Reference:
    """onnx's own evaluator of the shipped file."""

    fidelity: Fidelity = "emulated"

    def __init__(self, path: Path, fault: Fault) -> None:
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(str(path))
        self._fault = fault
        self._calls = 0

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        self._calls += 1
        values = self._evaluator.run(None, dict(inputs))
        outputs = dict(zip(self._evaluator.output_names, values, strict=True))
        if self._fault == "wrong":
            return {name: value + value.dtype.type(1) for name, value in outputs.items()}
        if self._fault == "nan":
            return {name: value * value.dtype.type("nan") for name, value in outputs.items()}
        if self._fault == "restless":
            return {name: value * value.dtype.type(1 + 1e-6 * self._calls) for name, value in outputs.items()}
        return outputs

    def close(self) -> None:
        del self._evaluator


class NullTarget:
    name = "null"
    summary = "nothing: for tests"
    toolchain = Toolchain(distributions=("onnx", "numpy"), extra="pack")
    Options = Options

    def needs(self, options: msgspec.Struct) -> Needs:
        del options
        return Needs(opset=(13, 23), ir_version=11)

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        del options
        return {}

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        del options
        refused = {"Sin", "Cos"}
        return [
            Finding(node=node.name, operator=node.op_type, reason="no trigonometry here", hint="use a table")
            for node in model.graph.node
            if node.op_type in refused
        ]

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        import onnx

        from packager.signatures import model_signature

        fault = cast("Options", options).fault
        _misbehave(fault)
        target = out / "model.onnx"
        shutil.copyfile(model, target)
        (out / "fault.txt").write_text(fault)
        if fault == "unlisted":
            (out / "leftover").write_bytes(b"")
        samples = len(next(iter(calibration.values()))) if calibration else 0
        return Artifact(
            files=tuple(_file(path, fault) for path in (target, out / "fault.txt")),
            signature=model_signature(onnx.load(model)),
            runtime=RuntimeSection(kind="null", minimum="1.0", entry="model.onnx"),
            resources=ResourcesSection(disk_bytes=target.stat().st_size),
            quantization=QuantizationSection(calibration_samples=samples),
            notes=("this runs nowhere",),
        )

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        return _Reference(folder / artifact.runtime.entry, cast("Fault", (folder / "fault.txt").read_text()))


class StaticTarget(NullTarget):
    name = "null-static"

    def needs(self, options: msgspec.Struct) -> Needs:
        del options
        return Needs(opset=(13, 18), ir_version=8, static_shapes=True, ml_operators=False)

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        del options
        return {"*": 1}


def _misbehave(fault: Fault) -> None:
    if fault == "crash":
        sys.stderr.write("the converter's last words\n")
        sys.stderr.flush()
        os.abort()
    if fault == "traceback":
        raise ZeroDivisionError("the converter divides by nought")
    if fault == "refuse":
        raise TargetError("null.refused", "null refuses this model", hint="ask for something else")
    if fault == "hang":
        time.sleep(600)


def _file(path: Path, fault: Fault) -> FileSection:
    wrong = fault == "mislabelled" and path.suffix == ".onnx"
    return FileSection(
        path=path.name,
        role="model" if path.suffix == ".onnx" else "other",
        digest=digest_bytes(b"") if wrong else digest_file(path),
        size=path.stat().st_size,
        media_type="application/octet-stream",
    )


target = NullTarget()
static_target = StaticTarget()
