"""From the source model to the artifact: emit, optimise, write, load back, run, describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx

from manifests.digests import digest_file
from manifests.manifest import (
    FileSection,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    TensorSection,
)
from targets._source.model import read_source
from targets._source.refusal import UnsupportedError
from targets._target import Artifact, TargetError
from targets.coreml._lowering import lower
from targets.coreml._package import PACKAGE, RELEASES, read_specification, write_package
from targets.coreml._passes import optimise
from targets.coreml._registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from manifests.section import DType
    from targets._target import Finding
    from targets.coreml import Options
    from targets.coreml._lowering import Feature, Lowered

_ENTRY = f"{PACKAGE}/Manifest.json"
_MEDIA_TYPES = {".json": "application/json", ".mlmodel": "application/vnd.apple.coreml.mlmodel"}
_PARITY = {"float32": 1e-4, "float16": 2e-2}
_TOLERANCE = {"float32": (1e-3, 1e-5), "float16": (2e-2, 5e-3)}
"""What another machine's kernels may differ by from the evaluator, on the same file: (rtol, atol)."""


def findings(model: onnx.ModelProto, options: Options) -> list[Finding]:
    """Every node that can't be expressed."""
    return lowered_model(model, options).findings


def convert(model: Path, options: Options, out: Path) -> Artifact:
    """The artifact of a model file, written below `out`."""
    source = onnx.load(model)
    lowered = lowered_model(source, options)
    if lowered.findings:
        raise _refusal(lowered.findings)
    write_model(lowered, options, out)
    return _described(lowered, options, out)


def lowered_model(model: onnx.ModelProto, options: Options) -> Lowered:
    """The MIL program of a model, or what stands against it.

    Raises:
        TargetError: an input has no fixed shape, or a type or rank that Core ML has not.
    """
    source = read_source(model, REGISTRY.served())
    if source.free:
        raise TargetError(
            "coreml.shape",
            f"the shape of input '{source.free[0]}' is not fixed",
            hint="give its free dimensions a value, such as targets.coreml.batch",
        )
    try:
        return lower(source, options.minimum)
    except UnsupportedError as error:
        raise TargetError("coreml.border", str(error), hint=error.hint) from error


def write_model(lowered: Lowered, options: Options, out: Path) -> Path:
    """The package of a program that was lowered without findings."""
    optimise(lowered.program, half=_half(lowered, options) if options.precision == "float16" else None)
    return write_package(lowered, options.minimum, out)


def _half(lowered: Lowered, options: Options) -> Callable[[Any], bool]:
    """Whether an operation may be computed in float16: unless its node, or its operator, is named as an exception."""
    exceptions = set(options.float32_ops)

    def may(operation: Any) -> bool:  # noqa: ANN401 - a MIL operation
        node = lowered.origins.get(operation.name, "")
        return node not in exceptions and operation.op_type not in exceptions

    return may


def _refusal(found: list[Finding]) -> TargetError:
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return TargetError(
        "coreml.operators",
        f"node '{first.node}' ({first.operator}) can't be expressed{more}: {first.reason}",
        hint=first.hint or "pack plan lists every such node",
    )


def _described(lowered: Lowered, options: Options, out: Path) -> Artifact:
    files = tuple(_files(out))
    size = sum(entry.size for entry in files)
    operations = _operations(out)
    return Artifact(
        files=files,
        signature=SignatureSection(inputs=tuple(_tensors(lowered.inputs)), outputs=tuple(_tensors(lowered.outputs))),
        runtime=RuntimeSection(
            kind="coreml",
            minimum=options.minimum,
            entry=_ENTRY,
            ir_version=RELEASES[options.minimum],
            operators=operations,
        ),
        resources=ResourcesSection(disk_bytes=size),
        quantization=QuantizationSection(scheme="float16" if options.precision == "float16" else "none"),
        golden_tolerance=_TOLERANCE[options.precision],
        parity_limit=_PARITY[options.precision],
        notes=lowered.notes,
    )


def _files(out: Path) -> Iterable[FileSection]:
    for path in sorted((out / PACKAGE).rglob("*")):
        if path.is_file():
            yield FileSection(
                path=path.relative_to(out).as_posix(),
                role="weights" if path.suffix == ".bin" else "model",
                digest=digest_file(path),
                size=path.stat().st_size,
                media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
            )


def _tensors(features: Iterable[Feature]) -> Iterable[TensorSection]:
    for feature in features:
        yield TensorSection(name=feature.source, dtype=cast("DType", np.dtype(feature.dtype).name), shape=feature.shape)


def _operations(out: Path) -> tuple[str, ...]:
    """The operations of the shipped file, read from it."""
    program = read_specification(out / PACKAGE).mlProgram
    blocks = [block for function in program.functions.values() for block in function.block_specializations.values()]
    found: set[str] = set()
    while blocks:
        block = blocks.pop()
        for operation in block.operations:
            found.add(operation.type)
            blocks.extend(operation.blocks)
    return tuple(sorted(found - {"const"}))
