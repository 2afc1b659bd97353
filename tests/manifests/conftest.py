from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifests.bundle import write_bundle
from manifests.digests import digest_bytes
from manifests.layout import Layout
from manifests.manifest import (
    BaselineSection,
    BuildSection,
    BundleSection,
    FeatureBaseline,
    FileSection,
    GateSection,
    GoldenSection,
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

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.bundle import Bundle

FILES = {"model.onnx": b"weights", "golden/samples.npz": b"samples"}


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        bundle=BundleSection(name="digits", version="3", counter=3, target="cloud"),
        model=ModelSection(
            source=SourceSection(reference="models:/digits/3", digest=digest_bytes(b"source"), framework="sklearn"),
            task=TaskSection(kind="classification", output="scores", labels=("no", "yes")),
        ),
        signature=SignatureSection(
            inputs=(TensorSection(name="pixels", dtype="float32", shape=("n", 64), range=(0.0, 16.0)),),
            outputs=(TensorSection(name="scores", dtype="float32", shape=("n", 2)),),
        ),
        golden=GoldenSection(samples=2, rtol=0.001, atol=1e-5),
        baseline=BaselineSection(
            samples=3,
            features=(FeatureBaseline(name="brightness", input="pixels", index=0, edges=(0.5, 1.5), counts=(1, 2, 0)),),
            predictions=PredictionBaseline(output="scores", counts=(1, 2)),
        ),
        files=(
            FileSection(
                path="model.onnx",
                role="model",
                digest=digest_bytes(FILES["model.onnx"]),
                size=7,
                media_type="application/vnd.onnx.model",
            ),
            FileSection(
                path="golden/samples.npz",
                role="golden",
                digest=digest_bytes(FILES["golden/samples.npz"]),
                size=7,
                media_type="application/x-npz",
            ),
        ),
        runtime=RuntimeSection(kind="onnxruntime", minimum="1.23", entry="model.onnx", opsets={"ai.onnx": 21}),
        resources=ResourcesSection(disk_bytes=14),
        parity=ParitySection(
            samples=2,
            inputs="data",
            fidelity="runtime",
            outputs=(OutputParity(output="scores", max_absolute=1e-7, max_relative=1e-7, rms_relative=1e-8),),
        ),
        gates=(GateSection(name="parity", limit="0.0001", value=1e-7, unit="", verdict="passed"),),
        build=BuildSection(
            packtrain="0.1.0",
            toolchain={"onnx": "1.20.0"},
            toolchain_digest=digest_bytes(b"lock"),
            options={"optimise": True, "threads": 1, "epsilon": 0.5, "layout": None},
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that `manifest` lists."""
    root = tmp_path / "files"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "store")


@pytest.fixture
def bundle(layout: Layout, manifest: Manifest, folder: Path) -> Bundle:
    return write_bundle(layout, manifest, folder)
