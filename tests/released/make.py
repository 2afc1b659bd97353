"""Adds the bundle of a format that is being released: ``python tests/released/make.py 1.0``. See README.md here."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from manifests.bundle import sign_bundle, write_bundle
from manifests.digests import digest_bytes, digest_file
from manifests.layout import Layout
from manifests.manifest import (
    MANIFEST_VERSION,
    BaselineSection,
    BuildSection,
    BundleSection,
    DelegationSection,
    FeatureBaseline,
    FileSection,
    GateSection,
    GoldenSection,
    HardwareSection,
    InstructionSets,
    Manifest,
    ModelSection,
    OutputParity,
    ParitySection,
    PredictionBaseline,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    SourceSection,
    TaskSection,
    TensorSection,
)
from manifests.pipeline import InputPipeline, OutputPipeline, PipelineSection
from manifests.release import RELEASE_VERSION, Release, describe_blob, encode_record
from manifests.signing import generate_key, public_pem

HERE = Path(__file__).parent


def write_files(folder: Path) -> None:
    """A classifier of two classes and its golden samples."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ],
        "two-classes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("weights", TensorProto.FLOAT, [2, 2], [1.0, -1.0, -1.0, 1.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    x = np.array([[1, 0], [0, 1], [0.5, 0.25]], np.float32)
    [scores] = onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"x": x})
    np.savez(folder / "golden.npz", **{"input.x": x, "expected.scores": scores})
    (folder / "labels.txt").write_text("left\nright\n")


def describe(folder: Path) -> Manifest:
    model, golden, labels = folder / "model.onnx", folder / "golden.npz", folder / "labels.txt"
    files = tuple(
        FileSection(path=path.name, role=role, digest=digest_file(path), size=path.stat().st_size, media_type=kind)
        for path, role, kind in (
            (model, "model", "application/vnd.onnx.model"),
            (golden, "golden", "application/x-npz"),
            (labels, "labels", "text/plain"),
        )
    )
    return Manifest(
        bundle=BundleSection(name="two-classes", version="1", counter=1, target="cloud"),
        model=ModelSection(
            source=SourceSection(reference="model.onnx", digest=digest_file(model), framework="onnx"),
            task=TaskSection(kind="classification", output="scores", labels=("left", "right")),
            licence="Apache-2.0",
        ),
        signature=SignatureSection(
            inputs=(TensorSection(name="x", dtype="float32", shape=("n", 2), layout="nc", range=(-1.0, 1.0)),),
            outputs=(TensorSection(name="scores", dtype="float32", shape=("n", 2)),),
            maximum={"n": 64},
        ),
        pipeline=PipelineSection(
            inputs=(InputPipeline(input="x", dtype="uint8", layout="cn", scale=(0.25,), mean=(0.5, 0.25), std=(2.0,)),),
            outputs=(OutputPipeline(output="scores", select="threshold", threshold=0.5, labels_file="labels.txt"),),
        ),
        golden=GoldenSection(samples=3, rtol=1e-3, atol=1e-5),
        baseline=BaselineSection(
            samples=3,
            features=(FeatureBaseline(name="x0", input="x", index=0, edges=(0.25, 0.75), counts=(1, 1, 1)),),
            predictions=PredictionBaseline(output="scores", counts=(2, 1)),
        ),
        files=files,
        runtime=RuntimeSection(
            kind="onnxruntime",
            minimum="1.17",
            entry="model.onnx",
            ir_version=9,
            opsets={"ai.onnx": 17},
            operators=("MatMul", "Softmax"),
        ),
        hardware=HardwareSection(
            architectures=("aarch64", "x86_64"),
            instructions={"aarch64": InstructionSets(required=("neon",), used=("dotprod", "i8mm"))},
        ),
        resources=ResourcesSection(
            disk_bytes=sum(file.size for file in files),
            memory_bytes=model.stat().st_size + 48,
            arena_bytes=48,
            macs=12,
            operations={"MatMul": 1, "Softmax": 1},
            transposes=0,
            delegation=DelegationSection(delegate="MLAS", operations=1, total=2),
        ),
        parity=ParitySection(
            samples=3,
            inputs="data",
            fidelity="runtime",
            outputs=(OutputParity(output="scores", max_absolute=0.0, max_relative=0.0, rms_relative=0.0),),
        ),
        gates=(GateSection(name="parity", limit="0.0001", value=0.0, unit="", verdict="passed"),),
        build=BuildSection(
            packtrain="0.1.0",
            toolchain={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
            toolchain_digest=digest_bytes(b""),
            options={},
        ),
    )


def main(version: str) -> None:
    if version != MANIFEST_VERSION:
        sys.exit(f"error: this tree writes format {MANIFEST_VERSION}, not {version}")
    place = HERE / version
    place.mkdir()
    key = generate_key()
    layout = Layout.create(place / "store")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder))
        bundle = write_bundle(layout, describe(Path(folder)), Path(folder))
    envelope = sign_bundle(layout, bundle, [key])
    descriptors = (bundle.descriptor, bundle.image.config, *bundle.image.layers)
    release = Release(
        release=RELEASE_VERSION,
        name="two-classes",
        version="1",
        counter=1,
        target="cloud",
        bundle=bundle.digest,
        runtime=bundle.manifest.runtime,
        disk_bytes=bundle.manifest.resources.disk_bytes,
        blobs=tuple(describe_blob(layout.blob_path(entry.digest), entry.digest) for entry in descriptors),
        signature=envelope.decode(),
    )
    (place / "release.json").write_bytes(encode_record(release))
    (place / "key.pub").write_text(public_pem(key.public_key))
    (layout.folder / ".lock").unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
