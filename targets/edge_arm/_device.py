"""What a variant of the target means: which devices, which runtime, which further files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.manifest import HardwareSection, ResourcesSection
from targets.edge_arm._microcontroller import (
    arena,
    check_scheme,
    compiled_size,
    missing_kernels,
    write_sources,
)
from targets.edge_arm._resources import contents, delegated

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.manifest import FileSection
    from targets._target import Artifact, Finding
    from targets.edge_arm import Options
    from targets.edge_arm._graph import Graph


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
    """The artifact with its device's runtime, hardware and memory, and notes on what was found in the file."""
    device = _DEVICES[options.device]
    path = folder / artifact.runtime.entry
    data = path.read_bytes()
    found = contents(data)
    notes = [f"{len(found.operators)} operations, {found.transposes} of them transposes"]
    if options.device == "mcu":
        memory = arena(data)
        notes.append(f"arena to begin with: {memory} bytes")
        size = compiled_size(folder)
        if size is not None:
            notes.append(f"compiled for a Cortex-M4: {size} bytes of read-only memory")
    else:
        memory = found.arena + len(data)
        taken, count = delegated(path)
        notes.append(f"XNNPACK runs {taken} of {count}; tensors take {found.arena} bytes at their most")
    return msgspec.structs.replace(
        artifact,
        runtime=msgspec.structs.replace(artifact.runtime, kind=device.runtime, minimum=device.minimum),
        hardware=HardwareSection(architectures=device.architectures),
        resources=ResourcesSection(
            disk_bytes=artifact.resources.disk_bytes, memory_bytes=memory, macs=artifact.resources.macs
        ),
        notes=(*artifact.notes, *notes),
    )
