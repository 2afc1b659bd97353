"""A project's store with one signed bundle, made without the pipeline, so that it can be broken in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from manifests.bundle import sign_bundle, write_bundle
from manifests.digests import digest_bytes, digest_file
from manifests.layout import Layout
from manifests.manifest import (
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
    LineageSection,
    Manifest,
    ModelSection,
    OutputParity,
    ParitySection,
    PredictionBaseline,
    QuantizationSection,
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    SourceSection,
    TaskSection,
    TensorSection,
)
from manifests.signing import generate_key, write_key

if TYPE_CHECKING:
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from manifests.bundle import Bundle

LABELS = tuple(str(digit) for digit in range(10))


class Stored(NamedTuple):
    """A bundle in the store of the project in `project`, signed by `signer`, whose public key stands in `key`."""

    project: Path
    layout: Layout
    bundle: Bundle
    signer: CryptoSigner
    key: Path


def file_section(folder: Path, path: str, role: str, media_type: str) -> FileSection:
    target = folder / path
    return FileSection(
        path=path, role=role, digest=digest_file(target), size=target.stat().st_size, media_type=media_type
    )


def make_manifest(folder: Path) -> Manifest:
    """The manifest of the files in `folder`, as a digits classifier for edge-arm would have it."""
    return Manifest(
        bundle=BundleSection(name="digits", version="3", counter=3, target="edge-arm"),
        model=ModelSection(
            source=SourceSection(
                reference="models:/digits@candidate", digest=digest_bytes(b"source"), framework="sklearn"
            ),
            task=TaskSection(kind="classification", output="scores", labels=LABELS),
            licence="Apache-2.0",
        ),
        signature=SignatureSection(
            inputs=(TensorSection(name="pixels", dtype="float32", shape=(1, 64), range=(0.0, 16.0)),),
            outputs=(TensorSection(name="scores", dtype="float32", shape=(1, 10)),),
        ),
        golden=GoldenSection(samples=2, rtol=0.001, atol=1e-5),
        baseline=BaselineSection(
            samples=300,
            features=tuple(
                FeatureBaseline(name=f"pixel {index}", input="pixels", index=index, edges=(0.5,), counts=(100, 200))
                for index in range(64)
            ),
            predictions=PredictionBaseline(output="scores", counts=(30,) * 10),
        ),
        files=(
            file_section(folder, "model.tflite", "model", "application/vnd.tflite"),
            file_section(folder, "golden.npz", "golden", "application/x-npz"),
        ),
        runtime=RuntimeSection(
            kind="litert", minimum="1.4.0", entry="model.tflite", operators=("FULLY_CONNECTED", "MUL", "SOFTMAX")
        ),
        hardware=HardwareSection(
            architectures=("aarch64",),
            instructions={"aarch64": InstructionSets(required=("neon",), used=("dotprod", "i8mm"))},
        ),
        resources=ResourcesSection(
            disk_bytes=12_345,
            memory_bytes=13_369,
            arena_bytes=1_024,
            macs=6_720,
            operations={"FULLY_CONNECTED": 3, "MUL": 1, "SOFTMAX": 1},
            transposes=0,
            delegation=DelegationSection(delegate="XNNPACK", operations=4, total=5),
        ),
        quantization=QuantizationSection(
            scheme="int8", calibration_digest=digest_bytes(b"calibration"), calibration_samples=300
        ),
        parity=ParitySection(
            samples=300,
            inputs="data",
            fidelity="runtime",
            outputs=(OutputParity(output="scores", max_absolute=0.0123, max_relative=0.0123, rms_relative=0.0045),),
            worst_layer="dense_1",
        ),
        gates=(
            GateSection(name="parity", limit="0.05", value=0.0123, unit="ratio", verdict="passed"),
            GateSection(name="accuracy", limit="1%", value=0.0021, unit="ratio", verdict="passed"),
            GateSection(
                name="size", limit="8 KB", value=12_345.0, unit="bytes", verdict="waived", waiver="device has room"
            ),
            GateSection(name="latency_p95", limit="5 ms", value=None, unit="ms", verdict="passed"),
        ),
        lineage=LineageSection(
            run="0f3c2d5e8a1b4c7d9e6f", commit="7aebf2e", parameters={"hidden": "64,32"}, metrics={"accuracy": 0.9712}
        ),
        build=BuildSection(
            packtrain="0.1.0",
            toolchain={"ai-edge-litert": "2.3.0", "ai-edge-quantizer": "0.5.0", "flatbuffers": "25.9.23"},
            toolchain_digest=digest_bytes(b"lock"),
            options={"quantize": "int8", "batch": 1},
        ),
    )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The bundle's files."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.tflite").write_bytes(b"weights")
    arrays = {"input.pixels": np.zeros((2, 1, 64), np.float32), "expected.scores": np.zeros((2, 1, 10), np.float32)}
    np.savez(folder / "golden.npz", **arrays)
    return folder


@pytest.fixture
def stored(tmp_path: Path, files: Path) -> Stored:
    project = tmp_path / "project"
    store = project / ".pack" / "store"
    store.mkdir(parents=True)
    layout = Layout.create(store)
    bundle = write_bundle(layout, make_manifest(files), files)
    signer = generate_key()
    sign_bundle(layout, bundle, [signer])
    return Stored(project, layout, bundle, signer, write_key(signer, project / "pack.key"))
