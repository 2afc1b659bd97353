"""A fleet's server in memory: real trust metadata, real bundles, the real protocol of requests and answers."""

from __future__ import annotations

import itertools
import queue
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from agent.config import AgentConfig, BrokerSection
from agent.link import Received
from agent.slots import Content, Slots
from manifests.bundle import sign_bundle, write_bundle
from manifests.digests import digest_bytes, digest_file
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
    encode_manifest,
)
from manifests.release import ASSIGNERS_PATH, Assigners, Release, describe_blob, encode_record, release_path, split_blob
from manifests.signing import generate_key, public_pem, sign, write_key
from wire.chunks import split_answer
from wire.messages import (
    ASSIGNMENT_TYPE,
    Assignment,
    Data,
    Desired,
    Get,
    Running,
    decode,
    encode,
    encode_signed,
)

if TYPE_CHECKING:
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner

    from manifests.bundle import Bundle

FLEET, DEVICE = "demo", "camera-1"
LABELS = ("dark", "mixed", "bright")
PIXELS = 4


def write_network(path: Path, *, shift: float = 0.0, batch: int | str = "batch", ballast: int = 0) -> None:
    """Scores for three classes of four pixels; `ballast` adds bytes that no chunk of another file has."""
    weights = np.array([[-1, 0, 1]] * PIXELS, dtype=np.float32)
    bias = np.array([4, 3 + shift, -4], dtype=np.float32)
    constants = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    if ballast:
        random = np.random.default_rng(ballast)
        constants.append(numpy_helper.from_array(random.integers(0, 255, ballast, dtype=np.uint8), "ballast"))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=-1, keepdims=0),
        ],
        "network",
        [helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [batch, PIXELS])],
        [
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("label", onnx.TensorProto.INT64, [batch]),
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_golden(path: Path, network: Path, batch: int | str, *, wrong: bool) -> int:
    """Samples and what the network computes of them; `wrong`: something else."""
    pixels = np.random.default_rng(0).uniform(0, 2, (8, PIXELS)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    step = batch if isinstance(batch, int) else 8
    parts = [session.run(None, {"pixels": pixels[start : start + step]}) for start in range(0, 8, step)]
    scores, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    expected = {"expected.scores": scores + (0.25 if wrong else 0), "expected.label": label}
    np.savez(path, **{"input.pixels": pixels}, **expected)
    return len(pixels)


def describe(folder: Path, version: str, batch: int | str, samples: int, target: str) -> Manifest:
    """The manifest of the files below `folder`."""
    files = tuple(
        FileSection(
            path=path,
            role=role,
            digest=digest_file(folder / path),
            size=(folder / path).stat().st_size,
            media_type=media,
        )
        for path, role, media in (
            ("model.onnx", "model", "application/vnd.onnx.model"),
            ("golden.npz", "golden", "application/x-npz"),
        )
    )
    features = tuple(
        FeatureBaseline(name=f"pixel{index}", input="pixels", index=index, edges=(0.5, 1.0, 1.5), counts=(1, 1, 1, 1))
        for index in range(PIXELS)
    )
    return Manifest(
        bundle=BundleSection(name="digits", version=version, counter=int(version), target=target),
        model=ModelSection(
            source=SourceSection(reference="models:/digits/1", digest=digest_bytes(b"source"), framework="onnx"),
            task=TaskSection(kind="classification", output="scores", labels=LABELS),
        ),
        signature=SignatureSection(
            inputs=(TensorSection(name="pixels", dtype="float32", shape=(batch, PIXELS)),),
            outputs=(
                TensorSection(name="scores", dtype="float32", shape=(batch, 3)),
                TensorSection(name="label", dtype="int64", shape=(batch,)),
            ),
        ),
        golden=GoldenSection(samples=samples, rtol=1e-3, atol=1e-5),
        baseline=BaselineSection(
            samples=4, features=features, predictions=PredictionBaseline(output="scores", counts=(1, 1, 1))
        ),
        files=files,
        runtime=RuntimeSection(kind="onnxruntime", minimum="1.20", entry="model.onnx"),
        resources=ResourcesSection(disk_bytes=sum(entry.size for entry in files)),
        parity=ParitySection(
            samples=samples,
            inputs="data",
            fidelity="runtime",
            outputs=(OutputParity(output="scores", max_absolute=0.0, max_relative=0.0, rms_relative=0.0),),
        ),
        gates=(GateSection(name="parity", limit="1e-4", value=0.0, unit="", verdict="passed"),),
        build=BuildSection(packtrain="0.1.0", toolchain={}, toolchain_digest=digest_bytes(b""), options={}),
    )


class Forge:
    """Makes bundles in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout.create(folder / "store")

    def make(
        self,
        version: str,
        *,
        batch: int | str = "batch",
        ballast: int = 0,
        wrong_golden: bool = False,
        target: str = "cloud",
    ) -> Bundle:
        """A bundle of the network in the store; each version has other weights."""
        files = self.folder / f"files-{version}-{target}"
        files.mkdir()
        write_network(files / "model.onnx", shift=int(version) / 8, batch=batch, ballast=ballast)
        samples = write_golden(files / "golden.npz", files / "model.onnx", batch, wrong=wrong_golden)
        return write_bundle(self.layout, describe(files, version, batch, samples, target), files)

    def install(self, state: Path, bundle: Bundle, *, active: bool = True) -> None:
        """Put a bundle into the idle slot of a state folder as the updater would, and make it the active one."""
        slots = Slots(state)
        slot = "b" if slots.active("digits") == "a" else "a"
        section = bundle.manifest.bundle
        running = Running(version=section.version, counter=section.counter, target=section.target, bundle=bundle.digest)
        manifest = encode_manifest(bundle.manifest)
        slots.stage(
            "digits",
            slot,
            Content(running=running, manifest=digest_bytes(manifest)),
            manifest,
            [(entry.path, self.layout.blob_path(entry.digest)) for entry in bundle.manifest.files],
        )
        if active:
            slots.switch("digits", slot)


class Server:
    """What answers on ``get``; a test may break it.

    Attributes:
        served: what was asked for, in order.
        damaged: chunk digests that are answered with other bytes.
        answers_left: after that many answers the server falls silent; None: never.
    """

    def __init__(self, folder: Path) -> None:
        roles = ("root", "targets", "snapshot", "timestamp", "assigner", "packer", "stranger")
        self.keys: dict[str, CryptoSigner] = {role: generate_key() for role in roles}
        self.forge = Forge(folder)
        self.metadata: dict[str, bytes] = {}
        self.targets: dict[str, bytes] = {}
        self.chunks: dict[str, bytes] = {}
        self.served: list[tuple[str, str]] = []
        self.damaged: set[str] = set()
        self.answers_left: int | None = None
        self.expires = datetime.now(UTC) + timedelta(days=1)
        self._listed = Targets(version=1, expires=self.expires)
        root = Root(version=1, expires=self.expires, consistent_snapshot=True)
        for role in ("root", "targets", "snapshot", "timestamp"):
            root.add_key(self.keys[role].public_key, role)
        self.root = self._sign(root, "root")
        self.metadata["1.root.json"] = self.root
        assigners = Assigners(
            assigners=(public_pem(self.keys["assigner"].public_key),),
            packers=(public_pem(self.keys["packer"].public_key),),
        )
        self.list_target(ASSIGNERS_PATH, encode_record(assigners))
        self.commit()

    def publish(self, bundle: Bundle, *, signer: str = "packer", **changes: object) -> Desired:
        """Offer the bundle; `changes` falsify fields of the release record."""
        layout, manifest = self.forge.layout, bundle.manifest
        envelope = sign_bundle(layout, bundle, [self.keys[signer]])
        digests = [bundle.digest, bundle.image.config.digest, *(entry.digest for entry in manifest.files)]
        release = Release(
            release="1.0",
            name=manifest.bundle.name,
            version=manifest.bundle.version,
            counter=manifest.bundle.counter,
            target=manifest.bundle.target,
            bundle=bundle.digest,
            runtime=manifest.runtime,
            disk_bytes=manifest.resources.disk_bytes,
            blobs=tuple(describe_blob(layout.blob_path(digest), digest) for digest in digests),
            signature=envelope.decode(),
        )
        for digest in digests:
            self.chunks |= {digest_bytes(chunk): chunk for chunk in split_blob(layout.blob_path(digest))}
        release = msgspec.structs.replace(release, **changes)
        section = manifest.bundle
        path = release_path(section.name, section.version, section.target)
        self.list_target(path, encode_record(release))
        self.commit()
        return Desired(
            model=section.name,
            version=section.version,
            counter=section.counter,
            target=section.target,
            bundle=bundle.digest,
            release=path,
        )

    def list_target(self, path: str, data: bytes) -> None:
        """Vouch for a target file with the offline key."""
        entry = TargetFile.from_data(path, data, ["sha256"])
        self._listed.targets[path] = entry
        folder, _, name = path.rpartition("/")
        self.targets[f"{folder}/{entry.hashes['sha256']}.{name}"] = data

    def commit(self, *, expires: datetime | None = None) -> None:
        """Write new targets, snapshot and timestamp metadata."""
        version = self._listed.version
        until = expires or self.expires
        snapshot = Snapshot(version=version, expires=until, meta={"targets.json": MetaFile(version)})
        timestamp = Timestamp(version=version, expires=until, snapshot_meta=MetaFile(version))
        self.metadata[f"{version}.targets.json"] = self._sign(self._listed, "targets")
        self.metadata[f"{version}.snapshot.json"] = self._sign(snapshot, "snapshot")
        self.metadata["timestamp.json"] = self._sign(timestamp, "timestamp")
        self._listed.version += 1

    def assign(
        self, sequence: int, *models: Desired, signer: str = "assigner", device: str = DEVICE, fleet: str = FLEET
    ) -> bytes:
        """The signed assignment."""
        assignment = Assignment(fleet=fleet, device=device, sequence=sequence, models=models)
        return sign(encode_signed(assignment), ASSIGNMENT_TYPE, [self.keys[signer]])

    def answer(self, get: Get) -> list[Data]:
        """The messages that answer a request."""
        self.served.append((get.kind, get.name))
        if self.answers_left is not None:
            self.answers_left -= 1
            if self.answers_left < 0:
                return []
        content = {"metadata": self.metadata, "target": self.targets, "chunk": self.chunks}[get.kind].get(get.name)
        if content is None:
            return [Data(id=get.id, status="missing")]
        if get.name in self.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        return list(split_answer(get.id, content))

    def asked(self, kind: str) -> list[str]:
        """What of that kind was asked for."""
        return [name for found, name in self.served if found == kind]

    def _sign(self, signed: Root | Targets | Snapshot | Timestamp, role: str) -> bytes:
        metadata = Metadata(signed)
        metadata.sign(self.keys[role])
        return metadata.to_bytes()


class MemoryLink:
    """A link whose broker and server are this process."""

    def __init__(self, server: Server) -> None:
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._server = server
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """Nothing to do."""

    def subscribe(self, topic: str) -> None:
        """Everything comes anyway."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Ask the server at once."""
        assert not retain
        assert topic.endswith("/get")
        for data in self._server.answer(decode(payload, Get)):
            self.events.put(Received(topic.removesuffix("get") + "data", encode(data)))
        return next(self._numbers)

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path / "forge")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "server")


@pytest.fixture
def link(server: Server) -> MemoryLink:
    return MemoryLink(server)


@pytest.fixture
def config(tmp_path: Path, server: Server) -> AgentConfig:
    folder = tmp_path / "device"
    (folder / "state").mkdir(parents=True)
    (folder / "root.json").write_bytes(server.root)
    write_key(generate_key(), folder / "device.key")
    return AgentConfig(
        device=DEVICE,
        fleet=FLEET,
        state=folder / "state",
        targets=("cloud",),
        key=folder / "device.key",
        root=folder / "root.json",
        broker=BrokerSection(host="127.0.0.1", port=1883),
    )
