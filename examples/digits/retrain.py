"""What a retraining request starts: train on what the cameras see now, pack, publish.

    python retrain.py --folder FOLDER < event.json

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
    parser.add_argument(
        "--folder", type=Path, required=True, help="with pack.toml, camera.json and the fleet's workspace"
    )
    arguments = parser.parse_args()
    event = msgspec.json.decode(sys.stdin.buffer.read())
    print(f"retraining {event['data']['model']}, asked for by {event['id']}", flush=True)

    folder = arguments.folder
    run(folder, sys.executable, HERE / "train.py", "--camera", "camera.json")
    tags = run(folder, "pack", "--output", "tag").split()
    run(folder, "pack-fleet", "publish", *tags)


def run(folder: Path, *command: object) -> str:
    """Standard output of a command that must succeed."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    main()
