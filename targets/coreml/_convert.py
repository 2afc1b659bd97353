"""From the source model to the artifact: emit, optimise, write, load back, run, describe."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
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
from targets.coreml._border import SCORES, Wishes
from targets.coreml._compression import check, compress, compressed
from targets.coreml._dimensions import bound, freedoms
from targets.coreml._lowering import lower
from targets.coreml._package import PACKAGE, RELEASES, read_specification, write_package
from targets.coreml._passes import optimise
from targets.coreml._pictures import labels, pictures
from targets.coreml._precision import diverging, error, exact, samples, too_large, upstream
from targets.coreml._registry import REGISTRY
from targets.coreml.evaluator import load_program

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from manifests.section import DType
    from targets._source.model import Source
    from targets._target import Arrays, Finding
    from targets.coreml import Options, Precision
    from targets.coreml._border import Feature
    from targets.coreml._lowering import Lowered
    from targets.coreml.evaluator import Program

_ENTRY = f"{PACKAGE}/Manifest.json"
_MEDIA_TYPES = {".json": "application/json", ".mlmodel": "application/vnd.apple.coreml.mlmodel"}
_TURNS = 4
"""How often exceptions from float16 are looked for."""
_LISTED = 5
_PARITY: dict[str, tuple[Literal["max", "rms"], float]] = {"float32": ("max", 1e-4), "float16": ("rms", 2e-2)}
"""Measure and default limit of the parity gate: of rounded values one near a border may move far."""
_TOLERANCE = {"float32": (1e-3, 1e-5), "float16": (2e-2, 5e-3)}
"""What another machine's kernels may differ by from the evaluator, on the same file: (rtol, atol)."""


def findings(model: onnx.ModelProto, options: Options) -> list[Finding]:
    """Every node that can't be expressed."""
    return lowered_model(model, options).findings


def convert(model: Path, options: Options, calibration: Arrays | None, out: Path) -> Artifact:
    """The artifact of a model file, written below `out`."""
    check(options.compress, options.minimum)
    source = onnx.load(model)
    lowered = lowered_model(source, options)
    if lowered.findings:
        raise _refusal(lowered.findings)
    defaults = {name: each.default for name, each in freedoms(lowered.inputs, options.dimensions).items()}
    calls = samples([feature for feature in lowered.inputs if not feature.is_state], defaults, calibration)
    exceptions: frozenset[str] = frozenset()
    if options.precision == "float32":
        program = load_program(write_model(lowered, options, out))
    else:
        program, exceptions = _in_half(source, lowered, options, out, calls)

    def build(methods: str | Mapping[str, str]) -> Program:
        shutil.rmtree(out / PACKAGE)
        return load_program(write_model(lowered_model(source, options), options, out, exceptions, methods))

    error = 0.0
    if options.compress != "none":
        program, error = compressed(program, build, options.compress, calls, options.compress_limit)
    _prove(lowered, program, program.predict(calls[0]))
    artifact = _described(lowered, options, out, exceptions)
    return _with_compression(artifact, options, error) if options.compress != "none" else artifact


def _in_half(
    source: onnx.ModelProto, lowered: Lowered, options: Options, out: Path, calls: list[dict[str, NDArray[np.generic]]]
) -> tuple[Program, frozenset[str]]:
    """The program with all in float16 that can be, and the operations that can't."""
    plain = options_with(options, "float32")
    with tempfile.TemporaryDirectory() as name:
        program = load_program(write_model(lowered, plain, Path(name)))
    found = exact(program, calls)
    exceptions, blamed = too_large(program, found), set[str]()
    for turn in range(_TURNS):
        lowered = lowered_model(source, options)
        half = load_program(write_model(lowered, options, out, exceptions))
        if turn == _TURNS - 1 or error(found, half) < _PARITY["float16"][1] / 2:
            break
        worse = diverging(found, half) - exceptions
        # What makes an error grow though it is in float32 itself needs its inputs so as well.
        worse = worse or upstream(program, blamed) - exceptions
        if not worse:
            break
        blamed |= worse
        exceptions |= worse
        shutil.rmtree(out / PACKAGE)
    return half, frozenset(exceptions)


def _with_compression(artifact: Artifact, options: Options, error: float) -> Artifact:
    measure, limit = artifact.parity_measure, artifact.parity_limit
    return msgspec.structs.replace(
        artifact,
        quantization=QuantizationSection(scheme=options.compress),
        parity_measure="rms",
        parity_limit=options.compress_limit + (limit if measure == "rms" else 0.0),
        notes=(*artifact.notes, f"weights stored by {options.compress} move an output by {error:.2%}"),
    )


def options_with(options: Options, precision: Precision) -> Options:
    """The same options in another precision."""
    return msgspec.structs.replace(options, precision=precision)


def _prove(lowered: Lowered, program: Program, results: Mapping[str, NDArray[np.generic]]) -> None:
    """Hold what the package gives, loaded back, to what it is said to give: a converter's word proves nothing."""
    if [each.name for each in program.inputs] != [each.name for each in lowered.inputs if not each.is_state]:
        raise TargetError("coreml.load", "the package's inputs are not the model's")
    for feature in lowered.outputs:
        if feature.is_state:
            continue
        got = results[feature.name]
        if feature.name == SCORES:
            got = got.reshape(feature.sizes({})).astype(feature.dtype)  # a dictionary has numbers of its own
        fits = len(got.shape) == len(feature.shape) and all(
            isinstance(want, str) or have == want for have, want in zip(got.shape, feature.shape, strict=True)
        )
        if not fits or got.dtype != feature.dtype:
            raise TargetError(
                "coreml.load",
                f"output '{feature.source}' of what was made does not match: expected "
                f"{feature.dtype}{list(feature.shape)}, got {got.dtype}{list(got.shape)}",
            )


def lowered_model(model: onnx.ModelProto, options: Options) -> Lowered:
    """The MIL program of a model, or what stands against it.

    Raises:
        TargetError: an input has a type or rank that Core ML has not, or the options for its shape can't be read.
    """
    source = read_source(bound(model, options.dimensions, options.batch), REGISTRY.served())
    try:
        seen = pictures(model) if options.images else {}
        named = labels(model) if options.classifier else None
        return lower(source, options.minimum, Wishes(seen, named, checked_states(source, options)))
    except UnsupportedError as error:
        raise TargetError("coreml.border", str(error), hint=error.hint) from error


def checked_states(source: Source, options: Options) -> dict[str, str]:
    """The inputs that become states, each with its output.

    Raises:
        TargetError: the release has no states, or the model no such input or output.
    """
    if options.states and options.minimum != "ios18":
        raise TargetError(
            "coreml.states", f"{options.minimum} has no states", hint='set targets.coreml.minimum = "ios18"'
        )
    for name, output in options.states.items():
        if name not in source.inputs or output not in source.outputs:
            raise TargetError("coreml.states", f"the model has no input '{name}' with an output '{output}'")
    return options.states


def write_model(
    lowered: Lowered,
    options: Options,
    out: Path,
    exceptions: Collection[str] = (),
    methods: str | Mapping[str, str] = "none",
) -> Path:
    """The package of a program that was lowered without findings.

    `exceptions` are operations kept in float32; `methods` say how all weights are stored, or each by its name.
    """
    half = _half(lowered, options, exceptions) if options.precision == "float16" else None
    optimise(lowered.program, half=half)
    compress(lowered.program, methods)
    return write_package(lowered, options.minimum, freedoms(lowered.inputs, options.dimensions), out)


def _half(lowered: Lowered, options: Options, exceptions: Collection[str]) -> Callable[[Any], bool]:
    """Whether an operation may be computed in float16: unless it, its node, or its operator is an exception."""
    named = set(options.float32_ops)

    def may(operation: Any) -> bool:  # noqa: ANN401 - a MIL operation
        node = lowered.origins.get(operation.name, "")
        return not named & {node, operation.op_type} and operation.name not in exceptions

    return may


def _refusal(found: list[Finding]) -> TargetError:
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return TargetError(
        "coreml.operators",
        f"node '{first.node}' ({first.operator}) can't be expressed{more}: {first.reason}",
        hint=first.hint or "pack plan lists every such node",
    )


def _described(lowered: Lowered, options: Options, out: Path, exceptions: frozenset[str]) -> Artifact:
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
        parity_limit=_PARITY[options.precision][1],
        parity_measure=_PARITY[options.precision][0],
        notes=(*lowered.notes, *_exception_notes(lowered, exceptions)),
    )


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
