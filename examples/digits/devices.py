"""The demo's devices: an agent each, and an application that classifies what its camera sees."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from application import Line

if TYPE_CHECKING:
    from camera import Camera
    from transcript import Transcript

HERE = Path(__file__).parent
STOP_SECONDS = 10.0


class Device:
    """One device below `folder`: enrolled, and running until `stop`."""

    def __init__(self, name: str, folder: Path, transcript: Transcript) -> None:
        self.name = name
        self.folder = folder
        self._transcript = transcript
        self._programs: list[subprocess.Popen[bytes]] = []

    @property
    def state(self) -> Path:
        """Where the agent keeps its models."""
        return self.folder / "state"

    def start_agent(self) -> None:
        """Start `pack-agent`."""
        self._start("agent.log", "pack-agent", "run", "--config", "agent.toml")

    def start_application(self, camera: Path) -> None:
        """Start the application, which needs a model to be active."""
        self._start(
            "application.log",
            sys.executable, HERE / "application.py",
            "--state", self.state, "--camera", camera, "--log", self.folder / "results.jsonl",
        )  # fmt: skip

    def lines(self, *, camera: Camera | None = None, version: str | None = None) -> list[Line]:
        """The application's log so far: with that camera, by that version."""
        log = self.folder / "results.jsonl"
        if not log.exists():
            return []
        complete = log.read_bytes().split(b"\n")[:-1]
        lines = [msgspec.json.decode(line, type=Line) for line in complete]
        return [line for line in lines if camera in (None, line.camera) and version in (None, line.version)]

    def ended(self) -> list[str]:
        """Programs of the device that are no longer running."""
        return [str(program.args) for program in self._programs if program.poll() is not None]

    def stop(self) -> None:
        """End its programs, the application first."""
        for program in reversed(self._programs):
            program.send_signal(signal.SIGTERM)
            try:
                program.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def _start(self, log: str, *command: object) -> None:
        self._programs.append(self._transcript.start(*command, folder=self.folder, log=self.folder / log))


def accuracy(lines: list[Line]) -> float:
    """Share of the images that were classified right."""
    return sum(line.right for line in lines) / max(1, sum(line.images for line in lines))
