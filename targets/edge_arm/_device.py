"""What a variant of the target means: which devices, which runtime, which further files."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.manifest import HardwareSection, InstructionSets
from targets._source.composites import joined
from targets.edge_arm._microcontroller import (
    MICRO_ALIGNMENT,
    arena,
    check_scheme,
    compiled_size,
    missing_kernels,
    write_sources,
)
from targets.edge_arm._resources import contents, delegated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifests.manifest import FileSection
    from targets._source.model import Source
    from targets._target import Artifact, Finding
    from targets.edge_arm import Options
    from targets.edge_arm._graph import Graph
    from targets.edge_arm._resources import Contents


class _Device(NamedTuple):
    architectures: tuple[str, ...]
    runtime: str
    minimum: str


_DEVICES = {
    "any": _Device(("aarch64", "armv7l", "x86_64"), "litert", "2.0.2"),
    "arm64": _Device(("aarch64",), "litert", "2.0.2"),
    "armv7": _Device(("armv7l",), "litert", "2.0.2"),
    "mcu": _Device(("cortex-m",), "tflite-micro", "0"),
}
"""The oldest LiteRT is the one that was seen to run every operator case; TensorFlow Lite Micro has no releases."""

_ROUNDED = {(data, weights) for data in ("FLOAT32", "INT8") for weights in ("INT4", "INT8")}
"""Products of int8: activations are rounded before, or in the kernel."""


def with_composites(source: Source, options: Options) -> Source:
    """The source with operators put together again, where the device's runtime has kernels for them."""
    return source if options.device == "mcu" else joined(source)


def device_findings(graph: Graph, options: Options) -> list[Finding]:
    """What the device's runtime has no kernel for.

    Raises:
        TargetError: nor for the scheme of quantization (``edge-arm.device``).
    """
    if options.device != "mcu":
        return []
    check_scheme(options)
    return missing_kernels(graph)


def write_device_files(data: bytes, options: Options, out: Path) -> tuple[FileSection, ...]:
    """What the device wants beside the file.

    Raises:
        TargetError: the compiler refuses it (``edge-arm.compile``).
    """
    return write_sources(data, out) if options.device == "mcu" else ()


def for_device(artifact: Artifact, options: Options, folder: Path) -> Artifact:
    """The artifact with its device's runtime, hardware and what the file takes of it."""
    device = _DEVICES[options.device]
    path = folder / artifact.runtime.entry
    data = path.read_bytes()
    found = contents(data, MICRO_ALIGNMENT) if options.device == "mcu" else contents(data)
    notes = []
    resources = msgspec.structs.replace(
        artifact.resources,
        arena_bytes=found.arena,
        operations=dict(sorted(Counter(found.operators).items())),
        transposes=found.transposes,
    )
    if options.device == "mcu":
        resources = msgspec.structs.replace(resources, memory_bytes=arena(data))
        size = compiled_size(folder)
        if size is not None:
            notes.append(f"compiled for a Cortex-M4: {size} bytes of read-only memory")
    else:
        memory = found.arena + len(data)
        resources = msgspec.structs.replace(resources, memory_bytes=memory, delegation=delegated(path))
    return msgspec.structs.replace(
        artifact,
        runtime=msgspec.structs.replace(artifact.runtime, kind=device.runtime, minimum=device.minimum),
        hardware=HardwareSection(
            architectures=device.architectures, instructions=dict(_instructions(device.architectures, found))
        ),
        resources=resources,
        notes=(*artifact.notes, *notes),
    )


def _instructions(architectures: tuple[str, ...], found: Contents) -> Iterator[tuple[str, InstructionSets]]:
    """What the runtime's kernels want of a processor, for what this file multiplies.

    Sources: XNNPACK's `src/configs/gemm-config.c`; `arm_nnsupportfunctions.h` of CMSIS-NN.
    """
    rounded = bool(found.products & _ROUNDED)
    integers = any("INT" in data for data, _ in found.products)
    for name in architectures:
        if name == "aarch64":  # its base has NEON with fused products
            yield name, InstructionSets(required=("neon",), used=("dotprod", "i8mm") if rounded else ())
        elif name == "armv7l":
            yield name, InstructionSets(required=("neon",), used=("vfpv4", "dotprod") if rounded else ("vfpv4",))
        elif name == "cortex-m":
            yield name, InstructionSets(used=("dsp", "mve") if integers else ("fp",))
