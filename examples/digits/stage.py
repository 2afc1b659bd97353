"""What the demo's chapters share: its folder, its server, its devices, and how they are looked at."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import msgspec
from devices import accuracy
from server import Server

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from camera import Camera
    from devices import Device
    from transcript import Transcript

ENOUGH_IMAGES = 400
"""Images a device, before its accuracy is spoken of."""
STOP_SECONDS = 20.0
APPLICATION_SECONDS = 20.0


class Stage:
    """One run of the demo."""

    def __init__(self, folder: Path, transcript: Transcript) -> None:
        self.folder = folder
        self.transcript = transcript
        self.camera = folder / "camera.json"
        self.store = folder / ".pack" / "store"
        self.workspace = folder / "fleet"
        self.key = folder / "keys" / "pack.key"
        self.devices: list[Device] = []
        self.server = Server("")
        self._serve: subprocess.Popen[bytes] | None = None

    def look_through(self, camera: Camera) -> None:
        """Give all devices that camera."""
        self.camera.write_bytes(msgspec.json.encode(camera))

    def run(self, *command: object, expect: int = 0, show: bool = True) -> str:
        """Run a command in the demo's folder; its standard output is returned."""
        return self.transcript.run(*command, folder=self.folder, expect=expect, show=show)

    def serve(self) -> dict[str, Any]:
        """Start the server; the addresses that it announces are returned."""
        log = self.folder / "serve.log"
        self._serve = self.transcript.start("pack-fleet", "serve", "--output", "json", folder=self.folder, log=log)

        def announced() -> dict[str, Any] | None:
            for line in log.read_text().splitlines():
                if line.startswith("{"):
                    return json.loads(line)
            return None

        addresses, _ = self.transcript.wait("the server is ready", announced, seconds=30)
        self.server = Server(addresses["api"])
        return addresses

    def wait_until_all_run(self, version: str, *, seconds: float) -> float:
        """Wait until every device has committed that version; how long it took is returned."""
        _, waited = self.transcript.wait(
            f"version {version} runs on every device",
            lambda: all(self.server.runs(device.name, "digits", version) for device in self.devices) or None,
            seconds=seconds,
        )
        self.transcript.claim(
            f"every device verified, installed, self-tested and committed version {version}",
            f"{waited:.1f} s",
            holds=True,
        )
        return waited

    def measure_accuracy(self, claim: str, camera: Camera, version: str, *, least: float = 0, most: float = 1) -> float:
        """Claim a bound on every device's accuracy with that camera and version, once each saw enough images."""
        self.transcript.wait(
            f"{ENOUGH_IMAGES} images on every device",
            lambda: (
                all(
                    sum(line.images for line in device.lines(camera=camera, version=version)) >= ENOUGH_IMAGES
                    for device in self.devices
                )
                or None
            ),
            seconds=60,
        )
        shares = {device.name: accuracy(device.lines(camera=camera, version=version)) for device in self.devices}
        self.transcript.claim(
            claim,
            ", ".join(f"{name} {share:.1%}" for name, share in shares.items()),
            holds=all(least <= share <= most for share in shares.values()),
        )
        return sum(shares.values()) / len(shares)

    def claim_refused(self, device: str, version: str, *, step: str, still: str) -> None:
        """Claim that the device reports a fault in that step of bringing in the version, and runs what it ran."""
        fault, _ = self.transcript.wait(
            f"{device} refuses version {version}", lambda: self.server.fault(device, "digits", version), seconds=90
        )
        self.transcript.claim(
            f"{device} refuses version {version} at its {step}",
            f"{fault['code']}: {fault['message']}",
            holds=fault["step"] == step,
        )
        placement = self.server.placement(device, "digits")
        running = placement["active"]["version"] if placement and placement["active"] else "nothing"
        self.transcript.claim(f"{device} still runs version {still}", running, holds=running == still)
        chosen = next(entry for entry in self.devices if entry.name == device)
        seen = len(chosen.lines())
        lines, _ = self.transcript.wait(
            "the application goes on", lambda: chosen.lines()[seen:] or None, seconds=APPLICATION_SECONDS
        )
        versions = {line.version for line in lines}
        self.transcript.claim(f"its application goes on with version {still}", str(versions), holds=versions == {still})

    def show_logs(self) -> None:
        """The end of every log, for the one who looks into a claim that did not hold."""
        for log in sorted(self.folder.glob("**/*.log")):
            self.transcript.tell(f"--- {log.relative_to(self.folder)}")
            for line in log.read_text(errors="replace").splitlines()[-25:]:
                self.transcript.tell(line)

    def stop(self) -> None:
        """End everything that runs."""
        for device in self.devices:
            device.stop()
        if self._serve is not None:
            self._serve.send_signal(signal.SIGTERM)
            self._serve.wait(STOP_SECONDS)
