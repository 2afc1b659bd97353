"""The shipped ONNX file: written with nothing in it that depends on the run, described, and run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from manifests.digests import digest_file
from manifests.manifest import FileSection, ResourcesSection, RuntimeSection, SignatureSection, TensorSection
from targets._onnx.graph import canonical_domain, nodes, opsets, qualified
from targets._target import Artifact, TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime
    from manifests.section import DType
    from targets._target import Arrays, Fidelity

ENTRY = "model.onnx"
OURS = "com.microsoft"
"""The domain of the operators that onnxruntime fuses to."""
SIZE_LIMIT = 2**31 - 1
"""Of the file, in bytes: protobuf's own limit for one message."""

_RELEASES: Sequence[tuple[str, int, int]] = (
    ("1.14.0", 18, 8),
    ("1.15.0", 19, 8),
    ("1.16.0", 19, 9),
    ("1.17.0", 20, 9),
    ("1.18.0", 21, 10),
    ("1.20.0", 21, 10),
    ("1.22.0", 23, 11),
)
"""Release, newest opset and newest IR version that it takes. Source: onnxruntime's docs/Versioning.md."""


class ShippedFile:
    """The artifact's own file in onnxruntime."""

    def __init__(self, path: Path, fidelity: Fidelity = "runtime") -> None:
        from agent.runtimes.onnxruntime import open_model

        self.fidelity: Fidelity = fidelity
        self._runtime: Runtime = open_model(path, threads=1)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Outputs by name, for one call."""
        return self._runtime.run(inputs)

    def close(self) -> None:
        """Give back what the runtime holds."""
        self._runtime.close()


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """The model at `path`, the same bytes whatever folder or run it comes from.

    Raises:
        TargetError: it is larger than protobuf's 2 GB.
    """
    import onnx

    used = {canonical_domain(node.domain) for node in nodes(model.graph)}
    used |= {canonical_domain(node.domain) for function in model.functions for node in function.node} | {""}
    kept = sorted((domain, version) for domain, version in opsets(model).items() if domain in used)
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept)
    model.producer_name = "packtrain"
    model.producer_version = ""
    model.doc_string = ""
    model.graph.doc_string = ""
    for node in nodes(model.graph):
        node.doc_string = ""
    if model.ByteSize() > SIZE_LIMIT:
        raise TargetError("onnx.size", f"model is too large: expected at most {SIZE_LIMIT} bytes")
    path.write_bytes(model.SerializeToString(deterministic=True))


def describe(model: onnx.ModelProto, path: Path, *, minimum: str | None = None) -> Artifact:
    """The artifact that is that file alone; `minimum`: the least release of the runtime, where it is known.

    Raises:
        TargetError: an input or output is not a tensor.
    """
    versions = {domain or "ai.onnx": version for domain, version in opsets(model).items()}
    return Artifact(
        files=(model_file(path),),
        signature=signature(model),
        runtime=RuntimeSection(
            kind="onnxruntime",
            minimum=minimum or _minimum(model.ir_version, versions),
            entry=path.name,
            ir_version=model.ir_version,
            opsets=versions,
            operators=tuple(sorted({qualified(node) for node in nodes(model.graph)})),
        ),
        resources=ResourcesSection(disk_bytes=path.stat().st_size),
    )


def model_file(path: Path) -> FileSection:
    """The entry of a model file in the list of the artifact's."""
    return FileSection(
        path=path.name,
        role="model",
        digest=digest_file(path),
        size=path.stat().st_size,
        media_type="application/vnd.onnx.model",
    )


def signature(model: onnx.ModelProto) -> SignatureSection:
    """Inputs and outputs; a free dimension without a name goes by its place.

    Raises:
        TargetError: one of them is not a tensor.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    return SignatureSection(
        inputs=tuple(_tensor(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(_tensor(entry) for entry in model.graph.output),
    )


def newest(release: str) -> tuple[int, int]:
    """The newest opset and IR version that a release of onnxruntime takes.

    Raises:
        TargetError: the release is older than those that are known, or not one.
    """
    wanted = _numbers(release)
    known = [(opset, ir) for name, opset, ir in _RELEASES if _numbers(name) <= wanted]
    if not known:
        raise TargetError("onnx.release", f"onnxruntime {release}: expected {_RELEASES[0][0]} or newer")
    return known[-1]


def _numbers(release: str) -> tuple[int, ...]:
    parts = release.split(".")
    if not all(part.isdecimal() for part in parts) or len(parts) not in {2, 3}:
        raise TargetError("onnx.release", f"not a release of onnxruntime: expected such as '1.22.0', got '{release}'")
    return tuple(int(part) for part in parts)


def _tensor(entry: onnx.ValueInfoProto) -> TensorSection:
    import onnx

    kind = entry.type.tensor_type
    if not kind.elem_type:
        raise TargetError("onnx.type", f"'{entry.name}' is not a tensor: got {entry.type.WhichOneof('value')}")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape = tuple(
        size.dim_value
        if size.HasField("dim_value") and size.dim_value >= 0
        else size.dim_param or f"{entry.name}.{axis}"
        for axis, size in enumerate(kind.shape.dim)
    )
    return TensorSection(
        name=entry.name, dtype=cast("DType", "string" if dtype.kind == "O" else dtype.name), shape=shape
    )


def _minimum(ir_version: int, versions: dict[str, int]) -> str:
    """The first release whose documentation lists that opset and IR version.

    A file with onnxruntime's own fused operators may not load in an older release than the one that wrote it, so that
    one is the bound then.
    """
    import onnxruntime

    if OURS not in versions:
        for release, newest_opset, newest_ir in _RELEASES:
            if versions["ai.onnx"] <= newest_opset and ir_version <= newest_ir:
                return release
    return str(onnxruntime.__version__)
