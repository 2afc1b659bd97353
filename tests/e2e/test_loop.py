"""The whole loop by its real programs, over each broker: pack, publish, install, drift, retrain, install again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.model import Model
from tests.e2e.site import draw, get, write_classifier

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Site

PROJECT = """
[model]
name = "gauss"
version = "{version}"
source = "{source}"

[data]
calibration = "calibration.npz"

[targets.{target}]
"""
FLEET = """
[drift]
interval = 0.5
window = 3.0
minimum_rows = 200

[[sinks]]
kind = "command"
command = ["{python}", "{script}"]
"""
RETRAINING = """
import pathlib, subprocess, sys

folder = pathlib.Path(__file__).parent
(folder / "event.json").write_bytes(sys.stdin.buffer.read())
project = (folder / "pack.toml").read_text()
project = project.replace('version = "1"', 'version = "2"').replace("first.onnx", "second.onnx")
(folder / "pack.toml").write_text(project)
subprocess.run(["pack"], cwd=folder, check=True)
subprocess.run(["pack-fleet", "publish", "gauss:2@{target}"], cwd=folder, check=True)
"""


def write_project(folder: Path, target: str) -> None:
    write_classifier(folder / "first.onnx", seed=1)
    write_classifier(folder / "second.onnx", seed=2)
    np.savez(folder / "calibration.npz", x=draw(1000, seed=0))
    (folder / "pack.toml").write_text(PROJECT.format(version="1", source="first.onnx", target=target))
    (folder / "retraining.py").write_text(RETRAINING.format(target=target))


def start_fleet(site: Site, engine: str) -> str:
    """A fleet with that broker; the address of its HTTP API."""
    site.run("pack-fleet", "init", "--fleet", "lab", "--broker-port", 0, "--api-port", 0)
    config = site.folder / "fleet" / "fleet.toml"
    text = config.read_text().replace('engine = "auto"', f'engine = "{engine}"')
    config.write_text(text + FLEET.format(python=sys.executable, script=site.folder / "retraining.py"))
    site.run("pack-fleet", "trust", "pack.pub")
    addresses = site.serve()
    assert addresses["engine"] == engine
    address = addresses["api"]
    assert isinstance(address, str)
    return address


def committed(address: str, version: str) -> bool | None:
    """True once the device runs that version for good."""
    for entry in get(address, "models/gauss/where")["items"]:
        if entry["state"] == "committed" and entry["active"]["version"] == version:
            return True
    return None


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("engine", "target"), [("mosquitto", "cloud"), ("nats", "edge-arm")])
def test_drift_on_a_device_brings_a_new_version_without_a_failed_call(site: Site, engine: str, target: str) -> None:
    write_project(site.folder, target)
    site.run("pack", "keys", "generate", "pack.key")
    site.run("pack")
    address = start_fleet(site, engine)
    site.run("pack-fleet", "publish", f"gauss:1@{target}")
    site.run("pack-fleet", "enroll", "dev-1", "--target", target, "--out", "dev-1", "--telemetry-interval", "0.5")
    site.run("pack-fleet", "assign", "gauss", "--to", "all")
    site.start("agent", "pack-agent", "run", "--config", "dev-1/agent.toml")
    site.wait("version 1 is committed", lambda: committed(address, "1"))

    with Model("gauss", state=site.folder / "dev-1" / "state") as model:
        assert model.version == "1"

        def use(shift: float) -> None:
            rows = model.predict(draw(50, shift=shift))["probabilities"]
            np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-5)

        def verdict(shift: float, kind: str) -> bool | None:
            use(shift)
            return any(entry["verdict"] == kind for entry in get(address, "drift")["items"]) or None

        site.wait("a verdict on what is as in training", lambda: verdict(0.0, "stable"))
        assert not get(address, "requests")["items"]
        site.wait("drift is found", lambda: verdict(3.0, "drifted"))

        def switched() -> bool | None:
            use(3.0)
            return True if model.version == "2" else None

        site.wait("the application is switched to version 2", switched)

        def proven() -> bool | None:
            use(3.0)
            return committed(address, "2")

        site.wait("version 2 is committed", proven)

    (request,) = get(address, "requests")["items"]
    assert request["model"] == "gauss"
    assert request["version"] == "1"
    assert (site.folder / "event.json").exists()
    site.run("pack-fleet", "audit", "verify")


@pytest.mark.e2e
def test_what_nobody_signed_is_not_published(site: Site) -> None:
    write_project(site.folder, "cloud")
    site.run("pack", "--unsigned")
    site.run("pack-fleet", "init", "--fleet", "lab")
    site.run("pack-fleet", "publish", "gauss:1@cloud", expect=5)
    assert not list((site.folder / "fleet" / "repository" / "targets").rglob("*cloud*"))
