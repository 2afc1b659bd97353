"""onnxruntime's Model Package: variants of one model, of which onnxruntime picks the one for its execution provider.

Source: the format that onnxruntime documents beside its `model_package` library, schema version 1.0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from manifests.digests import digest_file
from manifests.manifest import FileSection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from targets._target import Artifact

FOLDER = "model.ortpackage"
_SCHEMA = "1.0"
_COMPONENT = "model"
CPU = "CPUExecutionProvider"
DEVICES = {
    CPU: "cpu",
    "CUDAExecutionProvider": "gpu",
    "DmlExecutionProvider": "gpu",
    "MIGraphXExecutionProvider": "gpu",
    "NvTensorRTRTXExecutionProvider": "gpu",
    "OpenVINOExecutionProvider": "",
    "TensorrtExecutionProvider": "gpu",
    "WebGpuExecutionProvider": "gpu",
}
"""The kind of device of each execution provider that takes a portable ONNX file; empty: several kinds."""


class Variant(NamedTuple):
    """One file of a package."""

    provider: str
    """A key of `DEVICES`."""
    model: Path
    scheme: str

    @property
    def name(self) -> str:
        """That of its folder, such as ``cuda``."""
        return self.provider.removesuffix("ExecutionProvider").lower()


def write_package(artifact: Artifact, variants: Sequence[Variant], out: Path) -> Artifact:
    """The artifact with its file moved into a package below `out`, beside the other variants.

    The first of `variants` is the artifact's own file, which its runtime goes on opening by path. Every file of a
    variant is moved.
    """
    component = out / FOLDER / _COMPONENT
    entries: dict[str, object] = {}
    files: list[FileSection] = []
    for variant in variants:
        place = component / variant.name / "model.onnx"
        place.parent.mkdir(parents=True)
        variant.model.rename(place)
        files.append(_file(place, out, "model" if variant is variants[0] else "other", artifact.files[0].media_type))
        body = {
            "variant_directory": variant.name,
            "ep": variant.provider,
            "device": DEVICES[variant.provider],
            "executor_info": {"ort": {"model_file": place.name}},
            "additional_metadata": {"precision": variant.scheme},
        }
        entries[variant.name] = {name: value for name, value in body.items() if value}
    _write(component / "component.json", {"component_name": _COMPONENT, "variants": entries})
    _write(
        out / FOLDER / "manifest.json",
        {
            "schema_version": _SCHEMA,
            "layout": "portable",
            "components": {_COMPONENT: _COMPONENT},
            "additional_metadata": {"producer": {"tool": "packtrain"}},
        },
    )
    files += [
        _file(path, out, "other", "application/json")
        for path in (component / "component.json", out / FOLDER / "manifest.json")
    ]
    return msgspec.structs.replace(
        artifact,
        files=tuple(files),
        runtime=msgspec.structs.replace(artifact.runtime, entry=files[0].path),
        resources=msgspec.structs.replace(artifact.resources, disk_bytes=sum(entry.size for entry in files)),
    )


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _file(path: Path, out: Path, role: str, media_type: str) -> FileSection:
    return msgspec.convert(
        {
            "path": path.relative_to(out).as_posix(),
            "role": role,
            "digest": digest_file(path),
            "size": path.stat().st_size,
            "media_type": media_type,
        },
        FileSection,
    )
