"""From the source model to the artifact: emit, quantize, load back, describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from agent.runtimes.litert import open_model
from manifests.digests import digest_file
from manifests.manifest import (
    FileSection,
    ResourcesSection,
    RuntimeSection,
)
from targets._source.model import read_source
from targets._target import Artifact, TargetError, native_file
from targets.edge_arm._batch import SIZES, bound_batch, check_scheme, open_batch, with_free_batch
from targets.edge_arm._card import card, picture
from targets.edge_arm._choice import choose
from targets.edge_arm._device import device_findings, for_device, with_composites, write_device_files
from targets.edge_arm._interface import interface_of, moved_arrays, with_layouts
from targets.edge_arm._lowering import lower
from targets.edge_arm._native import ship
from targets.edge_arm._registry import REGISTRY
from targets.edge_arm._signature import stored_signature
from targets.edge_arm._slopes import join_slopes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifests.manifest import SignatureSection, TensorSection
    from targets._source.model import Source
    from targets._target import Arrays, Finding
    from targets.edge_arm import Options
    from targets.edge_arm._choice import Choice
    from targets.edge_arm._lowering import Lowered

_ENTRY = "model.tflite"
_CARD, _PICTURE = "card.md", "layers.svg"


def findings(model: onnx.ModelProto, options: Options) -> list[Finding]:
    """Every node that can't be expressed, or that the device's runtime has no kernel for."""
    fixed = _fixed(bound_batch(model, SIZES[0]) if options.batch == "free" else model)
    lowered = lower(with_composites(fixed, options))
    return lowered.findings or device_findings(lowered.graph, options)


def convert(model: Path, options: Options, calibration: Arrays | None, out: Path) -> Artifact:
    """The artifact of a model file, written below `out`."""
    loaded = onnx.load(model)
    native = native_file(loaded)
    if native is not None:
        return ship(native[1], options, out)
    lowered = _free_lowered(loaded, options) if options.batch == "free" else _lowered(loaded, options)
    given = moved_arrays(calibration, lowered)
    if options.quantize in {"none", "float16"}:
        join_slopes(lowered.graph)
    choice = choose(lowered.graph, options, given)
    path = out / _ENTRY
    path.write_bytes(choice.made.data)
    signature = with_layouts(stored_signature(choice.made.data, lowered.graph, choice.scheme), lowered)
    if options.batch == "free":
        signature = with_free_batch(signature, lowered.graph)
    for batch in (1, 3) if options.batch == "free" else (1,):
        _proven(path, signature, batch)
    further = write_device_files(choice.made.data, options, out)
    artifact = for_device(_described(path, lowered, signature, choice), options, out)
    (out / _CARD).write_text(card(choice, artifact, _PICTURE))
    if choice.layers:
        (out / _PICTURE).write_text(picture(choice.layers))
    return msgspec.structs.replace(artifact, files=(*_files(out), *further))


def _lowered(model: onnx.ModelProto, options: Options) -> Lowered:
    source = with_composites(_fixed(model), options)
    lowered = lower(source, interface_of(source, options, lower))
    found = lowered.findings or device_findings(lowered.graph, options)
    if found:
        raise _refusal(found)
    return lowered


def _free_lowered(model: onnx.ModelProto, options: Options) -> Lowered:
    """The graph for any batch."""
    check_scheme(options.quantize, options.state)
    lowered, other = (_lowered(bound_batch(model, size), options) for size in SIZES)
    open_batch(lowered.graph, other.graph)
    return lowered


def _fixed(model: onnx.ModelProto) -> Source:
    source = read_source(model, REGISTRY.served())
    if source.free:
        raise TargetError(
            "edge-arm.shape",
            f"the shape of input '{next(iter(source.free))}' is not fixed",
            hint="give its free dimensions a value, such as targets.edge-arm.batch",
        )
    return source


def _refusal(found: list[Finding]) -> TargetError:
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return TargetError(
        "edge-arm.operators",
        f"node '{first.node}' ({first.operator}) can't be expressed{more}: {first.reason}",
        hint=first.hint or "pack plan lists every such node",
    )


def _proven(path: Path, signature: SignatureSection, batch: int = 1) -> None:
    """Load the file back and run it: a converter's word proves nothing."""
    try:
        runtime = open_model(path, threads=1)
        results = runtime.run({entry.name: np.zeros(_sizes(entry, batch), entry.dtype) for entry in signature.inputs})
    except (RuntimeError, ValueError) as error:
        raise TargetError(
            "edge-arm.load",
            f"LiteRT does not run what was made: {error}",
            hint="try another value of targets.edge-arm.quantize, and report the model",
        ) from error
    runtime.close()
    for entry in signature.outputs:
        got = results[entry.name]
        if got.shape != _sizes(entry, batch) or got.dtype != entry.dtype:
            raise TargetError(
                "edge-arm.load",
                f"output '{entry.name}' of what was made does not match: expected {entry.dtype}{list(entry.shape)}, "
                f"got {got.dtype}{list(got.shape)}",
            )


def _sizes(entry: TensorSection, batch: int) -> tuple[int, ...]:
    """The shape for a batch."""
    return tuple(
        size if isinstance(size, int) else int(size.partition("*")[0] if "*" in size else 1) * batch
        for size in entry.shape
    )


def _described(path: Path, lowered: Lowered, signature: SignatureSection, choice: Choice) -> Artifact:
    measure, limit = choice.parity
    return Artifact(
        files=(),
        signature=signature,
        runtime=RuntimeSection(kind="litert", minimum="", entry=_ENTRY, operators=_operators(path)),
        resources=ResourcesSection(disk_bytes=path.stat().st_size, macs=lowered.macs),
        quantization=choice.section,
        golden_tolerance=choice.tolerance,
        parity_limit=limit,
        parity_measure=measure,
        worst_layer=choice.worst_layer,
        notes=(*lowered.notes, *choice.notes),
    )


def _files(out: Path) -> Iterator[FileSection]:
    """The model first, then the card, and its picture where there is one."""
    kinds = {_ENTRY: "application/vnd.tensorflow.lite", _CARD: "text/markdown", _PICTURE: "image/svg+xml"}
    for name, media_type in kinds.items():
        path = out / name
        if path.exists():
            role: Literal["model", "other"] = "model" if name == _ENTRY else "other"
            size = path.stat().st_size
            yield FileSection(path=name, role=role, digest=digest_file(path), size=size, media_type=media_type)


def _operators(path: Path) -> tuple[str, ...]:
    """The operators of the shipped file, read from it: a quantizer may have added some."""
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    return tuple(sorted({names[code.builtinCode] for code in model.operatorCodes}))
