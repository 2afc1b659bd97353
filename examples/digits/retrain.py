"""What a retraining request starts: train on what the cameras see now, pack, publish.

    python retrain.py --camera camera.json --workspace WORKSPACE < event.json

Stands in for a training pipeline and for the people who label its images: the new images are the training images as
the changed camera sees them. `pack` gates the new version; only what passes is published, and the devices that
follow the newest version get it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

HERE = Path(__file__).parent


def main() -> None:
    """Train, pack, publish; a step that fails ends it with that step's exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--camera", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, required=True)
    arguments = parser.parse_args()
    event = msgspec.json.decode(sys.stdin.buffer.read())
    print(f"retraining {event['data']['model']}, asked for by {event['id']}", flush=True)

    run(sys.executable, HERE / "train.py", "--camera", arguments.camera)
    tags = run("pack", "--output", "tag").split()
    run("pack-fleet", "--workspace", arguments.workspace, "publish", *tags)


def run(*command: object) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
