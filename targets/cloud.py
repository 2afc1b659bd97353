"""ONNX, optimised ahead of time, for onnxruntime on servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import msgspec

from manifests.digests import digest_file
from manifests.manifest import (
    FileSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    TensorSection,
)
from targets._target import Artifact, Finding, Needs, TargetError, Toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from agent.runtimes._runtime import Runtime
    from manifests.section import DType
    from targets._target import Arrays, Fidelity, Runner

_ENTRY = "model.onnx"
_OURS = "com.microsoft"
"""The domain of the operators that onnxruntime fuses to."""
_PROTOBUF_LIMIT = 2**31 - 1


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[targets.cloud]`` of ``pack.toml``."""

    optimization: Literal["none", "basic", "extended"] = "extended"
    """onnxruntime's levels. Its highest, which lays tensors out for the build machine's CPU, is not offered: such a
    file is wrong to ship to another machine."""


class _ShippedFile:
    """The artifact's own file in onnxruntime."""

    fidelity: Fidelity = "runtime"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        return self._runtime.run(inputs)

    def close(self) -> None:
        self._runtime.close()


class _Cloud:
    name = "cloud"
    summary = "ONNX for onnxruntime on servers, optimised ahead of time"
    toolchain = Toolchain(distributions=("onnx", "onnxruntime", "numpy"), extra="pack")
    Options = Options

    def needs(self, options: msgspec.Struct) -> Needs:
        """Almost anything: onnxruntime runs it."""
        del options
        return Needs(opset=(7, 23), ir_version=11)

    def free_dimensions(self, options: msgspec.Struct) -> dict[str, int]:
        """Nothing: the batch, and every other free dimension, stays free."""
        del options
        return {}

    def unsupported(self, model: onnx.ModelProto, options: msgspec.Struct) -> list[Finding]:
        """Every node whose operator no schema of onnx or onnxruntime knows."""
        del options
        opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
        functions = {(_domain(function.domain), function.name) for function in model.functions}
        return [
            finding
            for node in _nodes(model.graph)
            if (_domain(node.domain), node.op_type) not in functions and (finding := _finding(node, opsets)) is not None
        ]

    def convert(self, model: Path, options: msgspec.Struct, calibration: Arrays | None, out: Path) -> Artifact:
        """Write ``model.onnx``: the model after onnxruntime's own graph optimisations, with nothing machine-specific.

        Raises:
            TargetError: onnxruntime can't load the model, or it is larger than protobuf's 2 GB.
        """
        del calibration
        level = cast("Options", options).optimization
        target = out / _ENTRY
        _optimise(model, level, target)
        shipped = _normalised(target)
        return Artifact(
            files=(
                FileSection(
                    path=_ENTRY,
                    role="model",
                    digest=digest_file(target),
                    size=target.stat().st_size,
                    media_type="application/vnd.onnx.model",
                ),
            ),
            signature=_signature(shipped),
            runtime=_runtime(shipped),
            resources=ResourcesSection(disk_bytes=target.stat().st_size),
        )

    def runner(self, artifact: Artifact, folder: Path) -> Runner:
        """The shipped file, opened by the runtime that devices use."""
        from agent.runtimes.onnxruntime import open_model

        return _ShippedFile(open_model(folder / artifact.runtime.entry, threads=1))


target = _Cloud()


def _optimise(model: Path, level: str, target: Path) -> None:
    import onnxruntime

    from agent.runtimes.onnxruntime import load_errors

    if model.stat().st_size > _PROTOBUF_LIMIT:
        raise TargetError("cloud.size", f"model is too large: expected at most {_PROTOBUF_LIMIT} bytes")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = {
        "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    }[level]
    options.optimized_model_filepath = str(target)
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Packed weights and the like are laid out for this CPU; they are made again wherever the file is loaded.
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except load_errors() as error:
        raise TargetError("cloud.load", f"onnxruntime can't load the model: {error}") from error


def _normalised(path: Path) -> onnx.ModelProto:
    """The saved model, rewritten with nothing in it that depends on the path or the run."""
    import onnx

    model = onnx.load(path)
    used = {_domain(node.domain) for node in _nodes(model.graph)}
    used |= {_domain(node.domain) for function in model.functions for node in function.node} | {""}
    kept = sorted(
        {(_domain(entry.domain), entry.version) for entry in model.opset_import if _domain(entry.domain) in used}
    )
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in kept)
    model.producer_name = "packtrain"
    model.producer_version = ""
    model.doc_string = ""
    model.graph.doc_string = ""
    for node in _nodes(model.graph):
        node.doc_string = ""
    path.write_bytes(model.SerializeToString(deterministic=True))
    return model


def _signature(model: onnx.ModelProto) -> SignatureSection:
    constants = {tensor.name for tensor in model.graph.initializer}
    return SignatureSection(
        inputs=tuple(_tensor(entry) for entry in model.graph.input if entry.name not in constants),
        outputs=tuple(_tensor(entry) for entry in model.graph.output),
    )


def _tensor(entry: onnx.ValueInfoProto) -> TensorSection:
    import onnx

    kind = entry.type.tensor_type
    if not kind.elem_type:
        raise TargetError("cloud.type", f"'{entry.name}' is not a tensor: got {entry.type.WhichOneof('value')}")
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


def _runtime(model: onnx.ModelProto) -> RuntimeSection:
    operators = {_qualified(node) for node in _nodes(model.graph)}
    opsets = {_domain(entry.domain) or "ai.onnx": entry.version for entry in model.opset_import}
    return RuntimeSection(
        kind="onnxruntime",
        minimum=_minimum(model.ir_version, opsets),
        entry=_ENTRY,
        ir_version=model.ir_version,
        opsets=opsets,
        operators=tuple(sorted(operators)),
    )


def _minimum(ir_version: int, opsets: dict[str, int]) -> str:
    """The first release of onnxruntime whose documentation lists that opset and IR version.

    Source: onnxruntime's docs/Versioning.md, compatibility table. A file with its own fused operators may not load in
    an older release than the one that wrote it, so that one is the bound then.
    """
    import onnxruntime

    if _OURS in opsets:
        return str(onnxruntime.__version__)
    opset = opsets["ai.onnx"]
    for release, newest_opset, newest_ir in _RELEASES:
        if opset <= newest_opset and ir_version <= newest_ir:
            return release
    return str(onnxruntime.__version__)


_RELEASES: Sequence[tuple[str, int, int]] = (
    ("1.14.0", 18, 8),
    ("1.15.0", 19, 8),
    ("1.16.0", 19, 9),
    ("1.17.0", 20, 9),
    ("1.18.0", 21, 10),
    ("1.20.0", 21, 10),
    ("1.22.0", 23, 11),
)
"""Release, newest opset and newest IR version that it takes."""


def _finding(node: onnx.NodeProto, opsets: dict[str, int]) -> Finding | None:
    import onnx

    domain = _domain(node.domain)
    if domain not in opsets:
        return _not_known(node, f"its domain '{domain}' is not imported by the model")
    if domain in {"", "ai.onnx.ml"}:
        try:
            onnx.defs.get_schema(node.op_type, opsets[domain], domain)
        except onnx.defs.SchemaError:
            return _not_known(node, f"opset {opsets[domain]} of '{domain or 'ai.onnx'}' has no such operator")
        return None
    if (domain, node.op_type) in _own_operators():
        return None
    return _not_known(node, "onnxruntime has no such operator")


def _not_known(node: onnx.NodeProto, reason: str) -> Finding:
    return Finding(
        node=node.name or node.output[0],
        operator=_qualified(node),
        reason=reason,
        hint="export the model without custom operators",
    )


def _own_operators() -> set[tuple[str, str]]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return {(schema.domain, schema.name) for schema in state.get_all_operator_schema()}


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
            for branch in attribute.graphs:
                yield from _nodes(branch)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _qualified(node: onnx.NodeProto) -> str:
    domain = _domain(node.domain)
    return f"{domain}.{node.op_type}" if domain else node.op_type
