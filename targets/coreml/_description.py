"""What the manifest says of a package that was made."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, cast

import msgspec
import numpy as np

from manifests.digests import digest_file
from manifests.manifest import (
    FileSection,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    TensorSection,
)
from targets._target import Artifact
from targets.coreml._dimensions import freedoms
from targets.coreml._package import PACKAGE, RELEASES, read_specification

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import onnx

    from manifests.section import DType
    from targets.coreml import Options
    from targets.coreml._border import Feature
    from targets.coreml._lowering import Lowered

_ENTRY = f"{PACKAGE}/Manifest.json"
_MEDIA_TYPES = {".json": "application/json", ".mlmodel": "application/vnd.apple.coreml.mlmodel"}
_LISTED = 5
PARITY: dict[str, tuple[Literal["max", "rms"], float]] = {"float32": ("max", 1e-4), "float16": ("rms", 2e-2)}
"""Measure and default limit of the parity gate: of rounded values one near a border may move far."""
_TOLERANCE = {"float32": (1e-3, 1e-5), "float16": (2e-2, 5e-3)}
"""What another machine's kernels may differ by from the evaluator, on the same file: (rtol, atol)."""


def described(
    functions: Mapping[str, Lowered],
    model: onnx.ModelProto,
    options: Options,
    out: Path,
    exceptions: frozenset[str],
) -> Artifact:
    """The artifact of the package below `out`, whose functions are those; `exceptions` are computed in float32."""
    files = tuple(_files(out))
    size = sum(entry.size for entry in files)
    operations = _operations(out)
    first = next(iter(functions.values()))
    every = tuple(functions.values())
    inputs = _common([each.inputs for each in every], model.graph.input)
    outputs = _common([each.outputs for each in every], model.graph.output)
    notes = (*first.notes, *_exception_notes(first, exceptions), *_function_notes(functions, options))
    return Artifact(
        files=files,
        signature=SignatureSection(
            inputs=tuple(_tensors(inputs)), outputs=tuple(_tensors(outputs)), maximum=_maximum(inputs, options)
        ),
        runtime=RuntimeSection(
            kind="coreml",
            minimum=options.minimum,
            entry=_ENTRY,
            ir_version=RELEASES[options.minimum],
            operators=tuple(sorted(operations)),
        ),
        resources=ResourcesSection(disk_bytes=size, operations=dict(sorted(operations.items()))),
        quantization=QuantizationSection(scheme="float16" if options.precision == "float16" else "none"),
        golden_tolerance=_TOLERANCE[options.precision],
        parity_limit=PARITY[options.precision][1],
        parity_measure=PARITY[options.precision][0],
        notes=notes,
    )


def with_compression(artifact: Artifact, options: Options, error: float) -> Artifact:
    """The artifact with what compression adds; `error` is how far it moved an output."""
    if options.compress == "none":
        return artifact
    measure, limit = artifact.parity_measure, artifact.parity_limit
    return msgspec.structs.replace(
        artifact,
        quantization=QuantizationSection(scheme=options.compress),
        parity_measure="rms",
        parity_limit=options.compress_limit + (limit if measure == "rms" else 0.0),
        notes=(*artifact.notes, f"weights stored by {options.compress} move an output by {error:.2%}"),
    )


def _common(functions: Sequence[Sequence[Feature]], declared: Iterable[onnx.ValueInfoProto]) -> list[Feature]:
    """The features of the first function; a size that is another one in another function has the model's name."""
    names = {
        entry.name: [
            size.dim_param or f"{entry.name}_{axis}" for axis, size in enumerate(entry.type.tensor_type.shape.dim)
        ]
        for entry in declared
    }
    found = []
    for same in zip(*functions, strict=True):
        first = same[0]
        sizes = [
            size if all(each.shape[axis] == size for each in same) else names[first.source][axis]
            for axis, size in enumerate(first.shape)
        ]
        found.append(first._replace(shape=tuple(sizes)))
    return found


def _maximum(inputs: Sequence[Feature], options: Options) -> dict[str, int]:
    """The largest size of each free dimension of the inputs that has a bound."""
    found = {name: each.most for name, each in freedoms(inputs, options.dimensions).items() if each.most > 0}
    for sizes in options.functions.values():
        for name, size in sizes.items():
            found[name] = max(size, found.get(name, size))
    named = {size for each in inputs for size in each.shape}
    return {name: size for name, size in sorted(found.items()) if name in named}


def _function_notes(functions: Mapping[str, Lowered], options: Options) -> list[str]:
    if len(functions) == 1:
        return []
    default = next(iter(functions))
    given = {name: ", ".join(f"{key} = {size}" for key, size in options.functions[name].items()) for name in functions}
    listed = "; ".join(f"'{name}' for {sizes}" for name, sizes in given.items())
    return [f"functions: {listed}; '{default}' is the default"]


def _exception_notes(lowered: Lowered, exceptions: frozenset[str]) -> list[str]:
    nodes = sorted({lowered.origins.get(name, name) for name in exceptions})
    if not nodes:
        return []
    more = f" and {len(nodes) - _LISTED} more" if len(nodes) > _LISTED else ""
    listed = ", ".join(f"'{node}'" for node in nodes[:_LISTED])
    return [f"computed in float32, since float16 can't hold it: {listed}{more}"]


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
        dtype, shape = feature.stands_for or (feature.dtype, feature.shape)
        yield TensorSection(name=feature.source, dtype=cast("DType", np.dtype(dtype).name), shape=shape)


def _operations(out: Path) -> Counter[str]:
    """How many of each operation the shipped file holds, read from it."""
    program = read_specification(out / PACKAGE).mlProgram
    blocks = [block for function in program.functions.values() for block in function.block_specializations.values()]
    found: Counter[str] = Counter()
    while blocks:
        block = blocks.pop()
        for operation in block.operations:
            found[operation.type] += operation.type != "const"
            blocks.extend(operation.blocks)
    return +found
