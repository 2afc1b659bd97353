"""The demo, chapter by chapter: each runs the commands that a user would, and measures what it claims."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from camera import Camera
from devices import Device
from forgery import damaged, write_failing_bundle

if TYPE_CHECKING:
    from stage import Stage

HERE = Path(__file__).parent
CLEAR = Camera()
CHANGED = Camera(contrast=0.6, noise=1.0, shift=1)
DEVICES = {"cam-1": "cloud", "cam-2": "edge-arm", "cam-3": "edge-arm"}
GATE_FAILED = 4
LIMIT_SECONDS = 240
CONFIG = """
[drift]
interval = 1.0
window = 6.0
minimum_rows = 200

[[sinks]]
kind = "command"
command = {command}
timeout = 300.0
"""


def train(stage: Stage) -> None:
    """A classifier on the real digits data, registered in MLflow."""
    stage.transcript.chapter("Train a classifier on scikit-learn's digits, and register it in MLflow")
    shutil.copy(HERE / "pack.toml", stage.folder)
    stage.look_through(CLEAR)
    version = stage.run(sys.executable, HERE / "train.py").strip()
    stage.transcript.claim("MLflow holds the model", f"version {version}", holds=version == "1")


def pack(stage: Stage) -> None:
    """Bundles for two targets, and the same model for edge-arm without quantization beside them."""
    stage.transcript.chapter("Pack it for cloud and for edge-arm")
    stage.key.parent.mkdir()
    stage.run("pack", "keys", "generate", stage.key)
    stage.run("pack")
    stage.transcript.tell("the same model for edge-arm in float32, to compare:")
    plain_folder = stage.folder / "float"
    plain_folder.mkdir()
    text = (stage.folder / "pack.toml").read_text()
    (plain_folder / "pack.toml").write_text(text.replace('quantize = "int8"', 'quantize = "none"'))
    (plain_folder / "data").symlink_to(stage.folder / "data")
    (plain,) = _bundles(stage.run("pack", "-C", "float", "-t", "edge-arm", "-o", "json", show=False))
    cloud, small = _bundles(stage.run("pack", "-o", "json", show=False))
    _compare(stage, {"cloud float32": cloud, "edge-arm float32": plain, "edge-arm int8": small})
    stage.transcript.claim(
        "on edge-arm, int8 is at most half the size of float32",
        f"{small['disk_bytes']:,} and {plain['disk_bytes']:,} bytes",
        holds=small["disk_bytes"] * 2 <= plain["disk_bytes"],
    )
    cached = [bundle["cached"] for bundle in (cloud, small)]
    stage.transcript.claim("packing the same again converts nothing", f"cached: {cached}", holds=all(cached))


def publish(stage: Stage) -> None:
    """A fleet with trust metadata, and a server."""
    stage.transcript.chapter("Make a fleet, publish both bundles, start the server")
    stage.run("pack-fleet", "init", "--fleet", "demo", "--broker-port", 0, "--api-port", 0)
    command = [sys.executable, HERE / "retrain.py", "--folder", stage.folder]
    with (stage.workspace / "fleet.toml").open("a") as config:
        config.write(CONFIG.format(command=[str(word) for word in command]))
    stage.run("pack-fleet", "trust", stage.key.with_suffix(".pub"))
    stage.run("pack-fleet", "publish", "digits:1@cloud", "digits:1@edge-arm")
    addresses = stage.serve()
    broker = f"{addresses['engine']} at port {addresses['broker_port']}"
    stage.transcript.tell(f"serving: {broker}; web page {stage.server.address}/")


def install(stage: Stage) -> None:
    """Three devices pull, verify, install and test version 1, and an application on each uses it."""
    stage.transcript.chapter("Three devices pull it over MQTT, verify, install and test it, and serve an application")
    for name, target in DEVICES.items():
        folder = stage.folder / "devices" / name
        stage.run("pack-fleet", "enroll", name, "--target", target, "--out", folder, "--telemetry-interval", 1)
        device = Device(name, folder, stage.transcript)
        stage.devices.append(device)
        device.start_agent()
    stage.run("pack-fleet", "assign", "digits", "--to", "all")
    stage.wait_until_all_run("1", seconds=60)
    for device in stage.devices:
        device.start_application(stage.camera)
    stage.measure_accuracy("the applications read what a clear camera sees", CLEAR, "1", least=0.93)
    verdict, _ = stage.transcript.wait("a verdict", lambda: stage.server.verdict("digits", "1"), seconds=60)
    stage.transcript.claim("no drift is seen", f"score {verdict['score']:.3f}", holds=verdict["verdict"] == "stable")
    stage.run("pack-fleet", "where", "digits")


def drift(stage: Stage) -> None:
    """The camera changes; a retrained version arrives without a hand."""
    stage.transcript.chapter("The cameras change: less contrast, noise, a shift. What follows happens by itself")
    stage.look_through(CHANGED)
    before = stage.measure_accuracy("accuracy falls", CHANGED, "1", most=0.7)
    verdict, seconds = stage.transcript.wait(
        "drift", lambda: stage.server.verdict("digits", "1", "drifted"), seconds=60
    )
    stage.transcript.claim(
        "drift is found",
        f"score {verdict['score']:.2f} of {verdict['threshold']:.2f}, {verdict['rows']} images, {seconds:.1f} s",
        holds=verdict["score"] > verdict["threshold"],
    )
    stage.wait_until_all_run("2", seconds=150)
    requests = stage.server.requests("digits")
    stage.transcript.claim("one cause made one retraining request", str(len(requests)), holds=len(requests) == 1)
    after = stage.measure_accuracy("accuracy recovers", CHANGED, "2", least=0.85)
    stage.transcript.claim("retraining on new data helped", f"{before:.1%} -> {after:.1%}", holds=after > before)
    verdict, _ = stage.transcript.wait(
        "a verdict on version 2", lambda: stage.server.verdict("digits", "2"), seconds=60
    )
    stage.transcript.claim(
        "version 2 was trained on what it sees",
        f"drift score {verdict['score']:.3f}",
        holds=verdict["verdict"] == "stable",
    )
    stage.run("pack-fleet", "requests")


def stop_broken_candidate(stage: Stage) -> None:
    """A candidate that is perfect in float32 and useless in int8 is stopped by a gate."""
    stage.transcript.chapter("A broken candidate: as good as the last in float32, but no 8-bit format can hold it")
    stage.run(sys.executable, HERE / "train.py", "--camera", stage.camera, "--spoil")
    stage.run("pack", "--target", "edge-arm", expect=GATE_FAILED)
    names = [entry.name for entry in stage.store.iterdir()]
    bundles = stage.store.joinpath("index.json").read_text()
    stage.transcript.claim(
        "the gate left no bundle", f"store: {len(names)} entries, none of version 3", holds="digits:3@" not in bundles
    )


def refuse_damaged(stage: Stage) -> None:
    """A bundle that is damaged on its way is refused, and arrives once the damage is mended."""
    stage.transcript.chapter("A good version 4, damaged on its way to cam-1")
    stage.run("pack-fleet", "assign", "digits:2", "--to", "all")
    # Another seed: chunks that version 2 has too would be taken from it, and the damage never met.
    stage.run(sys.executable, HERE / "train.py", "--camera", stage.camera, "--seed", 4)
    stage.run("pack", "--output", "tag")
    stage.run("pack-fleet", "publish", "digits:4@cloud", "digits:4@edge-arm")
    with damaged(stage.workspace / "repository", stage.store, "digits:4@cloud"):
        stage.run("pack-fleet", "assign", "digits:4", "--to", "cam-1")
        stage.claim_refused("cam-1", "4", step="download", still="2")
    stage.transcript.tell("the damage is mended, and the version assigned again:")
    stage.run("pack-fleet", "assign", "digits:4", "--to", "cam-1")
    _, seconds = stage.transcript.wait(
        "version 4 runs on cam-1", lambda: stage.server.runs("cam-1", "digits", "4"), seconds=60
    )
    stage.transcript.claim("cam-1 installs it from undamaged chunks", f"{seconds:.1f} s", holds=True)


def refuse_failing(stage: Stage) -> None:
    """A bundle whose golden samples come out otherwise on the device is rolled back."""
    stage.transcript.chapter("A signed version 5 that computes otherwise on the device than it says")
    write_failing_bundle(stage.store, "digits:4@cloud", version="5", key=stage.key)
    stage.run("pack-fleet", "publish", "digits:5@cloud")
    stage.run("pack-fleet", "assign", "digits:5", "--to", "cam-1")
    stage.claim_refused("cam-1", "5", step="self-test", still="4")


def sum_up(stage: Stage) -> None:
    """Nothing failed in the applications, and it was fast enough."""
    stage.transcript.chapter("In sum")
    images = sum(line.images for device in stage.devices for line in device.lines())
    ended = [program for device in stage.devices for program in device.ended()]
    stage.transcript.claim(
        "no agent ended, and no application by a failed call", f"{images:,} images classified", holds=not ended
    )
    stage.run("pack-fleet", "audit", "verify")
    seconds = stage.transcript.seconds
    stage.transcript.claim("all of it took under four minutes", f"{seconds:.0f} s", holds=seconds < LIMIT_SECONDS)
    stage.transcript.tell(
        f"{len(stage.transcript.claims)} claims were measured and hold; page: {stage.server.address}/"
    )


CHAPTERS = (
    train,
    pack,
    publish,
    install,
    drift,
    stop_broken_candidate,
    refuse_damaged,
    refuse_failing,
    sum_up,
)


def _bundles(document: str) -> list[dict[str, Any]]:
    bundles: list[dict[str, Any]] = msgspec.json.decode(document)["bundles"]
    return sorted(bundles, key=lambda bundle: str(bundle["target"]))


def _compare(stage: Stage, bundles: dict[str, dict[str, Any]]) -> None:
    stage.transcript.tell(f"{'':18}{'bytes':>10}{'accuracy':>12}{'parity':>12}{'latency p50':>16}")
    for name, bundle in bundles.items():
        parity = next(gate["value"] for gate in bundle["gates"] if gate["name"] == "parity")
        accuracy = f"{bundle['scores']['shipped']:.2%}"
        latency = f"{bundle['latency_ms']['p50']:.4f} ms"
        stage.transcript.tell(f"{name:18}{bundle['disk_bytes']:>10,}{accuracy:>12}{parity:>12.2g}{latency:>16}")
