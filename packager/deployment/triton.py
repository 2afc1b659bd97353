"""A model repository of Triton Inference Server, for its onnxruntime backend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from packager.errors import ConfigError
from packager.serving.batching import can_join
from packager.serving.tensors import DATATYPES

if TYPE_CHECKING:
    from manifests.manifest import TensorSection
    from packager.deployment.subject import Subject

_BATCH = 64
_LABELS = "labels.txt"


def files(subject: Subject) -> dict[str, bytes]:
    """``NAME/config.pbtxt``, ``NAME/COUNTER/model.onnx``, and the labels of a classifier.

    Raises:
        ConfigError: the bundle is for another runtime.
    """
    manifest = subject.manifest
    if manifest.runtime.kind != "onnxruntime":
        raise ConfigError(
            "deploy.runtime",
            f"Triton serves bundles for onnxruntime: got one for {manifest.runtime.kind}",
            hint="build the target cloud",
        )
    name, task = manifest.bundle.name, manifest.model.task
    written = {
        f"{name}/config.pbtxt": _configuration(subject).encode(),
        f"{name}/{max(manifest.bundle.counter, 1)}/model.onnx": (subject.folder / manifest.runtime.entry).read_bytes(),
    }
    if task.labels:
        written[f"{name}/{_LABELS}"] = "".join(f"{label}\n" for label in task.labels).encode()
    return written


def _configuration(subject: Subject) -> str:
    manifest = subject.manifest
    signature, task = manifest.signature, manifest.model.task
    joins = can_join(signature)
    lines = [
        f"name: {_text(manifest.bundle.name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {_BATCH if joins else 0}",
    ]
    for kind, entries in (("input", signature.inputs), ("output", signature.outputs)):
        for entry in entries:
            lines += [f"{kind} {{", *(f"  {line}" for line in _tensor(entry, joins=joins))]
            if kind == "output" and entry.name == task.output and task.labels:
                lines.append(f"  label_filename: {_text(_LABELS)}")
            lines.append("}")
    if joins:
        lines.append("dynamic_batching { }")
    lines += [
        "instance_group { kind: KIND_CPU }",
        *_parameter("packtrain-bundle", subject.digest),
        *_parameter("packtrain-version", manifest.bundle.version),
    ]
    return "\n".join(lines) + "\n"


def _tensor(entry: TensorSection, *, joins: bool) -> list[str]:
    sizes = entry.shape[1:] if joins else entry.shape
    dims = [size if isinstance(size, int) else -1 for size in sizes]
    kind = "STRING" if entry.dtype == "string" else DATATYPES[entry.dtype]
    lines = [f"name: {_text(entry.name)}", f"data_type: TYPE_{kind}"]
    if dims:
        return [*lines, f"dims: {dims}"]
    # Without the batch nothing is left: Triton wants one dimension, and takes it away again.
    return [*lines, "dims: [1]", "reshape { shape: [] }"]


def _parameter(key: str, value: str) -> list[str]:
    return ["parameters {", f"  key: {_text(key)}", f"  value {{ string_value: {_text(value)} }}", "}"]


def _text(value: str) -> str:
    return json.dumps(value)
