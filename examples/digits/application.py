"""The application on a device: classifies what its camera sees and writes down how often it was right.

    python application.py --state STATE --camera camera.json --log log.jsonl

Each line of the log: time, model version, camera settings, images, and how many of them were classified right.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
from camera import Camera, read_camera
from data import load_split

from agent.model import Model


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the log."""

    time: float
    version: str
    camera: Camera
    images: int
    right: int


def main() -> None:
    """Classify until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--camera", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--period", type=float, default=0.2)
    arguments = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    field = load_split().field
    rng = np.random.default_rng()
    with Model("digits", state=arguments.state) as model, arguments.log.open("ab", buffering=0) as log:
        while not stop.wait(arguments.period):
            camera = read_camera(arguments.camera)
            chosen = rng.choice(len(field.x), arguments.images, replace=False)
            seen = camera.take(field.x[chosen], rng)
            version = model.version
            digits = np.asarray(model.classify(seen), np.int64)
            line = Line(
                time=time.time(),
                version=version,
                camera=camera,
                images=len(chosen),
                right=int((digits == field.y[chosen]).sum()),
            )
            log.write(msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    main()
