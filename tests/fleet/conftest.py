"""A workspace, and signed bundles to publish in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from fleet.publish import Address, trust_packer
from fleet.workspace import create_workspace
from manifests.bundle import sign_bundle, write_bundle
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
    ResourcesSection,
    RuntimeSection,
    SignatureSection,
    SourceSection,
    TaskSection,
    TensorSection,
)
from manifests.signing import generate_key, write_key
from tests.fleet.postgresql import cluster, new_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from fleet.store import Store
    from fleet.workspace import Workspace

DIGEST = "sha256:" + "11" * 32


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Path]:
    with cluster() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database, of each kind."""
    if request.param == "postgresql":
        return new_database(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path / 'fleet.db'}"


def describe(version: str, counter: int, target: str, files: dict[str, bytes]) -> Manifest:
    return Manifest(
        bundle=BundleSection(name="digits", version=version, counter=counter, target=target),
        model=ModelSection(
            source=SourceSection(reference="model.onnx", digest=DIGEST, framework="onnx"),
            task=TaskSection(kind="classification", output="y", labels=("zero", "one")),
        ),
        signature=SignatureSection(
            inputs=(TensorSection(name="x", dtype="float32", shape=("N", 1)),),
            outputs=(TensorSection(name="y", dtype="float32", shape=("N", 2)),),
        ),
        golden=GoldenSection(samples=1, rtol=1e-3, atol=1e-5),
        baseline=BaselineSection(
            samples=10,
            features=(FeatureBaseline(name="x", input="x", index=0, edges=(0.5,), counts=(5, 5)),),
        ),
        files=tuple(
            FileSection(
                path=path,
                role="golden" if path == "golden.npz" else "model",
                digest=digest_bytes(data),
                size=len(data),
                media_type="application/octet-stream",
            )
            for path, data in files.items()
        ),
        runtime=RuntimeSection(kind="onnxruntime", minimum="1.20", entry="model.onnx"),
        resources=ResourcesSection(disk_bytes=sum(len(data) for data in files.values())),
        parity=ParitySection(
            samples=1,
            inputs="data",
            fidelity="runtime",
            outputs=(OutputParity(output="y", max_absolute=0.0, max_relative=0.0, rms_relative=0.0),),
        ),
        gates=(GateSection(name="parity", limit="1e-4", value=0.0, unit="", verdict="passed"),),
        build=BuildSection(packtrain="0.1.0", toolchain={}, toolchain_digest=DIGEST, options={}),
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return create_workspace(tmp_path / "workspace", "demo", broker_port=0, api_port=0, now=time.time())


@pytest.fixture
def database(workspace: Workspace) -> Iterator[Store]:
    opened = workspace.open_store()
    yield opened
    opened.close()


@pytest.fixture
def make_bundle(tmp_path: Path, workspace: Workspace) -> Callable[..., Address]:
    """Makes bundles of `digits`, signed by a packer whom the workspace trusts unless told otherwise."""
    packer = generate_key()
    trust_packer(workspace, write_key(packer, tmp_path / "packer.key"), name="packer", now=time.time())
    layout, scratch = Layout.create(tmp_path / "layout"), tmp_path / "scratch"
    scratch.mkdir()

    def make(
        version: str, counter: int, *, target: str = "cloud", signers: tuple[CryptoSigner, ...] = (packer,)
    ) -> Address:
        files = {"model.onnx": b"weights" * 20_000 + version.encode(), "golden.npz": b"golden"}
        for path, data in files.items():
            (scratch / path).write_bytes(data)
        bundle = write_bundle(layout, describe(version, counter, target, files), scratch)
        if signers:
            sign_bundle(layout, bundle, signers)
        return Address(layout, bundle.digest)

    return make
